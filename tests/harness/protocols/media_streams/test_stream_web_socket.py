"""The client's end of a WebSocket against wsproto's server end: frames of every size, pieces, closes, violations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto import events as ws

from harness.model.errors import RemoteProtocolError
from harness.protocols.media_streams.dialect import PCMU
from harness.protocols.media_streams.dialects import TWILIO
from harness.protocols.media_streams.messages import Clear
from harness.protocols.media_streams.stream import CarrierEnd, Identity
from harness.protocols.media_streams.web_socket import (
    MOST_MESSAGE_BYTES,
    Alive,
    Closed,
    Opened,
    Refused,
    WebSocketClient,
)
from harness.protocols.media_streams.wire import Bad, Ended, WebSocketWire

pytestmark = pytest.mark.unit


def opened(subprotocol=None):
    client, server = WebSocketClient(), WSConnection(ConnectionType.SERVER)
    server.receive_data(client.request("h:1", "/x?y=1", [("X-Token", "t")], subprotocol))
    (request,) = server.events()
    assert (request.host, request.target) == ("h:1", "/x?y=1")
    assert (b"x-token", b"t") in list(request.extra_headers)
    assert client.receive(server.send(ws.AcceptConnection(subprotocol=subprotocol))) == [Opened(subprotocol)]
    return client, server


def got(server, data):
    server.receive_data(data)
    return list(server.events())


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_frames_of_every_length_form_are_read_by_others(size):
    client, server = opened()
    text, data = "x" * size, b"\xff" * size
    assert "".join(e.data for e in got(server, client.message(text))) == text
    assert b"".join(bytes(e.data) for e in got(server, client.message(data))) == data


@given(st.binary(max_size=300))
def test_masked_frames_hold_what_was_said(data):
    client, server = opened()
    frame = client.message(data)
    assert frame[1] & 0x80
    assert b"".join(bytes(e.data) for e in got(server, frame)) == data


@pytest.mark.parametrize("size", [1, 2, 5, 64])
def test_messages_may_come_in_pieces_and_frames(size):
    client, server = opened()
    data = server.send(ws.TextMessage("äb" * 50, message_finished=False)) + server.send(ws.TextMessage("end"))
    data += server.send(ws.BytesMessage(b"\1\2\3")) + server.send(ws.Ping(b"p")) + server.send(ws.Pong())
    events = [e for at in range(0, len(data), size) for e in client.receive(data[at : at + size])]
    assert events == ["äb" * 50 + "end", b"\1\2\3", Alive(is_pong=False), Alive(is_pong=True)]
    (pong,) = got(server, client.to_send)
    assert isinstance(pong, ws.Pong)
    assert client.to_send == b""


def test_pings_and_closes_both_ways():
    client, server = opened()
    (ping,) = got(server, client.ping())
    assert isinstance(ping, ws.Ping)
    assert client.receive(server.send(ws.CloseConnection(1011, "no more"))) == [Closed(1011, "no more")]
    (answer,) = got(server, client.to_send)
    assert answer.code == 1011
    client, server = opened()
    (close,) = got(server, client.close())
    assert close.code == 1000
    # A ping that crossed our close is no error.
    assert client.receive(b"\x89\x00") == [Alive(is_pong=False)]
    assert client.receive(server.send(close.response())) == [Closed(1000, "")]
    assert client.close() == b""


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", Refused(403, "", "no")),
        (b"HTTP/1.1 302 Found\r\nLocation: ws://b/\r\nContent-Length: 0\r\n\r\n", Refused(302, "ws://b/", "")),
    ],
)
def test_refusals_are_told(answer, expected):
    client = WebSocketClient()
    client.request("h", "/")
    assert client.receive(answer) == [expected]


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n"])
def test_answers_that_are_none_are_errors(answer):
    client = WebSocketClient()
    client.request("h", "/")
    with pytest.raises(RemoteProtocolError, match="WebSocket"):
        client.receive(answer)


def wire():
    client, server = opened()
    return WebSocketWire(client, CarrierEnd(TWILIO, PCMU, Identity())), server


@pytest.mark.parametrize("data", [b"\xc1\x02hi", b"\x83\x00", b"\x81\x82abcd", b"\x81\x01\xff", b"\x88\x01x"])
def test_broken_frames_end_the_connection(data):
    """A reserved bit, a reserved opcode, a masked frame of a server's, text that is no UTF-8, half a close code."""
    (bad, ended), _answer = wire()[0].receive(data)
    assert isinstance(bad, Bad)
    assert ended.is_broken


