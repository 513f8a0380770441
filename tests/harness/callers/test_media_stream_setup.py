"""Setting media streams up, refusals, and connections that break or go silent: each told by its own cause."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest
from stream_agent import AudioSocketServer, Bench, StreamAgent, next_of, voice

from harness.callers.exchange import Disconnected
from harness.callers.setup_failure import SetupFailure
from harness.media.events import MediaLost
from harness.media.onset import AgentOnset
from harness.model.plan import StreamSpec
from harness.model.records import Cause
from harness.protocols.media_streams.messages import HangUp

pytestmark = pytest.mark.loopback


def refused(agent, cause, *words, **settings):
    async def main():
        async with Bench() as bench, agent as there:
            with pytest.raises(SetupFailure) as caught:
                await bench.connect(there.url, **{"dialect": "twilio", **settings})
            assert caught.value.cause is cause
            for word in words:
                assert word in caught.value.detail
            assert not bench.host.ticker._phase_of

    asyncio.run(main())


def test_a_refusal_is_told_with_its_status_and_words():
    agent = StreamAgent(refuse=(403, {}, "no such tenant"))
    refused(agent, Cause.SIGNALLING_REFUSED, "HTTP 403", "no such tenant")


def test_an_overloaded_agent_is_told():
    refused(StreamAgent(refuse=(503, {"Retry-After": "5"}, "")), Cause.SIGNALLING_REFUSED, "HTTP 503")


def test_a_redirect_is_not_followed():
    agent = StreamAgent(refuse=(307, {"Location": "ws://elsewhere/x"}, ""))
    refused(agent, Cause.SIGNALLING_REFUSED, "HTTP 307", "ws://elsewhere/x", "legal: the final address")


class RawServer:
    """Answers the handshake with bytes of the test's choice, or with nothing."""

    def __init__(self, answer=None):
        self._answer = answer

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        request = await reader.readuntil(b"\r\n\r\n")
        if self._answer is not None:
            writer.write(self._answer(request))
            await writer.drain()
            writer.close()
        else:
            await reader.read()


def accept_with(protocol):
    from wsproto.utilities import generate_accept_token

    def answer(request):
        key = request.lower().split(b"sec-websocket-key: ")[1].split(b"\r\n")[0]
        start = request.lower().index(b"sec-websocket-key: ") + len(b"sec-websocket-key: ")
        token = generate_accept_token(request[start : start + len(key)])
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + token + b"\r\nSec-WebSocket-Protocol: " + protocol + b"\r\n\r\n"
        )

    return answer


def test_an_answer_that_is_no_http_is_told():
    refused(RawServer(lambda _: b"SIP/2.0 200 OK\r\n\r\n"), Cause.SIGNALLING_REFUSED, "unusable")


def test_a_subprotocol_nobody_asked_for_is_told():
    agent = RawServer(accept_with(b"graphql-ws"))
    refused(agent, Cause.SIGNALLING_REFUSED, "subprotocol", dialect="jambonz", codec="L16")


def test_an_agent_that_never_answers_is_told():
    refused(RawServer(), Cause.SIGNALLING_TIMEOUT, "within 1 s", connect_timeout_ms=1000)


def test_nobody_there():
    async def main():
        async with Bench() as bench:
            with pytest.raises(SetupFailure) as caught:
                await bench.connect("ws://127.0.0.1:9/x", dialect="twilio")
            assert caught.value.cause is Cause.SIGNALLING_UNREACHABLE

    asyncio.run(main())


def test_headers_and_query_go_into_the_handshake():
    async def main():
        async with Bench() as bench, StreamAgent() as agent:
            url = agent.url.replace("//", "//user:pa%20ss@") + "?sample-rate=8000"
            await bench.connect(url, dialect="exotel", codec="L16", headers={"X-Token": "t"})
            talk = agent.talks[0]
            assert talk.headers["X-Token"] == "t"
            assert talk.headers["Authorization"] == "Basic dXNlcjpwYSBzcw=="
            assert talk.headers["Host"] == f"127.0.0.1:{agent.port}"
            assert talk.query == {"sample-rate": "8000"}

    asyncio.run(main())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    names = (str(folder / "cert.pem"), str(folder / "key.pem"))
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    about = ["-days", "2", "-subj", "/CN=agent", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*make, *about, "-out", names[0], "-keyout", names[1]], check=True, capture_output=True)
    return names


