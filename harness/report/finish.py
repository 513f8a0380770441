"""The end of a run: read its records, judge it, and write every report beside them."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.exit_codes import ExitCode
from harness.model.errors import ScenarioError
from harness.report import alert_words, html, junit, text
from harness.report.analysis import Analysis, analyse, first_due_ns
from harness.report.store import read_run
from harness.report.summary_json import summary_of, verdict_of
from harness.verdict.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Result:
    """What a finished run came to."""

    verdict: Verdict
    exit_code: ExitCode
    report_path: Path
    summary: dict[str, Any]


def finish_run(run_dir: Path, *, print_report: bool = True, runbook: Path | None = None) -> Result:
    """Write summary.json, verdict.json, alerts.jsonl, junit.xml and report.html into `run_dir`; print the text report.

    May be repeated at any time: everything is computed from the records. Raises ScenarioError when `run_dir` holds no
    run, has a threshold that cannot be read, or cannot be written to.
    """
    analysis = analyse(read_run(run_dir), runbook)
    summary = summary_of(analysis)
    _write_json(run_dir / "summary.json", summary)
    _write_json(run_dir / "verdict.json", verdict_of(analysis))
    _write(run_dir / "alerts.jsonl", alert_words.to_lines(analysis.alerts, first_due_ns(analysis.run)).encode())
    _write(run_dir / "junit.xml", junit.render(analysis))
    report_path = run_dir / "report.html"
    _write(report_path, html.render(analysis).encode())
    if print_report:
        print(_text(analysis, report_path))
    return Result(analysis.verdict, analysis.verdict.exit_code, report_path, summary)


def _text(analysis: Analysis, report_path: Path) -> str:
    return text.render(analysis, str(report_path))


def _write_json(path: Path, content: Any) -> None:
    _write(path, (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def _write(path: Path, content: bytes) -> None:
    """Replace `path` in one step, so that a reader never sees half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ScenarioError(f"{path}: cannot be written: {error.strerror}") from error
