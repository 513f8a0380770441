"""The table of docs/benchmarks.md, made from what `--json` wrote."""

import json
from pathlib import Path

import pytest

from benchmarks.comparison import OURS, Better, Comparison, Measured
from benchmarks.failure import BenchmarkError
from benchmarks.table import BEGIN, END, main, replaced, table

pytestmark = pytest.mark.unit

MACHINE = {
    "date": "2026-01-02 03:04 UTC",
    "commit": "abc",
    "cpu": "a CPU",
    "cores": 2,
    "hypervisor": True,
    "kernel": "6.1",
    "python": "3.11",
    "packages": {"aiortc": "1.16.0", "uvloop": None},
    "peers": {"pion": "3.1"},
}


def document():
    runs = {
        OURS: [Measured(2000.0, {"calls": 1000, "flags": [], "turns": "9 of 9 turns timed"})],
        "sipp": [Measured(1000.0, {"calls": 1000, "flags": ["sent only 90%", "late"]})],
    }
    found = Comparison("callers_rtp", "RTP calls per core", Better.HIGHER, runs, {"aiortc": "has no plain RTP"})
    return found.as_json({}, MACHINE)


def test_the_table_holds_figures_ratio_notes_and_the_machine():
    text = table([document()])
    lines = text.splitlines()
    assert (
        f"| callers_rtp: RTP calls per core | {OURS} | 1,000 | 2,000 (2,000-2,000, n=1) |  | 9 of 9 turns timed |"
        in lines
    )
    assert (
        "| | sipp | 1,000 | 1,000 (1,000-1,000, n=1) | 2.00 (2.00-2.00, n=1) "
        "| 1 of 1 samples flagged: sent only 90%, late |" in lines
    )
    assert "| | aiortc | | not applicable | | has no plain RTP |" in lines
    assert lines[-1].endswith("a CPU, 2 cores (virtual), Linux 6.1, Python 3.11, aiortc 1.16.0; pion 3.1")


def test_the_table_replaces_only_what_stands_between_the_marks(tmp_path, capsys):
    page, result = tmp_path / "page.md", tmp_path / "result.json"
    page.write_text(f"before\n{BEGIN}\nold figures\n{END}\nafter\n")
    result.write_text(json.dumps(document()))
    assert main([str(result), "--into", str(page)]) == 0
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n| comparison")
    assert text.endswith(f"{END}\nafter\n")
    assert "old figures" not in text
    # Once more gives the same page.
    assert replaced(text, table([document()])) == text


def test_a_page_without_marks_and_a_foreign_file_are_refused_by_name(tmp_path, capsys):
    with pytest.raises(BenchmarkError, match="needs the lines"):
        replaced("no marks", "table")
    foreign = tmp_path / "foreign.json"
    foreign.write_text("{}")
    assert main([str(foreign)]) == 1
    assert "foreign.json was not written by a benchmark" in capsys.readouterr().err


def test_the_docs_page_has_the_marks():
    page = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
    text = page.read_text()
    assert text.count(BEGIN) == text.count(END) == 1