def test_a_call_over_tls_keeps_the_kernels_stamps(certificate):
    async def script(talk):
        await talk.say(voice(talk.codec, 300))

    async def main():
        async with Bench() as bench, StreamAgent(script, certificate=certificate) as agent:
            caller, events = await bench.connect(agent.url, dialect="twilio", stream=StreamSpec(ca=certificate[0]))
            await next_of(events, AgentOnset)
            await caller.close()
            assert caller.stream.arrival_clock == "kernel"
            assert agent.talks[0].audio()

    asyncio.run(main())


def test_a_certificate_that_nobody_vouches_for_is_told(certificate):
    refused(StreamAgent(certificate=certificate), Cause.SIGNALLING_REFUSED, "TLS", "certificate")


def ends(agent, expected, **settings):
    """Place a call that the agent's script ends; return how the caller told it."""

    async def main():
        async with Bench() as bench, agent as there:
            caller, events = await bench.connect(there.url, **{"dialect": "twilio", **settings})
            event = await next_of(events, Disconnected, MediaLost)
            assert type(event) is type(expected)
            if isinstance(expected, Disconnected):
                assert event.cause is expected.cause
                assert expected.detail in event.detail
            assert not bench.host.ticker._phase_of
            await caller.close()
            assert caller._link._sock.fileno() == -1

    asyncio.run(main())


def test_an_agent_that_closes_has_hung_up():
    async def script(talk):
        await talk.socket.close()

    ends(StreamAgent(script), Disconnected("1000", Cause.AGENT_HUNG_UP))


def test_an_agent_that_closes_with_an_error_is_lost():
    async def script(talk):
        await talk.socket.close(code=1011, message=b"out of memory")

    ends(StreamAgent(script), Disconnected("1011 'out of memory'", Cause.CONNECTION_LOST))


def test_a_connection_that_is_cut_is_lost():
    async def script(talk):
        talk.transport.abort()

    ends(StreamAgent(script), Disconnected("", Cause.CONNECTION_LOST))


def test_a_jambonz_agent_hangs_up_by_a_message():
    async def script(talk):
        await talk.send(talk.end.hang_up())

    expected = Disconnected("hung up", Cause.AGENT_HUNG_UP)
    ends(StreamAgent(script), expected, dialect="jambonz", codec="L16")


def test_an_audiosocket_agent_hangs_up_by_a_frame_or_by_closing():
    async def by_frame(talk):
        await talk.send(talk.end.hang_up())

    async def by_closing(talk):
        talk.writer.close()

    for script in (by_frame, by_closing):
        ends(AudioSocketServer(script), Disconnected("", Cause.AGENT_HUNG_UP), dialect="audiosocket", codec="L16")


def test_frames_that_break_the_protocol_end_the_call():
    async def script(talk):
        # A frame with a reserved bit set (RFC 6455 5.2).
        talk.transport.write(b"\xc1\x02hi")

    ends(StreamAgent(script), Disconnected("WebSocket", Cause.CONNECTION_LOST))


FROZEN = """
import socket, sys
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection
server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen()
print(server.getsockname()[1], flush=True)
link, _ = server.accept()
ws = WSConnection(ConnectionType.SERVER)
ws.receive_data(link.recv(4096))
list(ws.events())
link.sendall(ws.send(AcceptConnection()))
while link.recv(65536):
    pass
"""


def test_an_agent_that_freezes_is_noticed_within_seconds():
    """The process stops: its kernel goes on acknowledging, and nothing else comes."""

    agent = subprocess.Popen([sys.executable, "-c", FROZEN], stdout=subprocess.PIPE, text=True)
    url = f"ws://127.0.0.1:{agent.stdout.readline().strip()}/"

    async def main():
        async with Bench() as bench:
            caller, events = await bench.connect(url, dialect="twilio", media_timeout_ms=1500)
            os.kill(agent.pid, signal.SIGSTOP)
            await next_of(events, MediaLost)
            assert not bench.host.ticker._phase_of
            await caller.close()
            assert caller._link._sock.fileno() == -1

    try:
        asyncio.run(main())
    finally:
        agent.kill()
        agent.wait()
        agent.stdout.close()


def test_hang_up_is_a_message_of_jambonz_only():
    from harness.protocols.media_streams.dialects import DIALECTS

    assert [name for name, dialect in DIALECTS.items() if HangUp in dialect.from_agent] == ["jambonz"]
