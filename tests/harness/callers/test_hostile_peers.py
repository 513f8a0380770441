"""Peers that answer with anything but what is due: each call ends soon in a counted failure, and nothing is left."""

import asyncio
import contextlib
import itertools

import pytest
from sip_agent import sdp
from sip_bench import SipBench
from stream_agent import Bench as StreamBench
from test_media_stream_setup import RawServer, accept_with

from harness.callers.exchange import Disconnected
from harness.callers.setup_failure import SetupFailure
from harness.media.events import MediaLost
from harness.model.plan import CallLimits
from harness.model.records import Cause

pytestmark = pytest.mark.loopback

# Of what never comes, and of what does.
SOON, IN_TIME = CallLimits(connect_timeout_ms=700), CallLimits(connect_timeout_ms=20_000)
COPIED = (b"via", b"from", b"call-id", b"cseq")


def reply(request, status, *headers, body=b"", tag=b"x"):
    """Return a response to a request as it came, told nothing of what our own message classes think."""
    head, _, _ = request.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n")[1:] if line.partition(b":")[0].lower() in COPIED]
    to = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"to:"))
    lines += [to if b"tag=" in to else to + b";tag=" + tag, *headers, b"Content-Length: %d" % len(body)]
    return b"SIP/2.0 " + status + b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + body


CONTACT = b"Contact: <sip:a@127.0.0.1:9>"
TYPE = b"Content-Type: application/sdp"


class RawSip(asyncio.DatagramProtocol):
    """Each request goes to `script(send, request)`."""

    def __init__(self, script):
        self._script = script
        self.requests = []
        self._tasks = []

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.url = f"sip:a@127.0.0.1:{self.transport.get_extra_info('sockname')[1]}"
        return self

    async def __aexit__(self, *_):
        for task in self._tasks:
            task.cancel()
        self.transport.close()

    def datagram_received(self, data, source):
        self.requests.append(data)
        done = self._script(lambda answer: self.transport.sendto(answer, source), data)
        if asyncio.iscoroutine(done):
            self._tasks.append(asyncio.ensure_future(done))

    def count(self, method):
        return sum(data.startswith(method) for data in self.requests)


def failed(script, *, audio=False, limits=IN_TIME, **settings):
    """Place a call; return (failure, facts, peer) once nothing of the call is left."""

    async def main():
        async with RawSip(script) as peer, SipBench(audio=audio, t1_ms=10) as bench:
            with pytest.raises(SetupFailure) as caught:
                await bench.connect(peer.url, limits=limits, **settings)
            caller = bench.callers[0]
            await caller.close()
            # What answers a final response that comes again lives on for Timer D, 32 s (RFC 3261 17.1.1.2).
            assert bench.host.agent.calls == 0
            return caught.value, caller.facts(), peer

    return asyncio.run(main())


def test_a_200_without_sdp_is_hung_up():
    error, _facts, _peer = failed(lambda send, data: send(reply(data, b"200 OK", CONTACT)), audio=True)
    assert error.cause is Cause.SIGNALLING_REFUSED
    assert "SDP" in error.detail


@pytest.mark.parametrize(
    "body",
    [
        b"v=0\r\n" + b"a=" + b"x" * 50_000,
        sdp(4000, "sendrecv") + b"a=rtpmap:0 PCMU/8000\r\n" * 2_000,
        b"\x00\xff" * 2_000,
        sdp(4000, "sendrecv").replace(b"m=audio", b"m=video"),
        sdp(4000, "sendrecv").replace(b"4000", b"99999"),
        sdp(4000, "sendrecv").replace(b"4000", b"4" * 5_000),
    ],
    ids=["long line", "many lines", "octets", "no audio", "port over 65535", "port of 5000 digits"],
)
def test_an_sdp_that_is_none_is_hung_up_or_used(body):
    def script(send, data):
        send(reply(data, b"200 OK", CONTACT, TYPE, body=body))

    async def main():
        async with RawSip(script) as peer, SipBench(audio=True, t1_ms=10) as bench:
            (outcome,) = await asyncio.gather(bench.connect(peer.url, limits=IN_TIME), return_exceptions=True)
            if isinstance(outcome, BaseException):
                assert isinstance(outcome, SetupFailure)
                assert outcome.cause is Cause.SIGNALLING_REFUSED
                assert len(outcome.detail) < 1_000
            await bench.callers[0].close()
            await bench.until_quiet()

    asyncio.run(main())


