"""Long utterances in parts: where they are cut, how words are joined, what is asked and when."""

import asyncio

import numpy as np
import pytest
from virtual_loop import run_virtually

from target_stack.pipeline.listening import Heard
from target_stack.pipeline.parts import CutSearch, PartRules, joined, same_words
from target_stack.pipeline.recognition import Recognition, SttRules
from target_stack.pipeline.task_ends import CalledOff
from target_stack.stages.stt import Transcription
from target_stack.stages.vad import CHUNK_MS, CHUNK_SAMPLES
from target_stack.stages.worker import GivesWayError

pytestmark = pytest.mark.unit

RULES = PartRules(shortest_ms=2_000, longest_ms=6_000, search_ms=2_000, overlap_ms=640)


def heard(*stretches, level=8000, seed=1):
    """(seconds, probability of voice) stretches; loud where there is voice."""
    rng = np.random.default_rng(seed)
    voice, samples = [], []
    for seconds, probability in stretches:
        chunks = round(1000 * seconds / CHUNK_MS)
        voice += [probability] * chunks
        peak = level if probability >= 0.35 else 3
        samples.append(rng.integers(-peak, peak + 1, chunks * CHUNK_SAMPLES))
    return Heard(np.concatenate(samples).astype(np.int16), np.array(voice, np.float32))


def first_cut(talk, rules):
    return CutSearch(rules).look(talk)


@pytest.mark.parametrize("longest_pause", [0.06, 0.15, 0.3])
@pytest.mark.parametrize("seed", range(8))
def test_a_stretch_that_grows_is_cut_where_the_whole_of_it_is(seed, longest_pause):
    rng = np.random.default_rng(seed)
    pauses = ((rng.uniform(0.03, 1.5 if voice > 0.5 else longest_pause), voice) for voice in [0.9, 0.1] * 8)
    talk = heard(*pauses, (2, 0.9))
    search, count = CutSearch(RULES), 0
    while (cut := search.look(talk.until(count))) is None and count < talk.chunks:
        count += int(rng.integers(1, 30))
    assert cut == first_cut(talk, RULES)


def test_a_part_ends_in_the_middle_of_the_first_pause_that_is_late_and_long_enough():
    talk = heard((1, 0.9), (0.4, 0.1), (1.5, 0.9), (0.4, 0.1), (1, 0.9))
    cut = first_cut(talk, RULES)
    assert not cut.is_in_speech
    assert 2.9 < cut.end * CHUNK_MS / 1000 < 3.3
    assert talk.voice[cut.end] < 0.35
    assert first_cut(talk.until(60), RULES) is None
    # What comes later changes nothing: the words of a settled part stay.
    assert first_cut(talk.until(cut.end + 12), RULES) == cut


def test_the_older_a_part_the_shorter_the_pause_that_ends_it():
    gap = heard((2.5, 0.9), (0.16, 0.1), (2.5, 0.9), (0.16, 0.1), (0.5, 0.9))
    cut = first_cut(gap, RULES)
    assert 5.1 < cut.end * CHUNK_MS / 1000 < 5.4


def test_speech_without_a_pause_is_cut_where_it_is_quietest_with_words_on_both_sides():
    talk = heard((7, 0.9))
    quiet = round(4300 / CHUNK_MS)
    talk.samples[quiet * CHUNK_SAMPLES : (quiet + 3) * CHUNK_SAMPLES] //= 50
    cut = first_cut(talk, RULES)
    assert cut.is_in_speech
    assert abs((cut.start + cut.end) / 2 - quiet - 1) <= 1
    assert (cut.end - cut.start) * CHUNK_MS == pytest.approx(640, abs=CHUNK_MS)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            "we then take the train to Mad",
            "the train to Madrid. My husband",
            "we then take the train to Madrid. My husband",
        ),
        ("it is on the second of", "on the second of May", "it is on the second of May"),
        ("nothing alike here", "other words follow", "nothing alike here other words follow"),
        # One common word far from the joint is another one's like.
        ("the man came home very late", "when she saw the dog", "the man came home very late when she saw the dog"),
        ("", "only this", "only this"),
    ],
)
def test_words_that_both_parts_have_stand_once(first, second, expected):
    assert joined(first, second, is_overlapping=True) == expected


def test_parts_cut_in_a_pause_keep_every_word():
    assert joined("that was that", "that is this") == "that was that that is this"


def test_transcripts_are_compared_by_their_words():
    assert same_words("Hello, is it you?", "hello is it you")
    assert not same_words("is it you", "it is you")


class Recogniser:
    """Writes down what it is asked; a stretch's "words" are its chunks, so that the sum can be checked."""

    def __init__(self):
        self.asked = []
        self.failing = set()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, stretch, work):
        self.asked.append((work, stretch.chunks))
        if work in self.failing:
            self.failing.discard(work)
            raise GivesWayError("busy") if work == "partial" else TimeoutError("late")
        await self.gate.wait()
        return Transcription(f"<{stretch.chunks}>", 1.0, 1.0)


