"""AudioSocket frames: both ends, cut anywhere, and what is refused."""

import uuid

import pytest

from harness.model.errors import LocalProtocolError, RemoteProtocolError
from harness.protocols.media_streams.audiosocket import AudioSocketAgent, AudioSocketCarrier, FrameReader, Kind, frame
from harness.protocols.media_streams.dialect import L16_8K, L16_16K
from harness.protocols.media_streams.messages import AgentAudio, CallerAudio, Dtmf, HangUp, Other, Started, Stopped
from harness.protocols.media_streams.wire import AudioSocketWire, Bad, Ended

pytestmark = pytest.mark.unit

CALL = uuid.UUID("40325ec2-5efd-4bd3-805f-53576e581d13")


def test_frames_are_as_asterisk_documents_them():
    carrier = AudioSocketCarrier(CALL, L16_8K)
    assert carrier.open() == b"\x01\x00\x10" + CALL.bytes
    assert carrier.audio(b"\x01\x02" * 160)[:3] == b"\x10\x01\x40"
    assert AudioSocketCarrier(CALL, L16_16K).audio(bytes(640))[:3] == b"\x12\x02\x80"
    assert carrier.dtmf("#") == b"\x03\x00\x01#"
    assert carrier.stop() == b"\x00\x00\x00"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_frames_may_be_cut_anywhere(size):
    carrier, agent, reader = AudioSocketCarrier(CALL, L16_16K), AudioSocketAgent(), FrameReader()
    data = carrier.open() + carrier.audio(bytes(640)) + carrier.dtmf("5") + carrier.stop()
    found = [f for at in range(0, len(data), size) for f in reader.feed(data[at : at + size])]
    said = [agent.read(*f) for f in found]
    assert said == [Started(call_id=str(CALL)), CallerAudio(bytes(640)), Dtmf("5"), Stopped()]
    # The agent answers in the rate it hears.
    assert agent.audio(b"\0\0")[0] == Kind.SLIN16


def test_an_agents_frames_are_read():
    carrier = AudioSocketCarrier(CALL, L16_8K)
    agent = AudioSocketAgent()
    (heard,) = FrameReader().feed(agent.audio(b"\1\0"))
    assert carrier.read(*heard) == AgentAudio(b"\1\0")
    assert carrier.read(Kind.HANGUP, b"") == HangUp()
    assert carrier.read(Kind.ERROR, b"\x04") == Other("error 0x04")


@pytest.mark.parametrize(
    ("kind", "payload", "why"),
    [
        (Kind.SLIN16, b"\0\0", r"kind 0x12, but the call is 0x10"),
        (Kind.SLIN48, b"\0\0", r"kind 0x16"),
        (Kind.SLIN8, b"\0", "not whole 16-bit samples"),
        (Kind.SLIN8, b"", "not whole 16-bit samples"),
        (0x55, b"x", "unknown kind 0x55"),
    ],
)
def test_what_asterisk_could_not_play_is_told(kind, payload, why):
    with pytest.raises(RemoteProtocolError, match=why):
        AudioSocketCarrier(CALL, L16_8K).read(kind, payload)


@pytest.mark.parametrize(
    ("kind", "payload", "why"),
    [(Kind.UUID, b"short", "a UUID of 5 bytes"), (Kind.DTMF, b"x", "is no key"), (Kind.DTMF, b"", "is no key")],
)
def test_what_a_carrier_cannot_mean_is_told(kind, payload, why):
    with pytest.raises(RemoteProtocolError, match=why):
        AudioSocketAgent().read(kind, payload)


def test_a_frame_too_long_for_its_header_is_ours_to_avoid():
    with pytest.raises(LocalProtocolError, match="at most 65535"):
        frame(Kind.SLIN8, bytes(65_536))


def test_the_wire_counts_bad_frames_and_takes_the_end_for_a_goodbye():
    wire = AudioSocketWire(AudioSocketCarrier(CALL, L16_8K))
    events, answer = wire.receive(frame(Kind.SLIN8, b"\0") + frame(Kind.SLIN8, b"\0\0"))
    assert answer == b""
    assert isinstance(events[0], Bad)
    assert events[1:] == [AgentAudio(b"\0\0")]
    assert wire.receive(None) == ([Ended("the agent closed the AudioSocket connection", is_broken=False)], b"")
    assert wire.receive(frame(Kind.HANGUP)) == ([], b"")
    assert wire.stop() == b""