def test_provisional_answers_for_ever_end_in_the_time_limit_and_are_not_kept_for_ever():
    async def script(send, data):
        if data.startswith(b"INVITE"):
            for i in itertools.count():
                for _ in range(20):
                    send(reply(data, b"18%d Soon" % (i % 4), tag=b"t%d" % i))
                await asyncio.sleep(0.001)
        elif not data.startswith(b"ACK"):
            send(reply(data, b"200 OK"))

    error, facts, _peer = failed(script, limits=SOON)
    assert error.cause is Cause.SIP_TIMEOUT
    assert len(facts.provisionals) <= 64


def test_challenges_with_ever_new_nonces_end():
    nonces = itertools.count()

    def script(send, data):
        if data.startswith(b"INVITE"):
            challenge = b'WWW-Authenticate: Digest realm="r", nonce="n%d", algorithm=MD5' % next(nonces)
            send(reply(data, b"401 Unauthorized", challenge, tag=b"t%d" % next(nonces)))

    error, facts, peer = failed(script, username="a", password="secret-word")
    assert error.cause is Cause.SIP_AUTH
    assert "secret-word" not in error.detail
    assert facts.challenges <= 3
    assert peer.count(b"INVITE") <= 8


@pytest.mark.parametrize("value", [b"0", b"9" * 400, b"-5", b"soon", b"(comment"])
def test_any_retry_after_is_borne(value):
    def script(send, data):
        if data.startswith(b"INVITE"):
            send(reply(data, b"503 Busy", b"Retry-After: " + value))

    error, facts, _peer = failed(script)
    assert (error.cause, facts.status) == (Cause.SIP_OVERLOADED, 503)
    assert len(error.detail) < 500


def test_an_answer_to_somebody_else_is_none():
    def script(send, data):
        send(reply(data, b"200 OK", CONTACT).replace(b"branch=z9hG4bK", b"branch=z9hG4bKother"))
        send(b"SIP/2.0 200 OK\r\n\r\n")
        send(b"\x00" * 100)

    error, _facts, _peer = failed(script, limits=SOON)
    assert error.cause is Cause.SIP_TIMEOUT


def test_garbage_behind_the_answer_ends_no_call():
    def script(send, data):
        if data.startswith(b"INVITE"):
            send(reply(data, b"200 OK", CONTACT, TYPE, body=sdp()))
            for junk in (b"", b"\xff" * 1_400, b"BYE sip:x SIP/2.0\r\n\r\n", b"SIP/2.0 999 ?\r\n\r\n", data[::-1]):
                send(junk)
        elif data.startswith(b"BYE"):
            send(reply(data, b"200 OK"))

    async def main():
        async with RawSip(script) as peer, SipBench(t1_ms=10) as bench:
            # Its Contact is where requests within the call go.
            caller, heard = await bench.connect(peer.url)
            await asyncio.sleep(0.2)
            assert heard.empty()
            await caller.close()
            await bench.until_quiet()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("told", "pause_s", "cause"),
    [
        # An octet now and then: the call's time limit.
        (b"SIP/2.0 200 OK\r\nVia: x", 0.1, {Cause.SIP_TIMEOUT}),
        # A header without an end, a body without one: the connection is not kept.
        (b"SIP/2.0 200 OK\r\n" + b"A: b\r\n" * 400_000, 0.0, {Cause.SIGNALLING_UNREACHABLE, Cause.SIP_TIMEOUT}),
        (b"SIP/2.0 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 500_000, 0.0, set(Cause)),
        (
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
            0.0,
            {Cause.SIGNALLING_UNREACHABLE, Cause.SIP_TIMEOUT},
        ),
    ],
    ids=["slow", "endless header", "endless body", "HTTP"],
)
def test_a_connection_that_says_anything_else_ends_its_call(told, pause_s, cause):
    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            step = 1 if pause_s else 65_536
            for at in range(0, len(told), step):
                writer.write(told[at : at + step])
                await writer.drain()
                await asyncio.sleep(pause_s)
            await reader.read()
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with SipBench(t1_ms=10) as bench:
            with pytest.raises(SetupFailure) as caught:
                await bench.connect(f"sip:a@127.0.0.1:{port};transport=tcp", limits=SOON)
            assert caught.value.cause in cause
            await bench.callers[0].close()
            await bench.until_quiet()
        server.close()

    asyncio.run(main())


