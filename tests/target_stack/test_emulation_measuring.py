"""From measured times to a file and back: the fit finds what was planted; the command's work is counted as it was."""

import asyncio
import math
import random
import statistics

import numpy as np
import pytest
import yaml
from virtual_loop import run_virtually

from target_stack.emulation.fit import Timed, level_of, line_through, spread_of
from target_stack.emulation.measuring import SENTENCES, Extent, measure, steps_to
from target_stack.emulation.seeded import uniform
from target_stack.emulation.service_times import ServiceTimes, read_service_times
from target_stack.emulation.stage_time import work_ms
from target_stack.emulation.times_file import as_text, batch_factors, table_of, times_of
from target_stack.frames import SPEECH_RATE
from target_stack.stages.stt import Transcription
from target_stack.stages.tts import Speech

pytestmark = pytest.mark.unit


def planted(seed, n=400, base=80.0, slope=30.0, sigma=0.25):
    """Times of work from 1 to 12 units around a line, log-normally."""
    rng = random.Random(seed)
    sizes = [rng.uniform(1, 12) for _ in range(n)]
    return [Timed(units, (base + slope * units) * math.exp(rng.gauss(0, sigma) - sigma**2 / 2)) for units in sizes]


def p95(values):
    return statistics.quantiles(values, n=20)[18]


@pytest.mark.parametrize("seed", range(5))
def test_what_was_planted_is_found_and_drawn_again(seed):
    measured = planted(seed)
    level = level_of(1, measured)
    assert level.per_unit_ms == pytest.approx(30, rel=0.12)
    drawn = [work_ms((level,), one.units, 1, uniform(seed, place)) for place, one in enumerate(measured)]
    times = [one.ms for one in measured]
    assert statistics.median(drawn) == pytest.approx(statistics.median(times), rel=0.08)
    assert p95(drawn) == pytest.approx(p95(times), rel=0.1)
    assert level.n == len(measured)


@pytest.mark.parametrize(
    ("measured", "line"),
    [
        ([Timed(3, 100), Timed(3, 200)], (150, 0)),
        # More work that took less is noise; a line below nothing would be, too.
        ([Timed(1, 200), Timed(2, 100)], (150, 0)),
        ([Timed(2, 10), Timed(4, 40)], (0, pytest.approx(9))),
        ([Timed(1, 30), Timed(2, 50)], (pytest.approx(10), pytest.approx(20))),
    ],
)
def test_no_work_takes_less_than_nothing(measured, line):
    assert line_through(measured) == line


def test_nothing_measured_is_no_level():
    with pytest.raises(ValueError, match="nothing was measured with 2 at once"):
        level_of(2, [])
    assert spread_of([]) == ((0.0, 1.0), (1.0, 1.0))


@pytest.mark.parametrize(("most", "steps"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8])])
def test_steps_double_up_to_the_most(most, steps):
    assert steps_to(most) == steps


class Machine:
    """Stages whose times are known: all work of a stage takes as long as there is of it."""

    def __init__(self):
        self.most = {"stt": 0, "llm": 0, "tts": 0}
        self._now = dict.fromkeys(self.most, 0)

    async def _work(self, stage, ms):
        self._now[stage] += 1
        self.most[stage] = max(self.most[stage], self._now[stage])
        await asyncio.sleep(ms / 1000)
        self._now[stage] -= 1
        return ms

    async def transcribe(self, samples):
        return Transcription("words", 5.0, await self._work("stt", len(samples) / 160))

    async def synthesise(self, sentence):
        ms = await self._work("tts", 2.0 * len(sentence))
        return Speech(np.full(len(sentence) * 60 * SPEECH_RATE // 1000, 900, np.int16), 5.0, ms)

    async def stream(self, history):
        await self._work("llm", 50)
        for _ in range(4):
            yield "word "
            await self._work("llm", 10)


def measured(extent, monkeypatch):
    machine, said = Machine(), []
    monkeypatch.setattr(
        "target_stack.emulation.measuring.monotonic_ns",
        lambda: round(asyncio.get_running_loop().time() * 1e9),
    )
    found = run_virtually(measure(machine, machine, machine, extent, 1, said.append))
    return machine, found, said


def test_each_stage_is_measured_as_far_as_it_goes_and_no_further(monkeypatch):
    machine, found, said = measured(Extent(stt=2, llm=4, tts=1, batch=1, pieces=12), monkeypatch)
    assert machine.most == {"stt": 2, "llm": 4, "tts": 1}
    assert {step: len(times) for step, times in found.stt.items()} == {1: 12, 2: 12}
    assert {step: len(times) for step, times in found.first_token.items()} == {1: 12, 2: 12, 4: 12}
    assert len(said) == 6
    # Times are those of the work, waiting left out.
    assert all(one.ms == pytest.approx(100 * one.units) for one in found.stt[1])
    assert all(one.ms == pytest.approx(2 * one.units) for one in found.tts[1])
    assert all(one.ms == pytest.approx(50) for one in found.first_token[1])
    assert all((one.units, one.ms) == (3, pytest.approx(30)) for one in found.token[1])
    assert {one.units for one in found.tts[1]} <= {len(sentence) for sentence in SENTENCES}
    assert found.pace_ms == pytest.approx([60] * 12, abs=1)


def times_from(found, extent):
    return times_of(
        "bench",
        "planted",
        found,
        extent,
        waiting=16,
        context_tokens=1024,
        cold_ms={"stt": 700.0, "llm": 4000.0},
        facts={"cpu": "none"},
    )


def test_the_file_that_is_written_is_read_as_it_was(monkeypatch, tmp_path):
    extent = Extent(stt=2, llm=2, tts=1, batch=1, pieces=12)
    _, found, _ = measured(extent, monkeypatch)
    times = times_from(found, extent)
    path = tmp_path / "bench.yaml"
    path.write_text(as_text(times))
    assert read_service_times(path) == times
    assert (times.stt.slots, times.llm.slots, times.tts.slots) == (2, 2, 1)
    assert work_ms(times.stt.levels, 3.0, 1, 0.5) == pytest.approx(300, rel=0.01)
    assert times.tts.speech_ms_per_character == pytest.approx(60, abs=1)
    assert times.llm.cold_start_ms == ((0.0, 4000.0), (1.0, 4000.0))
    shown = "\n".join(table_of(times))
    assert "bench: planted" in shown
    assert yaml.safe_load(path.read_text())["measured"] == {"cpu": "none"}


def test_batches_are_held_against_their_sentences_alone(monkeypatch):
    extent = Extent(stt=1, llm=1, tts=1, batch=8, pieces=16)
    _, found, _ = measured(extent, monkeypatch)
    assert set(found.batches) == {1, 2, 4, 8}
    # Batches of 2, 4, 8 that take 1.5, 2 and 3 times one sentence.
    for size, factor in ((2, 1.5), (4, 2.0), (8, 3.0)):
        found.batches[size] = [Timed(one.units, one.ms * factor) for one in found.batches[size]]
    factors = batch_factors(found)
    assert factors == ((1.0, 1.0), (2.0, pytest.approx(1.5)), (4.0, pytest.approx(2)), (8.0, pytest.approx(3)))
    assert isinstance(times_from(found, extent), ServiceTimes)
