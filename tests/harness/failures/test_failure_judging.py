"""What two runs prove: figures of records, moves, the outcome of a mode, the command's exit code, the table."""

import dataclasses
import itertools
import json

import pytest
from failure_samples import change_json, write
from run_records import MS, make_call, make_health, make_turn
from sample_run import write_records, write_run

from harness.exit_codes import ExitCode
from harness.failures import table
from harness.failures.failure_file import OFF, ON, load_failure
from harness.failures.judge import Outcome as Found
from harness.failures.judge import SideRun, exit_code_of, judge
from harness.failures.moves import Figure, check_metric, figure, move
from harness.measure.distribution import Estimate
from harness.model.codec import to_json
from harness.model.fault import Direction, Evidence, Fault, FaultEvent, FaultMoment, Where
from harness.model.records import Cause, Outcome
from harness.report.analysis import analyse
from harness.report.store import read_run

pytestmark = pytest.mark.unit

UP, DOWN = Direction.UP, Direction.DOWN
THRESHOLDS = ["error_rate < 0.01"]
EXIT = {"PASSED": 0, "FAILED": 99, "NO DATA": 97, "VOID": 98}


def side(folder, name, *, failed=0, calls=10, ttfb_ms=600.0, thresholds=THRESHOLDS, lateness_ms=0.2):
    """A run of so many calls, `failed` of them never connected, the others with one answered turn each."""
    run_dir = folder / name
    write_run(run_dir)
    scenario = {"name": name, "thresholds": thresholds, "limits": {"answer_timeout_s": 15}}
    change_json(run_dir / "run.json", scenario=scenario, simulated=["target: emulated (guide)"])
    records = [
        make_call(f"c{i}", Outcome.FAILED, Cause.ICE_FAILED) if i < failed else make_call(f"c{i}", turns_planned=1)
        for i in range(calls)
    ]
    at = 1_000_000 * MS
    turns = [
        make_turn(f"c{i}", 1, ttfb_ms, speech_started_at_ns=at, speech_ended_at_ns=at + 3_500 * MS)
        for i in range(failed, calls)
    ]
    health = [make_health(float(s), lateness_ms=(lateness_ms,) * 50) for s in range(60)]
    write_records(run_dir, records, turns, health)
    analysis = analyse(read_run(run_dir))
    return SideRun(
        OFF if name == "off" else ON, EXIT[analysis.verdict.kind.value], analysis, up=f"callquake up --{name}"
    )


@pytest.fixture
def failure(tmp_path):
    return load_failure(write(tmp_path))


def judged(failure, tmp_path, off, on):
    return judge(failure, side(tmp_path, "off", **off), side(tmp_path, "on", **on))


def test_failed_with_its_symptom_and_passed_is_as_declared(failure, tmp_path):
    found = judged(failure, tmp_path, {"failed": 4}, {})
    assert (found.outcome, found.reasons) == (Found.AS_DECLARED, ())
    (symptom,) = found.symptoms
    assert (symptom.off.is_shown, symptom.off.why) == (True, "0.0% to 40.0%")
    assert exit_code_of([found]) == ExitCode.PASSED


@pytest.mark.parametrize(
    ("off", "on", "outcome", "reason"),
    [
        ({}, {}, Found.OTHERWISE, "fix off: PASSED, declared FAILED"),
        ({"failed": 4}, {"failed": 1}, Found.OTHERWISE, "fix on: FAILED, declared PASSED"),
        # Failed, but not so far as the runbook's symptom goes.
        ({"failed": 1}, {}, Found.OTHERWISE, "symptom not shown: up by 0.2 from fix on: 0.0% to 10.0%"),
        ({"failed": 4}, {"calls": 2}, Found.NO_DATA, "fix on: NO DATA"),
        ({"failed": 4, "lateness_ms": 200.0}, {}, Found.VOID, "fix off: VOID"),
        ({"failed": 4}, {"lateness_ms": 200.0}, Found.VOID, "fix on: VOID"),
    ],
)
def test_anything_else_is_told_and_never_passes(failure, tmp_path, off, on, outcome, reason):
    found = judged(failure, tmp_path, off, on)
    assert found.outcome is outcome
    assert any(reason in said for said in found.reasons), found.reasons
    assert exit_code_of([found]) not in (ExitCode.PASSED, ExitCode.INTERRUPTED)


