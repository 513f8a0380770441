"""Thresholds for how long, over what, when and by what: what is read, refused, and said of a run."""

import dataclasses
from typing import Any

import pytest
from run_records import MS, make_call, make_health, make_turn

from harness.measure.injections import Injection
from harness.measure.run import Measured, measure
from harness.model.errors import ScenarioError
from harness.model.fault import Evidence, Fault, Where
from harness.model.records import TurnRecord
from harness.verdict.evaluate import evaluate, evaluate_all
from harness.verdict.measures import parse_measure
from harness.verdict.thresholds import ThresholdVerdict, parse

pytestmark = pytest.mark.unit

PASSED, FAILED, NO_DATA = ThresholdVerdict.PASSED, ThresholdVerdict.FAILED, ThresholdVerdict.NO_DATA
S = 1_000 * MS
SCENARIO = {"load": {"arrivals": {"stages": [{"duration_s": 60}, {"duration_s": 120, "name": "peak"}]}}}


def turns(slow: tuple[int, int], *, of: int = 300, every_s: float = 1.0, **fields: Any) -> list[TurnRecord]:
    """A turn every `every_s` seconds: 300 ms, or 900 ms in the seconds from `slow[0]` to `slow[1]`."""
    found = []
    for i in range(int(of / every_s)):
        at = i * every_s
        ended = int((1_000 + at) * S)
        ttfb = 900.0 if slow[0] <= at < slow[1] else 300.0
        found.append(make_turn(f"c{i}", 1, ttfb, speech_ended_at_ns=ended, **fields))
    return found


def run(of: list[TurnRecord], faults: tuple[Injection, ...] = ()) -> Measured:
    return measure(
        [make_call("c0", ended_at_ns=1_400 * S)], of, [make_health()], faults=faults, scenario=SCENARIO,
        first_due_ns=1_000 * S,
    )  # fmt: skip


def fault(name: str, start_s: int | None, end_s: int | None, heals_s: float | None = None) -> Injection:
    spec = Fault(name, "stage.delay", Where.TARGET, recovers_within_ms=None if heals_s is None else heals_s * 1_000)
    at = (None if s is None else (1_000 + s) * S for s in (start_s, end_s))
    return Injection(spec, *at, Evidence(touched=3), "it refused" if start_s is None else "")


@pytest.mark.parametrize(
    ("slow", "text", "verdict"),
    [
        ((100, 200), "ttfb_ms p95 < 400 sustained 60s", FAILED),
        ((100, 150), "ttfb_ms p95 < 400 sustained 60s", PASSED),
        ((100, 150), "ttfb_ms p95 < 400 sustained 30s over 10s", FAILED),
        ((100, 101), "ttfb_ms p95 < 400 over 10s", FAILED),
        ((0, 0), "ttfb_ms p95 < 400 over 10s", PASSED),
        # Longer than the whole run: it could not have been broken for so long.
        ((0, 300), "ttfb_ms p95 < 400 sustained 10m over 10s", NO_DATA),
        ((100, 200), "ttfb_ms p95 < 400 sustained 60s over 3s", NO_DATA),
        ((100, 200), "ttfb_ms p95 > 200 sustained 60s", PASSED),
        ((100, 200), "response_ratio >= 0.9 sustained 60s", PASSED),
    ],
)
def test_sustained(slow: tuple[int, int], text: str, verdict: ThresholdVerdict) -> None:
    assert evaluate(parse(text), run(turns(slow))).verdict is verdict


def test_a_breach_says_when_and_how_long() -> None:
    result = evaluate(parse("ttfb_ms p95 < 400 sustained 60s"), run(turns((100, 200))))
    (breach,) = result.breaches
    assert breach.length_ns / S == pytest.approx(107, abs=5)
    assert (result.value, breach.is_open) == (900, False)
    assert "900 ms at worst in stretches of 10 s; broken for" in result.detail
    assert "(1:" in result.detail


def test_minimum_samples_are_those_of_a_stretch() -> None:
    result = evaluate(parse("ttfb_ms p95 < 400 sustained 60s over 10s", 12), run(turns((100, 200))))
    assert result.verdict is NO_DATA
    assert "none of the stretches of 10 s had 12 turns" in result.detail


def test_a_hole_in_the_turns_does_not_lengthen_a_breach() -> None:
    both = [t for t in turns((100, 110)) + turns((180, 190)) if t.speech_ended_at_ns is not None]
    busy = [t for t in both if not 1_110 * S <= (t.speech_ended_at_ns or 0) < 1_180 * S]
    assert evaluate(parse("ttfb_ms p95 < 400 sustained 60s"), run(busy)).verdict is PASSED


