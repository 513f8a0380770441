"""What goes to whom by HTTP."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from harness.faults.http_json import exchange

pytestmark = pytest.mark.loopback


def serving(answer, heard):
    """Serve on loopback, keep each request's headers; return (server, URL)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append(dict(self.headers))
            answer(self)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}/"


def test_a_token_does_not_follow_where_the_one_who_is_asked_sends_us():
    asked, elsewhere = [], []

    def good(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"{}")

    other, there = serving(good, elsewhere)

    def on(handler):
        handler.send_response(302)
        handler.send_header("Location", there)
        handler.end_headers()

    first, here = serving(on, asked)
    try:
        assert exchange("GET", here, headers={"Authorization": "Bearer secret"}).status == 200
    finally:
        for server in (first, other):
            server.shutdown()
            server.server_close()
    assert asked[0]["Authorization"] == "Bearer secret"
    assert "Authorization" not in elsewhere[0]
