"""`callquake compare`: a difference that is there is shown, one that is not is not, and the exit code says which."""

import json
import random
from pathlib import Path

import pytest
from run_records import MS, make_call, make_turn
from sample_run import write_run

from harness.cli import main
from harness.exit_codes import ExitCode
from harness.measure.comparison import compare
from harness.measure.run import Measured, measure
from harness.model.records import Cause, Outcome
from harness.report.compare_words import headline

pytestmark = pytest.mark.unit


def run(seed: int, slower_ms: float = 0.0, dropped: float = 0.05, n: int = 120) -> Measured:
    """`n` calls of three turns; how slow a call is depends on its number, so that pairs are alike."""
    rng = random.Random(seed)
    calls, turns = [], []
    for i in range(n):
        own = random.Random(i).gauss(700, 200)
        gone = rng.random() < dropped
        end = (Outcome.DROPPED, Cause.PATIENCE_DEAD_AIR) if gone else (Outcome.COMPLETED, Cause.NONE)
        calls.append(make_call(f"c{i}", *end, caller="hasty" if i % 2 else "calm"))
        waits = [own + rng.gauss(0, 20) + slower_ms for _ in range(3)]
        said = {"caller": "hasty" if i % 2 else "calm", "speech_ended_at_ns": (10 + i) * 1_000 * MS}
        turns += [make_turn(f"c{i}", k, wait, **said) for k, wait in enumerate(waits, 1)]
    return measure(calls, turns, [])


def changes(before: Measured, after: Measured, *, is_paired: bool = True) -> dict[str, str]:
    return {c.name: c.verdict for c in compare(before, after, is_paired=is_paired).changes}


def test_what_changed_is_shown() -> None:
    found = changes(run(1), run(2, slower_ms=40, dropped=0.4))
    assert (found["ttfb_ms p50"], found["drop_off"], found["response_ratio"]) == (
        "worse",
        "worse",
        "no difference shown",
    )
    assert changes(run(1, slower_ms=40), run(2))["ttfb_ms p50"] == "better"


def test_pairs_show_what_runs_apart_cannot() -> None:
    assert changes(run(1), run(2, slower_ms=40))["ttfb_ms p50"] == "worse"
    assert changes(run(1), run(2, slower_ms=40), is_paired=False)["ttfb_ms p50"] == "no difference shown"


def test_equal_runs_differ_rarely() -> None:
    shown = [changes(run(i), run(1_000 + i), is_paired=True)["ttfb_ms p50"] != "no difference shown" for i in range(20)]
    assert sum(shown) <= 3


def test_segments_are_compared_where_there_is_enough() -> None:
    found = compare(run(1), run(2, slower_ms=200), is_paired=True).by_segment
    assert {c.segment for c in found} >= {"caller calm", "caller hasty"}
    assert {c.verdict for c in found if c.name == "ttfb_ms p50"} == {"worse"}


def test_too_few_calls_say_so() -> None:
    assert changes(run(1, n=3), run(2, n=3))["ttfb_ms p95"].startswith("not enough data")
    assert headline(compare(run(1, n=1), run(2, n=1), is_paired=False)).startswith("nothing can be told")


def test_the_command_writes_both_forms_and_exits_as_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [write_run(tmp_path / name) for name in ("before", "after")]
    outputs = ["--markdown", str(tmp_path / "c.md"), "--json", str(tmp_path / "c.json")]
    code = main(["compare", *map(str, runs), *outputs, "--fail-if-worse"])
    assert code == ExitCode.PASSED
    assert "no difference shown" in capsys.readouterr().out
    told = json.loads((tmp_path / "c.json").read_text())
    assert (told["headline"], told["is_paired"]) == ("no difference shown", True)
    assert told["wer"]["verdict"] == "no difference shown"
    assert "| ttfb_ms p95 |" in (tmp_path / "c.md").read_text()
    assert main(["compare", str(tmp_path / "nowhere"), str(runs[0])]) == ExitCode.BAD_SCENARIO


def test_a_worse_run_fails_ci(tmp_path: Path) -> None:
    before, after = (write_run(tmp_path / name) for name in ("before", "after"))
    path = after / "turns.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        if row["ttfb_ms"] is not None:
            row["ttfb_ms"] += 2_000
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["compare", str(before), str(after)]) == ExitCode.PASSED
    assert main(["compare", str(before), str(after), "--fail-if-worse"]) == ExitCode.FAILED


def test_a_run_is_not_compared_with_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = write_run(tmp_path / "before")
    (tmp_path / "link").symlink_to(run_dir)
    for twice in (run_dir, tmp_path / "link", tmp_path / "link" / ".." / "before"):
        assert main(["compare", str(run_dir), str(twice)]) == ExitCode.BAD_SCENARIO
        told = capsys.readouterr()
        assert (told.out, told.err.startswith(f"AFTER: {twice} is the run of BEFORE; legal: ")) == ("", True)
