"""A file of service times from what was measured, and as people read it."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import yaml

from target_stack.emulation.fit import Timed, level_of
from target_stack.emulation.measuring import Extent, Measured
from target_stack.emulation.seeded import quantile
from target_stack.emulation.service_times import Level, LlmTimes, ServiceTimes, StageTimes, Table, TtsTimes
from target_stack.emulation.stage_time import work_ms

# Of the local language model's server; room for more replies than it can write is not what bounds it.
_KV_TOKENS = 1_000_000

_HEAD = """\
# How long the stages took, measured by `callquake stages measure`; `callquake up --profile emulated --service-times`
# reads it. What each field means: docs/emulated.md.
"""


def times_of(
    name: str,
    source: str,
    measured: Measured,
    extent: Extent,
    *,
    waiting: int,
    context_tokens: int,
    cold_ms: Mapping[str, float],
    facts: Mapping[str, str],
) -> ServiceTimes:
    """Return the file's content. `cold_ms`: how long each stage took to load."""

    def cold(stage: str) -> Table:
        load_ms = round(cold_ms.get(stage, 0.0), 1)
        return (0.0, load_ms), (1.0, load_ms)

    return ServiceTimes(
        name=name,
        source=source,
        measured=dict(facts),
        stt=StageTimes(slots=extent.stt, waiting=waiting, cold_start_ms=cold("stt"), levels=_levels(measured.stt)),
        llm=LlmTimes(
            slots=extent.llm,
            waiting=32,
            cold_start_ms=cold("llm"),
            levels=_levels(measured.first_token),
            token_levels=_levels(measured.token),
            kv_tokens=max(_KV_TOKENS, context_tokens),
            context_tokens=context_tokens,
        ),
        tts=TtsTimes(
            slots=extent.tts,
            waiting=waiting,
            cold_start_ms=cold("tts"),
            levels=_levels(measured.tts),
            batch=extent.batch,
            batch_factors=batch_factors(measured),
            speech_ms_per_character=round(median(measured.pace_ms), 2),
        ),
    )


def _levels(found: Mapping[int, Sequence[Timed]]) -> tuple[Level, ...]:
    return tuple(level_of(at_once, measured) for at_once, measured in sorted(found.items()) if measured)


def batch_factors(measured: Measured) -> Table:
    """Return (size, time of a batch over its mean sentence's alone); one by one where no batches were measured."""
    if not measured.batches:
        return (1.0, 1.0), (64.0, 64.0)
    alone = level_of(1, measured.batches[1])
    rows: list[tuple[float, float]] = [(1.0, 1.0)]
    for size, batches in sorted(measured.batches.items()):
        if size > 1:
            ratio = median(one.ms / work_ms((alone,), one.units, 1, 0.5) for one in batches)
            rows.append((float(size), round(max(ratio, rows[-1][1] + 0.001), 3)))
    return tuple(rows)


def as_text(times: ServiceTimes) -> str:
    """Return the file's text."""
    return _HEAD + yaml.safe_dump(_plain(times.model_dump()), sort_keys=False, width=120, default_flow_style=None)


def _plain(value: Any) -> Any:
    """Return the value in lists and dictionaries, as YAML writes them plainly."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


# What is shown: a stage's work of a usual size.
_USUAL: tuple[tuple[str, str, float], ...] = (
    ("stt", "3 s of speech", 3.0),
    ("llm", "first token after 80", 80.0),
    ("token", "ten tokens more", 10.0),
    ("tts", "45 characters", 45.0),
)


def table_of(times: ServiceTimes) -> list[str]:
    """Return lines: each stage at each level, for work of a usual size."""
    levels = {
        "stt": times.stt.levels,
        "llm": times.llm.levels,
        "token": times.llm.token_levels,
        "tts": times.tts.levels,
    }
    lines = [
        f"{times.name}: {times.source}",
        f"{'stage':<7}{'work':<22}{'at once':>8}{'p50 ms':>9}{'p95 ms':>9}{'n':>7}",
    ]
    for stage, work, units in _USUAL:
        for level in levels[stage]:
            p50, p95 = (work_ms((level,), units, level.at_once, share) for share in (0.5, 0.95))
            lines.append(f"{stage:<7}{work:<22}{level.at_once:>8}{p50:>9.0f}{p95:>9.0f}{level.n or '-':>7}")
    lines.append(f"slots: stt {times.stt.slots}, llm {times.llm.slots}, tts {times.tts.slots} of {times.tts.batch}")
    colds = {name: stage.cold_start_ms for name, stage in (("stt", times.stt), ("llm", times.llm), ("tts", times.tts))}
    cold = ", ".join(f"{name} {quantile(table, 0.5):.0f} ms" for name, table in colds.items())
    return [*lines, f"cold start: {cold}; {times.tts.speech_ms_per_character:g} ms of speech a character"]
