"""`callquake wer-under-load`: the same utterances in an idle and in a loaded run."""

import argparse
import json
import sys
from pathlib import Path

from harness.commands.output import write_text
from harness.exit_codes import ExitCode
from harness.measure.under_load import compare
from harness.model.errors import ScenarioError
from harness.report import under_load_words
from harness.report.analysis import analyse
from harness.report.store import read_run

DESCRIPTION = """\
Did the agent understand less because it was busy? Two runs of the same callers, one with a call at a time and one with
many: each utterance of both is held against itself, so that accents and noise cancel out, and the difference comes with
an interval, in all and by segment. An utterance said several times in a run counts as their mean.
"""
EPILOG = """\
examples:
  callquake run calm.yaml --seed 7 --run-dir reports/idle            one call at a time
  callquake run busy.yaml --seed 7 --run-dir reports/loaded          the same callers, many at once
  callquake wer-under-load reports/idle reports/loaded --markdown under-load.md

Equal seed and callers place the same calls with the same words; docs/wer.md tells how to write the pair of scenarios.
Within one run the segment `load` has WER by the number of calls that were up.

exit codes: 0 compared, 97 nothing to compare, 104 no run, or the same one twice; 2 wrong option
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("idle", type=Path, metavar="IDLE_RUN", help="directory of the run with few calls")
    parser.add_argument("loaded", type=Path, metavar="LOADED_RUN", help="directory of the run with many")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there as well")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there as well")


def wer_under_load(options: argparse.Namespace) -> int:
    """Compare, print and write; returns the exit code. Raises ScenarioError."""
    if options.idle.resolve() == options.loaded.resolve():
        raise ScenarioError(f"{options.loaded}: is the idle run itself; name a second run of the same callers")
    idle, loaded = (analyse(read_run(path)) for path in (options.idle, options.loaded))
    found = compare(idle.measured.wer, loaded.measured.wer, idle.run.info.seed)
    if found is None:
        for path, run in ((options.idle, idle), (options.loaded, loaded)):
            if run.measured.wer.overall is None:
                print(f"{path}: WER was not measured: {run.measured.wer.reason}", file=sys.stderr)
        return ExitCode.NO_DATA
    print(under_load_words.to_text(idle, loaded, found))
    if options.json:
        told = under_load_words.to_json(idle, loaded, found)
        _write(options.json, json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    if options.markdown:
        _write(options.markdown, under_load_words.to_markdown(idle, loaded, found))
    return ExitCode.PASSED if found.overall.n_words else ExitCode.NO_DATA


def _write(path: Path, text: str) -> None:
    write_text(path, text)
    print(f"wrote {path}", file=sys.stderr)
