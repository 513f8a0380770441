import pytest

from target_stack.stages.endpointing import (
    Endpointer,
    EndpointRules,
    SpeechDiscarded,
    SpeechStarted,
    SpeechSustained,
    TurnEnded,
)

pytestmark = pytest.mark.unit

MS = 1_000_000
CHUNK = 20
RULES = EndpointRules(min_speech_ms=100, barge_in_ms=200, stop_after_ms=300, gap_after_ms=1000, max_turn_ms=2000)


def run(script, rules=RULES):
    """Feed (probability, duration_ms) stretches; return (event type, ms at which it came)."""
    endpointer = Endpointer(rules)
    now_ms, events = 0, []
    for probability, duration_ms in script:
        for _ in range(duration_ms // CHUNK):
            now_ms += CHUNK
            events += [(type(event), now_ms, event) for event in endpointer.feed(probability, CHUNK, now_ms * MS)]
    return events


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param([(0.1, 1000)], [], id="silence"),
        pytest.param([(0.9, 80), (0.1, 300)], [(SpeechDiscarded, 380)], id="a click is no speech"),
        pytest.param(
            [(0.9, 400), (0.1, 400)], [(SpeechStarted, 100), (SpeechSustained, 200), (TurnEnded, 700)], id="one turn"
        ),
        pytest.param([(0.9, 140), (0.1, 400)], [(SpeechStarted, 100), (TurnEnded, 440)], id="short, never sustained"),
        pytest.param(
            [(0.9, 400), (0.1, 280), (0.9, 100), (0.1, 300)],
            [(SpeechStarted, 100), (SpeechSustained, 200), (TurnEnded, 1080)],
            id="a pause shorter than the rule keeps the turn",
        ),
        pytest.param(
            [(0.4, 400), (0.9, 20), (0.4, 380), (0.1, 300)],
            [(SpeechStarted, 500), (SpeechSustained, 600), (TurnEnded, 1100)],
            id="hysteresis: 0.4 holds a voice but does not begin one",
        ),
        pytest.param(
            [(0.9, 2000), (0.1, 400)],
            [(SpeechStarted, 100), (SpeechSustained, 200), (TurnEnded, 2000)],
            id="an endless talker is cut",
        ),
    ],
)
def test_events_come_when_the_rules_say(script, expected):
    assert [(kind, at_ms) for kind, at_ms, _ in run(script)] == expected


def test_turn_ended_knows_when_the_last_voice_arrived():
    (*_, (_, _, ended)) = run([(0.1, 100), (0.9, 400), (0.1, 300)])
    assert ended == TurnEnded(last_voiced_ns=500 * MS, at_ns=800 * MS, voiced_ms=400)


def test_a_stalled_network_is_no_pause_but_a_long_gap_ends_the_turn():
    endpointer = Endpointer(RULES)
    for number in range(1, 11):
        endpointer.feed(0.9, CHUNK, number * CHUNK * MS)
    assert endpointer.tick(200 * MS + 999 * MS) == []
    # The burst after the stall goes on with the same turn.
    assert endpointer.feed(0.9, CHUNK, 1150 * MS) == []
    assert endpointer.tick(1150 * MS + 1000 * MS) == [TurnEnded(1150 * MS, 2150 * MS, 220.0)]
    assert endpointer.tick(9999 * MS) == []


def test_the_next_turn_starts_from_nothing():
    first, second = [(0.9, 400), (0.1, 400)], [(0.9, 80), (0.1, 400)]
    assert [kind for kind, *_ in run(first + second)][-1] is SpeechDiscarded