# --- media streams -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", Cause.SIGNALLING_REFUSED),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", Cause.SIGNALLING_REFUSED),
        (b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"y" * 3_000_000, Cause.SIGNALLING_REFUSED),
        (b"\x00" * 70_000, Cause.SIGNALLING_REFUSED),
        (b"", Cause.SIGNALLING_UNREACHABLE),
    ],
    ids=["200", "no accept", "endless header", "zeros", "nothing"],
)
def test_a_handshake_that_is_none_is_refused(answer, cause):
    async def main():
        async with StreamBench() as bench, RawServer(lambda _request: answer) as agent:
            with pytest.raises(SetupFailure) as caught:
                await bench.connect(agent.url, dialect="twilio", connect_timeout_ms=5_000)
            assert caught.value.cause is cause
            assert len(caught.value.detail) < 1_000
            assert not bench.host.ticker._phase_of

    asyncio.run(main())


def frame(opcode, payload, *, mask=False):
    size = len(payload)
    length = (
        bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2) if size < 65_536 else b"\x7f" + size.to_bytes(8)
    )
    return bytes([0x80 | opcode]) + (bytes([length[0] | 0x80]) + length[1:] if mask else length) + payload


@pytest.mark.parametrize(
    "frames",
    [
        frame(2, b"binary where text is due"),
        frame(1, b"{" * 100_000),
        frame(1, b"\xff\xfe"),
        frame(1, b"x" * (1 << 20)) * 3,
        frame(2, b"x" * (1 << 20)) * 3,
        frame(1, b'{"event":"media","media":{"payload":"%s"}}' % (b"/" * 1_000_000)),
        frame(1, b'{"event":"media","media":{"payload":12}}'),
        frame(1, b"[1,2,3]") * 1_000,
        frame(9, b"p" * 125) * 1_000,
        b"\x81\x7f" + (1 << 62).to_bytes(8) + b"x" * 1_000,
        frame(0, b"a continuation of nothing"),
        frame(1, b"masked", mask=True),
    ],
    ids=["binary", "deep", "no UTF-8", "1 MB text", "1 MB binary", "62 s of audio", "number", "arrays", "pings",
         "2^62 octets", "continuation", "masked"],
)  # fmt: skip
def test_frames_that_nobody_expects_are_counted_or_end_the_call(frames):
    async def main():
        handshake = accept_with(b"")

        def answer(request):
            return handshake(request).replace(b"Sec-WebSocket-Protocol: \r\n", b"") + frames

        async with StreamBench() as bench, RawServer(answer) as agent:
            connecting = bench.connect(agent.url, dialect="twilio", media_timeout_ms=1_000)
            (outcome,) = await asyncio.gather(connecting, return_exceptions=True)
            if isinstance(outcome, SetupFailure):
                assert outcome.cause is Cause.SIGNALLING_REFUSED
                return
            caller, heard = outcome
            async with asyncio.timeout(20):
                while not isinstance(event := await heard.get(), Disconnected | MediaLost):
                    pass
            assert not isinstance(event, Disconnected) or event.cause in (Cause.CONNECTION_LOST, Cause.AGENT_HUNG_UP)
            await caller.close()
            assert caller._link._sock.fileno() == -1
            assert not bench.host.ticker._phase_of

    asyncio.run(main())
