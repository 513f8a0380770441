"""The verdict's precedence, and that a run without data never passes."""

import dataclasses
from importlib.resources import files

import pytest
from run_records import make_call, make_health, make_turn

from harness.exit_codes import ExitCode
from harness.measure.injections import Injection
from harness.measure.run import Measured, measure
from harness.model.fault import Evidence, Fault, Where
from harness.model.records import HealthSample
from harness.verdict import runbook
from harness.verdict.evaluate import evaluate
from harness.verdict.runbook_file import parse_runbook
from harness.verdict.thresholds import parse
from harness.verdict.verdict import RunStatus, Verdict, VerdictKind, decide

pytestmark = pytest.mark.unit

LATE = make_health(lateness_ms=(50.0, 60.0))


def _run(ttfbs: list[float | None], health: HealthSample | None = None, engine_died: bool = False) -> Measured:
    turns = [make_turn(f"c{i}", ttfb_ms=v) for i, v in enumerate(ttfbs)]
    calls = [make_call(f"c{i}") for i in range(len(ttfbs))]
    return measure(calls, turns, [health or make_health()], engine_died=engine_died)


def _decide(run: Measured, *texts: str, status: RunStatus = RunStatus.FINISHED) -> Verdict:
    return decide(run, [evaluate(parse(text), run) for text in texts], status, "http://127.0.0.1:9/")


PASS, FAIL, UNKNOWN = "ttfb_ms p50 < 800", "ttfb_ms p50 < 10", "wer < 0.1"
ANSWERED: list[float | None] = [100.0] * 6


@pytest.mark.parametrize(
    ("health", "texts", "kind", "exit_code"),
    [
        (None, (PASS,), VerdictKind.PASSED, ExitCode.PASSED),
        (None, (PASS, UNKNOWN), VerdictKind.NO_DATA, ExitCode.NO_DATA),
        (None, (UNKNOWN, FAIL, PASS), VerdictKind.FAILED, ExitCode.FAILED),
        (LATE, (UNKNOWN, FAIL, PASS), VerdictKind.VOID, ExitCode.VOID),
        (LATE, (PASS,), VerdictKind.VOID, ExitCode.VOID),
        (None, (), VerdictKind.NO_DATA, ExitCode.NO_DATA),
    ],
)
def test_precedence(
    health: HealthSample | None, texts: tuple[str, ...], kind: VerdictKind, exit_code: ExitCode
) -> None:
    verdict = _decide(_run(ANSWERED, health), *texts)
    assert (verdict.kind, verdict.exit_code) == (kind, exit_code)


@pytest.mark.parametrize(
    ("texts", "status", "exit_code", "deciding"),
    [
        ((PASS,), RunStatus.FINISHED, ExitCode.FAILED, "fault dies (process.kill) was not undone: status 3"),
        ((PASS, UNKNOWN), RunStatus.FINISHED, ExitCode.FAILED, "fault dies (process.kill) was not undone: status 3"),
        ((FAIL,), RunStatus.FINISHED, ExitCode.FAILED, FAIL),
        ((PASS,), RunStatus.INTERRUPTED, ExitCode.INTERRUPTED, "fault dies (process.kill) was not undone: status 3"),
    ],
)
def test_a_fault_that_is_not_undone_fails_whatever_the_thresholds_say(
    texts: tuple[str, ...], status: RunStatus, exit_code: ExitCode, deciding: str
) -> None:
    fault = Fault("dies", "process.kill", Where.INFRASTRUCTURE)
    broken = Injection(fault, 1, None, Evidence(1, "processes killed"), not_undone="status 3")
    verdict = _decide(dataclasses.replace(_run(ANSWERED), faults=[broken]), *texts, status=status)
    assert (verdict.kind, verdict.exit_code) == (VerdictKind.FAILED, exit_code)
    assert verdict.deciding.startswith(deciding)
    assert any("was not undone" in reason for reason in verdict.reasons)


def test_the_deciding_line_names_the_threshold_and_its_number() -> None:
    verdict = _decide(_run(ANSWERED), PASS, FAIL)
    assert verdict.deciding == "ttfb_ms p50 < 10: 100 ms over 6 turns"


def test_no_answered_turn_never_passes() -> None:
    verdict = _decide(_run([None] * 6), "error_rate < 0.5", "response_ratio < 0.5")
    assert (verdict.kind, verdict.deciding) == (VerdictKind.NO_DATA, "no turn was answered in 6 calls")


def test_no_call_never_passes() -> None:
    verdict = _decide(_run([]), "turns_answered >= 0")
    assert (verdict.kind, verdict.deciding) == (VerdictKind.NO_DATA, "no call was placed")


@pytest.mark.parametrize("status", [RunStatus.INTERRUPTED, RunStatus.RUNNING])
@pytest.mark.parametrize(("text", "kind"), [(PASS, VerdictKind.PASSED), (FAIL, VerdictKind.FAILED)])
def test_an_interrupted_run_keeps_its_verdict_and_exits_as_interrupted(
    status: RunStatus, text: str, kind: VerdictKind
) -> None:
    verdict = _decide(_run(ANSWERED), text, status=status)
    assert (verdict.kind, verdict.exit_code) == (kind, ExitCode.INTERRUPTED)


def test_an_unreachable_target_is_named() -> None:
    verdict = _decide(_run([]), PASS, status=RunStatus.TARGET_UNREACHABLE)
    assert verdict.exit_code is ExitCode.TARGET_UNREACHABLE
    assert "http://127.0.0.1:9/" in verdict.deciding


def test_a_dead_engine_voids_even_a_run_that_passes() -> None:
    verdict = _decide(_run(ANSWERED, engine_died=True), PASS, status=RunStatus.ENGINE_DIED)
    assert (verdict.kind, verdict.exit_code) == (VerdictKind.VOID, ExitCode.VOID)


def _book() -> runbook.Runbook:
    return parse_runbook(files("harness.verdict").joinpath("runbook.yaml").read_text(encoding="utf-8"))


def test_the_runbook_has_its_six_triggers_and_a_budget_that_adds_up() -> None:
    book = _book()
    assert [(t.name, t.above) for t in book.triggers] == [
        ("ttfb_p95", 400), ("gpu_utilisation", 0.75), ("connections", 0.8),
        ("error_rate", 0.01), ("drop_off", 0.15), ("rate_limit_hits", 0),
    ]  # fmt: skip
    assert sum(part.p95_ms for part in book.parts) == book.total_p95_ms == 800


def test_triggers_fire_stay_quiet_or_say_that_nobody_measured() -> None:
    states = {r.trigger.name: r.state for r in runbook.evaluate_triggers(_book(), _run([500.0] * 6), {"max_calls": 2})}
    assert states == {
        "ttfb_p95": "fired", "gpu_utilisation": "not measured", "connections": "fired",
        "error_rate": "quiet", "drop_off": "quiet", "rate_limit_hits": "not measured",
    }  # fmt: skip


def test_a_trigger_on_a_lower_bound_below_its_limit_is_undecided() -> None:
    turns = [make_turn("c0", ttfb_ms=None, waited_ms=200.0)]
    run = measure([make_call("c0")], turns, [make_health()])
    (ttfb, *_) = runbook.evaluate_triggers(_book(), run, None)
    assert (ttfb.state, ttfb.value, ttfb.is_lower_bound) == ("undecided", 200.0, True)