def with_fault(run: SideRun, *ends: FaultMoment) -> SideRun:
    """The same run, of which a fault that did something came to such ends."""
    spec, at = Fault("dies", "process.kill", Where.INFRASTRUCTURE), 1_000_000 * MS
    told = [FaultEvent("dies", FaultMoment.STARTED, at, "t", spec=spec)]
    told += [FaultEvent("dies", end, at + 1, "t", Evidence(1, "processes killed"), "status 3") for end in ends]
    folder = run.analysis.run.directory
    (folder / "faults.jsonl").write_text("".join(json.dumps(to_json(event)) + "\n" for event in told))
    analysis = analyse(read_run(folder))
    return dataclasses.replace(run, analysis=analysis, code=EXIT[analysis.verdict.kind.value])


@pytest.mark.parametrize("broken", [OFF, ON])
def test_a_fault_that_is_not_undone_is_not_as_declared_on_either_side(failure, tmp_path, broken):
    """With the fix off the run is to fail, but by its thresholds, and with nothing left broken."""
    ends = {OFF: FaultMoment.STOPPED, ON: FaultMoment.STOPPED}
    runs = {OFF: side(tmp_path, "off", failed=4), ON: side(tmp_path, "on")}
    off, on = (with_fault(runs[name], ends[name]) for name in (OFF, ON))
    assert judge(failure, off, on).outcome is Found.AS_DECLARED
    ends[broken] = FaultMoment.NOT_UNDONE
    off, on = (with_fault(runs[name], ends[name]) for name in (OFF, ON))
    found = judge(failure, off, on)
    assert found.outcome is Found.OTHERWISE
    assert any("fault dies (process.kill) was not undone: status 3" in said for said in found.reasons)
    assert exit_code_of([found]) is ExitCode.FAILED


def test_a_run_that_never_was_is_no_proof(failure, tmp_path):
    gone = SideRun(ON, ExitCode.TARGET_UNREACHABLE, None, "the target did not start", is_unreachable=True)
    found = judge(failure, side(tmp_path, "off", failed=4), gone)
    assert (found.outcome, found.symptoms) == (Found.UNREACHABLE, ())
    assert found.reasons == ("fix on: the target did not start",)
    assert exit_code_of([found]) == ExitCode.TARGET_UNREACHABLE
    cut = judge(failure, SideRun(OFF, ExitCode.INTERRUPTED, why="interrupted"), gone)
    assert exit_code_of([found, cut]) == ExitCode.INTERRUPTED


def test_the_exit_code_is_0_only_where_every_mode_is_as_declared(failure, tmp_path):
    good = judged(failure, tmp_path / "a", {"failed": 4}, {})
    bad = judged(failure, tmp_path / "b", {}, {})
    assert exit_code_of([good, good]) == ExitCode.PASSED
    assert exit_code_of([good, bad]) == ExitCode.FAILED
    assert exit_code_of([]) == ExitCode.NO_DATA


def test_within_a_run_both_sides_are_told(tmp_path):
    block = {"metric": "ttfb_ms max", "against": "ttfb_ms p50", "direction": "up", "by": 100}
    failure = load_failure(write(tmp_path, symptoms=[block]))
    found = judged(failure, tmp_path, {"failed": 4}, {})
    (symptom,) = found.symptoms
    assert symptom.off.is_shown is False
    assert (symptom.off.start.shown, symptom.on.end.shown) == ("600 ms", "600 ms")
    assert (symptom.off.start.n, symptom.on.end.n) == (6, 10)


def test_an_unknown_figure_is_told():
    assert "unknown metric" in check_metric("ttfb p95")
    assert "without `by`" in check_metric("error_rate by caller")
    assert check_metric("ttfb_ms{caller:a b} p95 during phase:many") == ""


