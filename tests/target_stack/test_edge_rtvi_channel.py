import json

import pytest

from harness.protocols import rtvi
from target_stack.edge.rtvi_channel import MAX_BUFFERED_BYTES, MAX_QUEUED, RtviChannel

pytestmark = pytest.mark.unit


class _Channel:
    def __init__(self):
        self.readyState = "open"
        self.bufferedAmount = 0
        self.sent = []

    def send(self, data):
        self.sent.append(rtvi.parse(data))


def _channel():
    return RtviChannel("call", lambda: None)


def test_messages_wait_for_the_channel_and_the_oldest_goes_first():
    rtvi_channel, wire = _channel(), _Channel()
    for n in range(MAX_QUEUED + 2):
        rtvi_channel.send(rtvi.BotLlmText(str(n)))
    rtvi_channel.attach(wire)
    rtvi_channel.send(rtvi.BotLlmStopped())
    assert wire.sent == [*(rtvi.BotLlmText(str(n)) for n in range(2, MAX_QUEUED + 2)), rtvi.BotLlmStopped()]
    assert rtvi_channel.dropped == 2


def test_a_client_that_does_not_read_or_is_gone_costs_nothing():
    rtvi_channel, wire = _channel(), _Channel()
    rtvi_channel.attach(wire)
    wire.bufferedAmount = MAX_BUFFERED_BYTES + 1
    rtvi_channel.send(rtvi.BotLlmStarted())
    wire.bufferedAmount, wire.readyState = 0, "closed"
    rtvi_channel.send(rtvi.BotLlmStarted())
    assert (wire.sent, rtvi_channel.dropped, rtvi_channel.is_drained) == ([], 2, True)


def test_what_a_client_says_is_acted_on():
    ends = []
    rtvi_channel, wire = RtviChannel("call", lambda: ends.append(1)), _Channel()
    rtvi_channel.attach(wire)
    rtvi_channel.receive(rtvi.build(rtvi.ClientReady("42")))
    assert wire.sent[0].id == "42"
    assert wire.sent[0].version == "2.1.0"
    assert wire.sent[0].library.startswith("callquake")
    rtvi_channel.receive(b"\xff")
    assert isinstance(wire.sent[1], rtvi.ErrorMessage)
    rtvi_channel.receive(json.dumps({"label": "rtvi-ai", "type": "from-the-future"}))
    assert len(wire.sent) == 2
    rtvi_channel.receive(rtvi.build(rtvi.DisconnectBot()))
    assert ends == [1]


def test_missing_pings_are_noted_once_and_only_from_a_client_that_pinged(caplog):
    rtvi_channel = _channel()
    rtvi_channel.note_ping_silence(10**18)
    assert not caplog.records
    rtvi_channel.receive("ping: 1")
    rtvi_channel.note_ping_silence(10**18)
    rtvi_channel.note_ping_silence(10**18)
    assert [r.getMessage() for r in caplog.records] == ["call call: no keep-alive ping for 10 s"]