def test_a_message_without_end_is_refused():
    end, server = wire()
    piece = "x" * (MOST_MESSAGE_BYTES // 3)
    data = b"".join(server.send(ws.TextMessage(piece, message_finished=False)) for _ in range(4))
    (bad, ended), answer = end.receive(data)
    assert "more than" in str(bad.error)
    assert ended.is_broken
    assert answer


def test_the_wire_tells_goodbyes_from_breaks():
    for code, is_broken in ((1000, False), (1001, False), (1005, False), (1011, True), (4000, True)):
        end, server = wire()
        close = b"\x88\x00" if code == 1005 else server.send(ws.CloseConnection(code))
        (ended,), _answer = end.receive(close)
        assert isinstance(ended, Ended)
        assert ended.is_broken == is_broken, code
        assert end.receive(b"\x89\x00") == ([], b"")
    end, _server = wire()
    (ended,), _answer = end.receive(None)
    assert ended.is_broken


def test_a_bad_message_does_not_keep_the_next_one_back():
    end, server = wire()
    events, _answer = end.receive(server.send(ws.TextMessage("{")) + server.send(ws.TextMessage('{"event": "clear"}')))
    assert isinstance(events[0], Bad)
    assert events[1] == Clear()
    assert end.stop()


def as_wsproto_has_it(data):
    client, server = WebSocketClient(), WSConnection(ConnectionType.SERVER)
    server.receive_data(client.request("h:1", "/x"))
    list(server.events())
    # Octets behind the answer: wsproto reads the connection from then on.
    return client.receive(server.send(ws.AcceptConnection()) + data)[1:]


FRAMES = st.one_of(
    st.text(max_size=200).map(ws.TextMessage),
    st.binary(max_size=200).map(ws.BytesMessage),
    st.binary(max_size=20).map(ws.Ping),
    st.binary(max_size=20).map(ws.Pong),
    st.text(max_size=9).map(lambda part: ws.TextMessage(part, message_finished=False)),
)


@given(st.lists(FRAMES, max_size=8), st.lists(st.integers(1, 300), min_size=1, max_size=9), st.sampled_from([0, 1]))
def test_frames_read_here_and_by_wsproto_say_the_same(frames, sizes, closes):
    _, server = opened()
    is_in_text = False
    data = b""
    for frame in frames:
        if is_in_text and isinstance(frame, ws.BytesMessage):
            continue
        data += server.send(frame)
        is_in_text = is_in_text if isinstance(frame, ws.Ping | ws.Pong) else not getattr(frame, "message_finished", 1)
    if closes:
        data += server.send(ws.CloseConnection(1000, "bye"))
    client, _ = opened()
    found, at = [], 0
    while at < len(data):
        size = sizes[at % len(sizes)]
        found += client.receive(data[at : at + size])
        at += size
    assert found == as_wsproto_has_it(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\x01\xff",
        b"\x81\x81\0\0\0\0x",
        b"\xc1\x01x",
        b"\x83\x01x",
        b"\x89\x7e\0\x7e" + b"x" * 126,
        b"\x82\x7e\0\1x",
    ],
    ids=["no UTF-8", "masked", "reserved bit", "unknown opcode", "long ping", "length not in its shortest form"],
)
def test_what_breaks_the_rules_is_refused_behind_good_frames_too(data):
    for before in (b"", b"\x81\x02ok"):
        client, _ = opened()
        with pytest.raises(RemoteProtocolError):
            client.receive(before + data)


def test_the_end_of_the_connection_in_the_middle_of_a_frame_is_no_message():
    client, _ = opened()
    assert client.receive(b"\x81\x05hel") == []
    assert [type(event) for event in client.receive(None)] == [Closed]


def test_headers_of_the_answer_are_told():
    client, server = WebSocketClient(), WSConnection(ConnectionType.SERVER)
    server.receive_data(client.request("h:1", "/x"))
    list(server.events())
    (found,) = client.receive(server.send(ws.AcceptConnection(extra_headers=[(b"X-Callquake-Events", b"ws://h/e")])))
    assert found.headers["x-callquake-events"] == "ws://h/e"
