"""Is the target there: any HTTP answer is a yes, everything else names the address and why not."""

import contextlib
import http.server
import json
import socket
import threading

import pytest

from harness.model.errors import TargetError
from harness.scenario import reachability
from harness.scenario.target.block import Target

pytestmark = pytest.mark.loopback


def probe(url, timeout_s=reachability.TIMEOUT_S, **more):
    return reachability.probe(Target.model_validate({"url": url, **more}).spec(), timeout_s)


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


# --- media streams -------------------------------------------------------------------------------------------------


def test_a_websocket_server_is_asked_for_its_health_by_http():
    with server(200, b'{"simulated": ["llm"]}') as url:
        assert probe(url.replace("http:", "ws:")) == {"simulated": ["llm"]}
    with server(426, b"") as url:
        assert probe(url.replace("http:", "ws:")) is None


def test_a_port_that_speaks_websocket_only_is_there():
    with listening(lambda peer: peer.sendall(b"no HTTP at all\r\n")) as port:
        assert probe(f"ws://127.0.0.1:{port}/media") is None
    with pytest.raises(TargetError, match=r"target unreachable: ws://127\.0\.0\.1:\d+/m: connection refused"):
        probe(f"ws://127.0.0.1:{unused_port()}/m")


def test_audiosocket_is_there_where_somebody_listens():
    with listening(lambda _peer: None) as port:
        assert probe(f"audiosocket://127.0.0.1:{port}") is None
    with pytest.raises(TargetError, match="target unreachable: audiosocket://127"):
        probe(f"audiosocket://127.0.0.1:{port}")


# --- SIP -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def sip_peer(answer):
    """Answer OPTIONS on a UDP port by `answer` (a request's text to a reply's bytes or None); yields (port, heard)."""
    heard = []
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve():
            while (data := sock.recvfrom(9999))[0] != b"stop":
                heard.append(data[0].decode())
                reply = answer(heard[-1])
                if reply is not None:
                    sock.sendto(reply, data[1])

        thread = threading.Thread(target=serve)
        thread.start()
        yield sock.getsockname()[1], heard
        with socket.socket(type=socket.SOCK_DGRAM) as last:
            last.sendto(b"stop", sock.getsockname())
        thread.join()


def test_a_sip_agent_answers_options_and_may_say_what_it_is():
    reply = b'SIP/2.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"simulated": ["tts"]}'
    with sip_peer(lambda _request: reply) as (port, heard):
        assert probe(f"sip:agent@127.0.0.1:{port}") == {"simulated": ["tts"]}
    lines = heard[0].split("\r\n")
    assert lines[0] == f"OPTIONS sip:agent@127.0.0.1:{port} SIP/2.0"
    assert {"Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Content-Length"} <= {
        line.partition(":")[0] for line in lines[1:]
    }


def test_a_refusal_is_an_answer_and_the_proxy_is_who_is_asked():
    with sip_peer(lambda _request: b"SIP/2.0 403 Forbidden\r\n\r\n") as (port, heard):
        assert probe("sip:agent@pbx.invalid", sip={"proxy": f"sip:127.0.0.1:{port};lr"}) is None
    assert f"\r\nRoute: <sip:127.0.0.1:{port};lr>\r\n" in heard[0]


def test_a_sip_agent_that_says_nothing_may_be_there():
    with sip_peer(lambda _request: None) as (port, heard):
        assert probe(f"sip:127.0.0.1:{port}", timeout_s=0.1) is None
    assert len(heard) == 1


def test_nobody_listens_for_sip():
    port = unused_port(socket.SOCK_DGRAM)
    with pytest.raises(TargetError, match=rf"sip:a@127\.0\.0\.1:{port}: connection refused \(udp to 127"):
        probe(f"sip:a@127.0.0.1:{port}")
    with pytest.raises(TargetError, match=r"connection refused \(tcp to 127"):
        probe(f"sip:a@127.0.0.1:{unused_port()};transport=tcp")
    with pytest.raises(TargetError, match=r"sip:a@nowhere\.invalid: the host name does not resolve"):
        probe("sip:a@nowhere.invalid")


def test_sip_by_tls_needs_a_handshake():
    with listening(lambda peer: peer.sendall(b"SIP/2.0 400 Bad Request\r\n\r\n")) as port:
        assert probe(f"sip:127.0.0.1:{port};transport=tcp") is None
        with pytest.raises(TargetError, match=r"TLS: .* \(tls to 127"):
            probe(f"sips:127.0.0.1:{port}", sip={"tls_verify": False})


@contextlib.contextmanager
def listening(greet):
    """Take connections, greet each and close it; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    with peer, contextlib.suppress(OSError):
                        greet(peer)
                        # Read what was asked, so that the close is no reset.
                        peer.settimeout(1)
                        peer.recv(9999)

        thread = threading.Thread(target=serve)
        thread.start()
        yield port
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def unused_port(kind=socket.SOCK_STREAM):
    with socket.socket(type=kind) as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]
