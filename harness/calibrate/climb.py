"""The climb: one responder, then step by step more callers, until a bound is broken."""

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.calibrate.children import ResponderProcess
from harness.calibrate.machine import describe_affinity, machine_key, split_cpus
from harness.calibrate.plans import ANSWER_MS
from harness.calibrate.step import Progress, StepRun
from harness.calibrate.truth_file import TruthFile
from harness.calibrate.utterances import write_corpus
from harness.measure.calibration import Calibration, Conditions, Step
from harness.media.codecs import codec_named


@dataclass(slots=True)
class Climb:
    """What a climb has come to so far; `steps` grows while it runs, so that a climb cut short leaves what it has."""

    conditions: Conditions
    steps: list[Step] = field(default_factory=list)
    media_loop: str = "unknown"

    async def run(self, callers: Sequence[int], on_step: Callable[[Step], None], progress: Progress) -> None:
        """Measure each number of `callers` in turn until one breaks a bound. Raises GeneratorError, ScenarioError."""
        engine_cpus, responder_cpus = split_cpus()
        with tempfile.TemporaryDirectory(prefix="callquake-calibrate-") as name:
            folder = Path(name)
            utterances = write_corpus(folder / "corpus", codec_named(self.conditions.codec))
            truth = folder / "truth.jsonl"
            responder = ResponderProcess(responder_words(self.conditions, truth), responder_cpus, folder)
            async with contextlib.AsyncExitStack() as stack:
                stack.push_async_callback(responder.stop)
                progress("starting the reference responder; the first time, the media loop is compiled before")
                await responder.start()
                told = TruthFile(truth)
                for index, count in enumerate(callers):
                    step_run = StepRun(
                        f"s{index}",
                        count,
                        self.conditions,
                        responder=responder,
                        truth=told,
                        corpus=folder / "corpus",
                        utterances=utterances,
                        folder=folder / f"step-{index}",
                        cpus=engine_cpus,
                        progress=progress,
                    )
                    step = await step_run.run()
                    self.media_loop = step_run.media_loop
                    self.steps.append(step)
                    on_step(step)
                    if step.limits:
                        return

    def result(self, calibrated_at: str, *, is_partial: bool) -> Calibration:
        """Return the steps so far as a calibration of this machine."""
        engine_cpus, responder_cpus = split_cpus()
        return Calibration(
            machine=machine_key(),
            calibrated_at=calibrated_at,
            conditions=self.conditions,
            media_loop=self.media_loop,
            affinity=describe_affinity(engine_cpus, responder_cpus),
            engine_cpus=len(engine_cpus),
            steps=tuple(self.steps),
            is_partial=is_partial,
        )


def responder_words(conditions: Conditions, truth: Path) -> list[str]:
    """Return the responder's command line for `conditions`."""
    words = ["--truth", str(truth), "--greeting-ms", "0", "--answer-ms", f"{ANSWER_MS:g}"]
    words += ["--delay-ms", "{:g}:{:g}".format(*conditions.delay_ms)]
    words += ["--leading-silence-ms", "{:g}:{:g}".format(*conditions.leading_silence_ms)]
    if conditions.transport == "sip":
        words += ["--sip-port", "0"]
    words += ["--silence", conditions.silence, "--loss", f"{conditions.loss_ratio:g}", "--hear", "size"]
    return words
