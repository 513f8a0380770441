"""Speech behind the batch queue: real threads, a scripted voice."""

import asyncio
import threading

import numpy as np
import pytest

from target_stack.__main__ import parser
from target_stack.call_scope import CallScope, enter_scope
from target_stack.config import config_from
from target_stack.pipeline.batch_queue import BatchRules, Refusal
from target_stack.pipeline.batch_runner import BatchRefusedError
from target_stack.pipeline.batched_tts import BatchedTts
from target_stack.stages.tts import _speech_or_error
from target_stack.telemetry.batch_stats import BatchStats
from target_stack.telemetry.stats import Stats

pytestmark = pytest.mark.unit


class GatedVoice:
    """Says the number that a sentence is, once the gate is open."""

    description = "scripted voice"

    def __init__(self, gate):
        self.gate = gate
        self.batches = []
        self.is_loaded = False

    def load(self):
        self.is_loaded = True

    def speak(self, sentences):
        self.batches.append(list(sentences))
        self.gate.wait()
        return [_speech_or_error(lambda text: np.full(3, int(text), np.int16), sentence) for sentence in sentences]


def speaking(scenario, replicas=1, **rules):
    async def main():
        gate = threading.Event()
        voices = [GatedVoice(gate) for _ in range(replicas)]
        stats, batches = Stats(), BatchStats()
        tts = BatchedTts(voices, BatchRules(**{"wait_ms": 0, "replicas": replicas} | rules), stats, batches)
        await tts.load()
        assert all(voice.is_loaded for voice in voices)
        try:
            return await scenario(tts, gate, voices, stats, batches)
        finally:
            gate.set()
            await tts.aclose()

    return asyncio.run(main())


async def begun(voice):
    while not voice.batches:
        await asyncio.sleep(0.001)


def test_two_hundred_calls_each_hear_their_own_sentence():
    async def scenario(tts, gate, voices, stats, batches):
        gate.set()
        spoken = await asyncio.gather(*(tts.synthesise(str(number)) for number in range(200)))
        return [speech.samples.tolist() for speech in spoken], batches, voices

    spoken, batches, voices = speaking(scenario, replicas=2, size=8, waiting=200)
    assert spoken == [[number] * 3 for number in range(200)]
    assert sum(len(batch) for voice in voices for batch in voice.batches) == 200
    assert batches.endings == {"answered": 200}
    assert max(batches.sizes) == 8
    assert all(voice.batches for voice in voices)


def test_the_longest_waiting_caller_speaks_first():
    async def scenario(tts, gate, voices, stats, batches):
        async def ask(number, since_ms):
            enter_scope(CallScope(f"call-{number}", 1, since_ms * 1_000_000))
            await tts.synthesise(str(number))

        first = asyncio.create_task(tts.synthesise("0"))
        await begun(voices[0])
        now_ms = tts._runner._now() // 1_000_000
        others = [asyncio.create_task(ask(number, now_ms - wait)) for number, wait in ((1, 5), (2, 900), (3, 100))]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, *others)
        return voices[0].batches

    assert speaking(scenario, size=1) == [["0"], ["2"], ["3"], ["1"]]


def test_a_refusal_is_typed_counted_and_a_sentences_own_error_is_its_own():
    async def scenario(tts, gate, voices, stats, batches):
        first = asyncio.create_task(tts.synthesise("1"))
        await begun(voices[0])
        waiting = [asyncio.create_task(tts.synthesise(text)) for text in ("two", "3")]
        await asyncio.sleep(0)
        with pytest.raises(BatchRefusedError) as refused:
            await tts.synthesise("4")
        gate.set()
        spoken = await asyncio.gather(first, *waiting, return_exceptions=True)
        return refused.value.reason, stats.refused["tts"], spoken

    reason, refused, (first, failed, last) = speaking(scenario, size=2, waiting=2)
    assert (reason, refused) == (Refusal.SATURATED, 1)
    assert (first.samples[0], last.samples[0]) == (1, 3)
    assert isinstance(failed, ValueError)
    assert last.queue_ms > 0


def test_speech_made_ahead_of_calls_has_no_deadline_and_a_calls_has():
    async def scenario(tts, gate, voices, stats, batches):
        greeting = asyncio.create_task(tts.synthesise("7"))
        await begun(voices[0])
        enter_scope(CallScope("call", 1, 0))
        with pytest.raises(BatchRefusedError) as refused:
            await tts.synthesise("8")
        gate.set()
        return refused.value.reason, (await greeting).samples[0]

    assert speaking(scenario, size=1, deadline_ms=30) == (Refusal.EXPIRED, 7)


def parsed(*arguments):
    return config_from(parser({}).parse_args(["up", *arguments]), {}).tts


def test_batches_are_asked_for():
    assert not parsed().is_batched
    batched = parsed("--tts-batch", "8", "--tts-workers", "2", "--waiting", "40", "--tts-deadline-ms", "900")
    assert batched.is_batched
    assert batched.batch == BatchRules(size=8, wait_ms=50, deadline_ms=900, waiting=40, replicas=2)
    assert parsed("--tts-engine", "torch", "--tts-model", "k.pth", "--tts-device", "cuda").device == "cuda"
