"""SIP on a stream: cut where Content-Length says, keep-alives told apart, limits kept."""

import pytest

from harness.protocols.sip.framing import KeepAlive, StreamFramer
from harness.protocols.sip.grammar import BadMessage

pytestmark = pytest.mark.unit

WITH_BODY = b"INFO sip:a SIP/2.0\r\nX: 1\r\nContent-Length: 6\r\n\r\na\r\n\r\nb"
WITHOUT = b"SIP/2.0 200 OK\r\nX: 1\r\n\r\n"
COMPACT = b"SIP/2.0 200 OK\r\nl : 1\r\n\r\nz"
FOLDED = b"SIP/2.0 200 OK\r\nCONTENT-length:\r\n\t 1\r\n\r\nz"
BARE_LF = b"SIP/2.0 200 OK\nl: 1\n\nz"


@pytest.mark.parametrize("step", [1, 2, 3, 1000])
def test_cuts_messages_whatever_the_segments(step):
    messages = [WITH_BODY, WITHOUT, COMPACT, FOLDED, BARE_LF, WITH_BODY]
    stream, framer = b"".join(messages), StreamFramer()
    assert [m for at in range(0, len(stream), step) for m in framer.feed(stream[at : at + step])] == messages
    assert framer.is_between


def test_keep_alives_between_messages():
    framer = StreamFramer()
    assert framer.feed(b"\r\n\r\n") == [KeepAlive.PING]
    assert framer.feed(b"\r\n") == [KeepAlive.PONG]
    assert framer.feed(b"\r\n\r\n" + WITHOUT + b"\r\n") == [KeepAlive.PING, WITHOUT, KeepAlive.PONG]
    assert framer.feed(b"\r") == []
    assert framer.feed(b"\n\r\n") == [KeepAlive.PING]
    assert framer.is_between


def test_end_of_a_connection_amid_a_message_is_seen():
    framer = StreamFramer()
    assert framer.feed(WITH_BODY[:-1]) == []
    assert not framer.is_between


def test_messages_ahead_of_what_breaks_the_stream_are_not_lost():
    framer = StreamFramer()
    assert framer.feed(WITHOUT + b"SIP/2.0 200 OK\r\nContent-Length: x\r\n\r\n") == [WITHOUT]
    assert "'x' is no number" in framer.broken.reason
    with pytest.raises(BadMessage):
        framer.feed(WITHOUT)


@pytest.mark.parametrize(
    "length", [b"-1", b"1, 2", b"9" * 10_000, b"1\r\nContent-Length: 2", b"99999999999999999999", b"0x10", b""]
)
def test_a_length_that_cannot_be_followed_ends_the_connection(length):
    with pytest.raises(BadMessage):
        StreamFramer().feed(b"SIP/2.0 200 OK\r\nContent-Length: " + length + b"\r\n\r\n")


def test_limits():
    framer = StreamFramer(limit_bytes=100)
    with pytest.raises(BadMessage, match="legal: up to 100"):
        framer.feed(b"SIP/2.0 200 OK\r\nContent-Length: 99\r\n\r\n")
    framer = StreamFramer(limit_bytes=100)
    assert framer.feed(b"x" * 100) == []
    with pytest.raises(BadMessage, match="over 100"):
        framer.feed(b"x")