@pytest.mark.parametrize(
    ("text", "verdict", "n"),
    [
        ("ttfb_ms p50 < 400 during fault:tts", FAILED, 50),
        ("ttfb_ms p95 < 400 before fault:tts", PASSED, 100),
        # What the fault claims to need to heal, 20 s, is no part of it.
        ("ttfb_ms max < 400 after fault:tts", PASSED, 130),
        ("ttfb_ms p95 < 400 sustained 30s during fault:tts", FAILED, 50),
        ("ttfb_ms p95 < 400 sustained 60s during fault:tts", NO_DATA, 50),
        ("ttfb_ms p95 < 400 during phase:1", PASSED, 60),
        ("ttfb_ms p95 < 400 during phase:peak", FAILED, 120),
        ("ttfb_ms p95 < 400 during phase:2", FAILED, 120),
        ("ttfb_ms p95 < 400 during fault:never", NO_DATA, 0),
        ("ttfb_ms p95 < 400 after fault:open", NO_DATA, 0),
        ("ttfb_ms p95 < 400 during fault:open", PASSED, 100),
    ],
)
def test_stretches_of_the_run(text: str, verdict: ThresholdVerdict, n: int) -> None:
    faults = (fault("tts", 100, 150, 20), fault("never", None, None), fault("open", 200, None))
    result = evaluate(parse(text), run(turns((100, 160)), faults))
    assert (result.verdict, result.n) == (verdict, n)


def test_a_fault_that_was_not_injected_is_named() -> None:
    result = evaluate(parse("ttfb_ms p95 < 400 during fault:never"), run(turns((0, 0)), (fault("never", None, None),)))
    assert "fault never was not injected: it refused" in result.detail


@pytest.mark.parametrize("relation", ["before", "during", "after"])
def test_a_fault_that_did_nothing_has_no_stretches(relation: str) -> None:
    """What callers then heard is no answer to it: neither a pass nor a failure."""
    idle = dataclasses.replace(fault("idle", 100, 150), evidence=Evidence(0, "requests delayed", {"seen": 40}))
    for text in (f"ttfb_ms p95 < 400 {relation} fault:idle", f"ttfb_ms p95 > 400 {relation} fault:idle"):
        result = evaluate(parse(text), run(turns((100, 160)), (idle,)))
        assert result.verdict is NO_DATA
        assert result.detail.endswith("fault idle was not injected: it started, but requests delayed: 0 of 40 seen")


def test_each_segment_is_judged_on_its_own() -> None:
    of = [*turns((0, 300), of=20, accent="british"), *turns((0, 0), of=20), *turns((0, 0), of=3, accent="hindi")]
    results = evaluate_all(parse("ttfb_ms p95 < 400 by accent"), run(of))
    assert [(r.segment, r.verdict) for r in results] == [
        ("accent:american", PASSED), ("accent:british", FAILED), ("accent:hindi", NO_DATA),
    ]  # fmt: skip
    assert results[1].title == "ttfb_ms p95 < 400 by accent [accent:british]"
    assert (
        evaluate(parse("ttfb_ms p95 < 400 by tag_mood"), run(of)).detail == "not measured: no turns with the tag mood"
    )


def test_what_nobody_told_of_the_target_is_no_data() -> None:
    measured = run(turns((0, 0)))
    for text in ("gpu_utilisation < 0.75 sustained 5m", "rate_limit_hits <= 0", "connection_ratio < 0.8"):
        assert evaluate(parse(text), measured).verdict is NO_DATA


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ttfb_ms p95 < 400 for 60s", ("'for'", "one of: sustained 60s")),
        ("ttfb_ms p95 < 400 ms", ("'ms'", "expected nothing more")),
        ("ttfb_ms p95 < 400 sustained", ("'sustained' needs a duration",)),
        ("ttfb_ms p95 < 400 sustained 60", ("'60'", "like 60s or 5m")),
        ("ttfb_ms p95 < 400 sustained 0s", ("from 1s to 168h",)),
        ("ttfb_ms p95 < 400 over 9s over 9s", ("stands twice",)),
        ("ttfb_ms p95 < 400 during fault:a after fault:a", ("one of during, before, after stands twice",)),
        ("ttfb_ms p95 < 400 during tts", ("'tts'", "fault:NAME or phase:NAME")),
        ("ttfb_ms p95 < 400 during fault:llm", ("'fault:llm'", "legal: fault:tts")),
        ("ttfb_ms p95 < 400 during phase:3", ("'phase:3'", "legal: phase:1, phase:2, phase:peak")),
        ("ttfb_ms p95 < 400 by mood", ("'mood'", "unknown tag of ttfb_ms; legal: accent")),
        ("drop_off < 0.1 by noise", ("unknown tag of drop_off",)),
        ("ttfb_ms{accent:british} p95 < 400 by accent", ("one value of that tag already",)),
        ("turns_answered >= 5 sustained 60s", ("counts over the whole run",)),
        ("gpu_utilisation < 75", ("did you mean 0.75?",)),
    ],
)
def test_what_is_refused_and_how(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(text, windows={"fault": ["tts"], "phase": ["1", "2", "peak"]})
    for word in (*words, repr(text)):
        assert word in str(caught.value)


def test_a_measure_is_read_without_comparison() -> None:
    measured = parse_measure(" stage_ms{stage:llm,accent:british}  p50 ")
    assert (measured.words, measured.quantile) == ("stage_ms{stage:llm,accent:british} p50", 0.5)
    for text in ("ttfb_ms", "ttfb_ms p95 < 4", "wer p50"):
        with pytest.raises(ScenarioError):
            parse_measure(text)
