"""Is the target there: any HTTP answer is a yes, everything else names the address and why not."""

import contextlib
import http.server
import json
import socket
import threading

import pytest

from harness.model.errors import TargetError
from harness.scenario.reachability import probe

pytestmark = pytest.mark.loopback


@contextlib.contextmanager
def server(status, body, headers=()):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            assert self.path == "/healthz"
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/api/offer"
        httpd.shutdown()


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (200, json.dumps({"simulated": ["llm"]}).encode(), {"simulated": ["llm"]}),
        (200, b"ok", None),
        (200, b"[1]", None),
        (404, b"", None),
        (500, b"oops", None),
    ],
)
def test_any_http_answer_counts_as_reachable(status, body, found):
    with server(status, body) as url:
        assert probe(url) == found


def test_a_redirect_is_an_answer_and_is_not_followed():
    with server(302, b"", [("Location", "http://127.0.0.1:1/elsewhere")]) as url:
        assert probe(url) is None


def test_nobody_listens():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/api/offer"
        with pytest.raises(TargetError, match=rf"target unreachable: {url}: connection refused"):
            probe(url)


def test_somebody_listens_and_never_answers():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(TargetError, match=r"no answer within 0\.3 s"):
            probe(f"http://127.0.0.1:{silent.getsockname()[1]}/api/offer", timeout_s=0.3)


def test_something_that_does_not_speak_http():
    with socket.socket() as ssh:
        ssh.bind(("127.0.0.1", 0))
        ssh.listen()

        def greet():
            peer, _ = ssh.accept()
            peer.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            peer.close()

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(TargetError, match=r"does not speak HTTP|connection reset"):
            probe(f"http://127.0.0.1:{ssh.getsockname()[1]}/api/offer")
        thread.join()


def test_an_rtp_address_is_reachable_where_there_is_a_way_to_it():
    assert probe("rtp://127.0.0.1:9") is None
    with pytest.raises(
        TargetError, match=r"target unreachable: rtp://nowhere\.invalid:9: the host name does not resol"
    ):
        probe("rtp://nowhere.invalid:9")