def test_a_figure_on_too_few_samples_is_none(tmp_path):
    run = side(tmp_path, "off", calls=4).analysis.measured
    found = figure("ttfb_ms p50", run)
    assert (found.estimate, found.n, found.why) == (None, 4, "4 turns, at least 5 are needed")
    assert figure("gpu_utilisation", run).why == "nobody told it of the target"
    assert figure("ttfb_ms p50 during phase:many", run).estimate is None


def of(value, upper=...):
    return Figure(f"{value}", 9, "turns", Estimate(value, value if upper is ... else upper))


@pytest.mark.parametrize(
    ("start", "end", "direction", "shown"),
    [
        (of(500.0), of(900.0), UP, True),
        (of(500.0), of(899.0), UP, False),
        (of(900.0), of(500.0), UP, False),
        (of(900.0), of(500.0), DOWN, True),
        (of(500.0), of(900.0), DOWN, False),
        # Unanswered turns: at least 900 is enough; a beginning that may be anything is not.
        (of(500.0), of(900.0, None), UP, True),
        (of(500.0, None), of(900.0), UP, False),
        (of(900.0), of(500.0, None), DOWN, False),
        (Figure("not measured", 0, "turns", None, "no turns"), of(900.0), UP, None),
    ],
)
def test_a_move_is_shown_only_where_there_is_no_doubt(start, end, direction, shown):
    assert move("", start, end, direction, 400.0).is_shown is shown


# --- the table -----------------------------------------------------------------------------------------------------

PAGE = f"# Head\n\n{table.BEGIN}\n{table.END}\n\ntail\n"


def test_the_table_has_both_columns_and_keeps_what_is_not_run_again(tmp_path):
    names = ("first", "second", "third")
    failures = {name: load_failure(write(tmp_path, name)) for name in names}
    lines = {name: table.never(failures[name]) for name in names}
    lines["first"] = table.lines_of(
        judged(failures["first"], tmp_path / "1", {"failed": 4}, {}), "2026-11-23", "2 cores"
    )
    page = table.into(PAGE, table.render(lines))
    assert (
        "| first | `error_rate` | up by 0.2 from fix on | 40.0% | 0.0% | 10 / 10 calls | FAILED | PASSED | shown;"
        in page
    )
    assert "| second | `error_rate` | up by 0.2 from fix on | not run | not run |" in page
    assert "Off (`callquake up --off`): `error_rate < 0.01: 40.0% over 10 calls`" in page
    assert "Simulated: target: emulated (guide)" in page
    assert page.startswith("# Head")
    assert page.endswith("tail\n")
    # A later command runs the second alone.
    old = table.kept(page)
    assert old == {"first": lines["first"]}
    lines = {**{name: table.never(failures[name]) for name in names}, **old}
    lines["second"] = table.lines_of(judged(failures["second"], tmp_path / "2", {}, {}), "2026-11-24", "2 cores")
    again = table.into(page, table.render(lines))
    rows = [line.split(" | ") for line in again.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows] == ["| failure mode", "| ---", "| first", "| second", "| third"]
    assert "not as declared" in rows[3][-1]
    assert "Not as declared: fix off: PASSED, declared FAILED" in again
    assert again.count(table.BEGIN) == again.count(table.END) == 1


def test_a_cell_cannot_break_the_table_and_a_page_without_marks_is_refused(tmp_path):
    failure = load_failure(write(tmp_path))
    found = judged(failure, tmp_path, {"failed": 4}, {})
    widths = {line.replace("\\|", "").count("|") for line in table.lines_of(found, "today", "here").rows}
    assert widths == {line.count("|") for line in table.HEAD} == {10}
    with pytest.raises(ValueError, match="to write between"):
        table.into("nothing", "x")


def test_outcomes_all_have_an_exit_code_of_their_own():
    from harness.failures.judge import EXIT_OF

    assert set(EXIT_OF) == set(Found)
    assert all(a != b for a, b in itertools.combinations(EXIT_OF.values(), 2))
