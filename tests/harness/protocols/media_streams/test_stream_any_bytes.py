"""Whatever an agent sends: events and counts come of it, never another error than the one that names it."""

import contextlib
import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_stream_dialects import FROM_AGENT, FROM_CARRIER
from test_stream_web_socket import opened

from harness.model.errors import RemoteProtocolError
from harness.protocols.media_streams.audiosocket import AudioSocketAgent, AudioSocketCarrier, FrameReader
from harness.protocols.media_streams.dialect import L16_8K
from harness.protocols.media_streams.dialects import DIALECTS
from harness.protocols.media_streams.messages import Other
from harness.protocols.media_streams.stream import AgentEnd, CarrierEnd, Identity
from harness.protocols.media_streams.wire import AudioSocketWire, Ended, WebSocketWire

pytestmark = pytest.mark.unit

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def names_in(value):
    if isinstance(value, dict):
        return set(value) | {name for inner in value.values() for name in names_in(inner)}
    return set()


SAMPLES = [m for said in (*FROM_AGENT.values(), *FROM_CARRIER.values()) for m, _ in said if isinstance(m, str)]
NAMES = sorted({name for sample in SAMPLES for name in names_in(json.loads(sample))})
KINDS = sorted({value for sample in SAMPLES for value in json.loads(sample).values() if isinstance(value, str)})


@st.composite
def messages(draw):
    """A message of a reference with parts of it put awry."""
    message = json.loads(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(0, 3))):
        place = message
        while isinstance(place, dict) and place and draw(st.booleans()):
            inner = place.get(draw(st.sampled_from(sorted(place))))
            if not isinstance(inner, dict):
                break
            place = inner
        place[draw(st.sampled_from(NAMES))] = draw(JSON | st.sampled_from(KINDS))
    return json.dumps(message)


@pytest.mark.parametrize("name", list(DIALECTS))
@given(message=st.text(max_size=40) | st.binary(max_size=40) | messages())
def test_any_message_is_understood_or_named(name, message):
    dialect = DIALECTS[name]
    carrier = CarrierEnd(dialect, next(iter(dialect.formats)), Identity())
    for end in (carrier, AgentEnd(dialect), AgentEnd()):
        with contextlib.suppress(RemoteProtocolError):
            said = end.receive(message)
            assert said is not None
            assert not isinstance(said, Other) or said.kind


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_on_a_web_socket_end_it_at_worst(pieces):
    client, _server = opened()
    wire = WebSocketWire(client, CarrierEnd(DIALECTS["twilio"], next(iter(DIALECTS["twilio"].formats)), Identity()))
    events = []
    for piece in [*pieces, None]:
        found, answer = wire.receive(piece)
        assert isinstance(answer, bytes)
        events += found
    assert sum(isinstance(event, Ended) for event in events) == 1
    assert isinstance(events[-1], Ended)


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_on_an_audiosocket_are_frames_good_or_bad(pieces):
    wire = AudioSocketWire(AudioSocketCarrier(uuid.uuid4(), L16_8K))
    reader, agent = FrameReader(), AudioSocketAgent()
    for piece in pieces:
        wire.receive(piece)
        for kind, payload in reader.feed(piece):
            with contextlib.suppress(RemoteProtocolError):
                agent.read(kind, payload)
    assert isinstance(wire.receive(None)[0][-1], Ended)
