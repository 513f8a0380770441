"""`callquake compare`: what changed between two runs."""

import argparse
import json
import sys
from pathlib import Path

from harness.commands.output import write_text
from harness.exit_codes import ExitCode
from harness.measure.comparison import Comparison, compare
from harness.model.errors import ScenarioError
from harness.report import compare_words
from harness.report.analysis import analyse
from harness.report.store import read_run
from harness.verdict.verdict import VerdictKind

DESCRIPTION = """\
What changed from one run to another: TTFB, set-up and greeting percentiles, WER on the same utterances, drop-off,
errors and turns answered, in all and by segment, each difference with a 95 % interval. Where the interval holds 0 it
says "no difference shown".
"""
EPILOG = """\
examples:
  callquake run incident.yaml --seed 7 --run-dir reports/before
  callquake run incident.yaml --seed 7 --run-dir reports/after
  callquake compare reports/before reports/after --markdown compare.md --json compare.json
  callquake compare reports/last-good reports/tonight --fail-if-worse     in CI

exit codes: 0 compared, 97 nothing was measured on both, 98 a run is void, 99 something is worse (--fail-if-worse),
104 no run, or the same one twice; 2 wrong option
"""


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "compare",
        help="what changed between two runs, with intervals",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("before", type=Path, metavar="BEFORE", help="directory of a run")
    parser.add_argument("after", type=Path, metavar="AFTER", help="directory of another")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there as well")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there as well")
    parser.add_argument("--fail-if-worse", action="store_true", help="exit with 99 where a figure is shown to be worse")
    parser.set_defaults(call=run)


def run(options: argparse.Namespace) -> int:
    """Compare, print and write; returns the exit code. Raises ScenarioError."""
    if options.before.resolve() == options.after.resolve():
        raise ScenarioError(f"AFTER: {options.after} is the run of BEFORE; legal: the directory of another one")
    before, after = (analyse(read_run(path)) for path in (options.before, options.after))
    is_paired = compare_words.is_paired(before, after)
    found = compare(before.measured, after.measured, is_paired=is_paired, seed=before.run.info.seed)
    print(compare_words.text(before, after, found))
    if options.markdown:
        _write(options.markdown, compare_words.markdown(before, after, found))
    if options.json:
        told = compare_words.to_json(before, after, found)
        _write(options.json, json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    if VerdictKind.VOID in (before.verdict.kind, after.verdict.kind):
        return ExitCode.VOID
    if not any(change.before is not None and change.after is not None for change in found.changes):
        return ExitCode.NO_DATA
    is_worse = any(change.verdict == "worse" for change in found.changes) or _understands_less(found)
    return ExitCode.FAILED if options.fail_if_worse and is_worse else ExitCode.PASSED


def _understands_less(found: Comparison) -> bool:
    change = found.words.overall if found.words else None
    return bool(change and change.is_shown and (change.value or 0.0) > 0)


def _write(path: Path, text: str) -> None:
    write_text(path, text)
    print(f"wrote {path}", file=sys.stderr)
