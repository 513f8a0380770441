"""The bounds that Callquake states of itself, at full size: run on an idle machine of at least two cores.

pytest --soak -s tests/harness/calibrate/test_calibrate_soak.py                  1,000 WebRTC, 2,000 RTP, 30 min churn
pytest --soak -s --minutes 5 -k churn tests/harness/calibrate/test_calibrate_soak.py
"""

import asyncio
import itertools
import time
from statistics import fmean

import pytest

from harness.calibrate.children import EngineProcess, ResponderProcess, descriptors, memory_kib
from harness.calibrate.climb import Climb, responder_words
from harness.calibrate.machine import split_cpus
from harness.calibrate.plans import call_plans
from harness.calibrate.utterances import write_corpus
from harness.measure.calibration import Conditions
from harness.media.codecs import OPUS
from harness.model.codec import to_json
from harness.report.calibration_words import calibration_lines, step_head, step_line

pytestmark = [pytest.mark.soak, pytest.mark.timeout(4 * 3600)]

THREE_MINUTES_S = 180.0
CHURN_CALLS = 500
SAMPLE_S = 10.0


@pytest.mark.parametrize(
    ("callers", "memory_kib_per_call", "conditions"),
    [
        (1000, 400, Conditions(duration_s=THREE_MINUTES_S)),
        (2000, 100, Conditions(transport="rtp", codec="PCMU", duration_s=THREE_MINUTES_S)),
    ],
    ids=["1000-webrtc", "2000-rtp"],
)
def test_ttfb_is_true_for_three_minutes(callers, memory_kib_per_call, conditions):
    climb = Climb(conditions)
    asyncio.run(climb.run([callers], lambda step: print(f"\n{step_head()}\n{step_line(step)}"), lambda _: None))
    (step,) = climb.steps
    print("\n".join(calibration_lines(climb.result("now", is_partial=False))))
    assert step.connected == callers
    assert step.limits == ()
    assert abs(step.error.bias_ms) <= 1
    assert step.error.p99_ms <= 5
    assert step.tick_lateness_p99_ms <= 2
    assert step.packets_lost == 0
    assert step.memory_per_call_kib <= memory_kib_per_call


class Churn:
    """Keeps so many calls up; each that ends is followed by another."""

    def __init__(self, folder, url, corpus, utterances, cpus):
        self.conditions = Conditions(turns=5)
        self.url, self.utterances = url, utterances
        self.engine = EngineProcess(folder, corpus, cpus, self._take)
        self.ended, self.failures, self.is_over = 0, [], False
        self._numbers = itertools.count()

    def _take(self, kind, message):
        if kind != "call" or self.is_over:
            return
        self.ended += 1
        if message["record"]["outcome"] != "completed":
            self.failures.append((message["record"]["cause"], message["record"]["detail"]))
        self.place()

    def place(self):
        (plan,) = call_plans(f"churn{next(self._numbers)}", 1, self.url, self.utterances, self.conditions)
        self.engine.send("place", plan=to_json(plan), due_at_ns=None)


async def churn(folder, minutes):
    engine_cpus, responder_cpus = split_cpus()
    utterances = write_corpus(folder / "corpus", OPUS)
    responder = ResponderProcess(responder_words(Conditions(), folder / "truth"), responder_cpus, folder)
    samples = []
    try:
        await responder.start()
        run = Churn(folder, responder.url, folder / "corpus", utterances, engine_cpus)
        try:
            await run.engine.start()
            for _ in range(CHURN_CALLS):
                run.place()
            end_s = time.monotonic() + minutes * 60
            while time.monotonic() < end_s:
                await asyncio.sleep(SAMPLE_S)
                pids = run.engine.pid, responder.pid
                samples.append([*map(memory_kib, pids), *map(descriptors, pids)])
                assert not run.engine.is_gone
        finally:
            run.is_over = True
            await run.engine.stop()
    finally:
        await responder.stop()
    return run, samples


def test_churn_of_500_calls_leaves_memory_and_descriptors_flat(tmp_path, pytestconfig):
    minutes = pytestconfig.getoption("--minutes")
    run, samples = asyncio.run(churn(tmp_path, minutes))
    # The first tenth fills caches; of the rest, the last quarter must stand where the first one stood.
    steady = samples[len(samples) // 10 :]
    quarter = max(1, len(steady) // 4)
    before = [fmean(values) for values in zip(*steady[:quarter], strict=True)]
    after = [fmean(values) for values in zip(*steady[-quarter:], strict=True)]
    print(f"\n{run.ended} calls in {minutes:g} min, {len(run.failures)} not completed: {run.failures[:3]}")
    names = ("engine kB", "responder kB", "engine descriptors", "responder descriptors")
    for name, first, last in zip(names, before, after, strict=True):
        print(f"{name}: {first:.0f} -> {last:.0f}")
    assert run.ended > CHURN_CALLS
    assert len(run.failures) <= 0.001 * run.ended
    for first, last in zip(before[:2], after[:2], strict=True):
        assert last <= first * 1.03 + 2048
    for first, last in zip(before[2:], after[2:], strict=True):
        # Calls being set up hold sockets of their own for a moment.
        assert last <= first * 1.02 + 16
