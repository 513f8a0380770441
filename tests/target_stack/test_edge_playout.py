import numpy as np
import pytest

from target_stack.edge.playout import FRAME_SAMPLES, SILENCE, Frame, Playout
from target_stack.frames import SPEECH_RATE, SpeechOut

pytestmark = pytest.mark.unit


def _piece(turn, *, frames=1.0, level=5000, is_last=False):
    return SpeechOut(turn, "t", np.full(int(frames * FRAME_SAMPLES), level, np.int16), is_last)


def _play(*pieces):
    playout = Playout()
    for piece in pieces:
        playout.play(piece)
    return playout


def _frames(playout, count):
    return [playout.next_frame() for _ in range(count)]


def test_silence_when_nothing_is_queued():
    assert Playout().next_frame() is SILENCE


def test_a_turn_starts_with_its_first_audible_frame_and_drains_with_its_last():
    playout = _play(_piece(1, frames=2, level=3), _piece(1, frames=2), _piece(1, is_last=True))
    marks = [(f.started, f.drained) for f in _frames(playout, 6)]
    assert marks == [(None, ()), (None, ()), (1, ()), (None, ()), (None, (1,)), (None, ())]
    assert playout.speaking_turn is None


def test_pieces_of_a_turn_are_joined_without_a_gap():
    playout = _play(_piece(1, frames=0.5, level=1), _piece(1, frames=1, level=2, is_last=True))
    first, second = (f.samples for f in _frames(playout, 2))
    half = FRAME_SAMPLES // 2
    assert first[:half].tolist() == [1] * half
    assert first[half:].tolist() == [2] * half
    assert second[half:].tolist() == [0] * half


def test_a_frame_never_holds_two_turns():
    playout = _play(_piece(1, frames=0.5, is_last=True), _piece(2, frames=1, is_last=True))
    first, second = _frames(playout, 2)
    assert (first.started, first.drained) == (1, (1,))
    assert first.samples[-1] == 0
    assert (second.started, second.drained) == (2, (2,))


def test_a_turn_that_ran_dry_goes_on_later_without_starting_again():
    playout = _play(_piece(1))
    assert playout.next_frame().started == 1
    assert playout.next_frame() is SILENCE
    assert playout.speaking_turn == 1
    playout.play(_piece(1, is_last=True))
    assert playout.next_frame().drained == (1,)


def test_an_empty_last_piece_ends_the_turn():
    playout = _play(_piece(1))
    playout.next_frame()
    playout.play(_piece(1, frames=0, is_last=True))
    assert playout.next_frame() == Frame(None, drained=(1,))


def test_flush_drops_the_rest_and_tells_what_was_played_of_this_turn():
    playout = _play(_piece(0, frames=5, is_last=True), _piece(1, frames=10, is_last=True))
    _frames(playout, 5 + 3)
    assert playout.flush() == pytest.approx(3 * FRAME_SAMPLES / SPEECH_RATE)
    assert playout.next_frame() is SILENCE
    assert playout.speaking_turn is None
    assert playout.flush() == 0.0