def run(scenario, **rules):
    async def main():
        recogniser = Recogniser()
        called_off = CalledOff()
        recognition = Recognition(recogniser, SttRules(parts=RULES, **rules), called_off)
        result = await scenario(recogniser, recognition)
        recognition.close()
        await called_off.ended()
        assert len(asyncio.all_tasks()) == 1
        return recogniser.asked, result

    return run_virtually(main())


def test_a_draft_after_which_nothing_was_said_is_the_final():
    async def scenario(_, recognition):
        recognition.take(heard((1, 0.9), (0.2, 0.1)))
        draft = await recognition.draft()
        recognition.take(heard((0.4, 0.1)))
        return draft.text, (await recognition.finish()).text

    asked, (draft, final) = run(scenario)
    assert [work for work, _ in asked] == ["draft"]
    assert draft == final


def test_speech_after_the_draft_is_recognised_again_with_what_was_before():
    async def scenario(_, recognition):
        recognition.take(heard((1, 0.9), (0.2, 0.1)))
        await recognition.draft()
        recognition.take(heard((0.2, 0.9), (0.5, 0.1)))
        return (await recognition.finish()).text

    asked, text = run(scenario)
    assert [work for work, _ in asked] == ["draft", "final"]
    assert text == f"<{asked[-1][1]}>"
    assert asked[-1][1] == sum(round(1000 * s / CHUNK_MS) for s in (1, 0.2, 0.2, 0.5))


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_every_chunk_of_a_long_utterance_is_in_one_part_however_it_arrives(step):
    talk = heard((2.5, 0.9), (0.4, 0.1), (2.2, 0.9), (0.4, 0.1), (2.6, 0.9), (0.5, 0.1), (0.6, 0.9), (0.5, 0.1))

    async def scenario(_, recognition):
        for start in range(0, talk.chunks, step):
            recognition.take(talk.since(start).until(step))
            await asyncio.sleep(0)
        return (await recognition.finish()).text

    asked, text = run(scenario)
    assert [work for work, _ in asked] == ["part", "part", "part", "final"]
    assert sum(chunks for _, chunks in asked) == talk.chunks
    assert text == " ".join(f"<{chunks}>" for _, chunks in asked)


def test_a_draft_becomes_the_part_when_only_silence_came_since():
    async def scenario(_, recognition):
        recognition.take(heard((3, 0.9), (0.16, 0.1)))
        await recognition.draft()
        recognition.take(heard((0.3, 0.1), (1, 0.9), (0.5, 0.1)))
        return await recognition.finish()

    asked, _ = run(scenario)
    assert [work for work, _ in asked] == ["draft", "final"]


def test_a_part_that_failed_is_asked_once_more_at_the_end():
    async def scenario(recogniser, recognition):
        recogniser.failing.add("part")
        recognition.take(heard((3, 0.9), (0.5, 0.1)))
        await asyncio.sleep(0.001)
        recognition.take(heard((1, 0.9), (0.5, 0.1)))
        return (await recognition.finish()).text

    asked, text = run(scenario)
    assert [work for work, _ in asked] == ["part", "final", "final"]
    assert len(text.split()) == 2


def test_a_time_out_of_the_final_is_the_turns():
    async def scenario(recogniser, recognition):
        recogniser.failing.add("final")
        recognition.take(heard((1, 0.9), (0.5, 0.1)))
        with pytest.raises(TimeoutError):
            await recognition.finish()

    run(scenario)


def test_without_chunks_all_of_it_is_one_request_at_the_end():
    talk = heard((2.5, 0.9), (0.4, 0.1), (2.2, 0.9), (0.5, 0.1))

    async def scenario(_, recognition):
        recognition.take(talk)
        await recognition.finish()

    asked, _ = run(scenario, is_chunked=False)
    assert asked == [("final", talk.chunks)]


def test_partials_come_after_enough_voice_and_give_way_without_a_word():
    async def scenario(recogniser, recognition):
        told = []
        recognition.take(heard((0.9, 0.9)))
        assert not recognition.is_partial_due
        recognition.take(heard((0.2, 0.9)))
        assert recognition.is_partial_due
        recognition.ask_partial(told.append)
        await asyncio.sleep(0.001)
        recognition.take(heard((1.1, 0.9)))
        recogniser.failing.add("partial")
        recognition.ask_partial(told.append)
        await asyncio.sleep(0.001)
        recognition.take(heard((1.1, 0.9), (0.1, 0.1)))
        # Nobody reads along in a pause: the draft tells the same.
        assert not recognition.is_partial_due
        return told

    asked, told = run(scenario)
    assert [work for work, _ in asked] == ["partial", "partial"]
    assert len(told) == 1


def test_a_superseded_draft_is_withdrawn():
    async def scenario(recogniser, recognition):
        recogniser.gate.clear()
        recognition.take(heard((1, 0.9), (0.2, 0.1)))
        first = asyncio.create_task(recognition.draft())
        await asyncio.sleep(0.001)
        recognition.take(heard((0.5, 0.9), (0.2, 0.1)))
        second = asyncio.create_task(recognition.draft())
        await asyncio.wait({first})
        assert first.cancelled()
        recogniser.gate.set()
        return (await second).text

    asked, text = run(scenario)
    assert [work for work, _ in asked] == ["draft", "draft"]
    assert text == f"<{asked[1][1]}>"
