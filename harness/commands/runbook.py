"""`callquake runbook`: print the one that ships, to be edited; check and show one of your own."""

import argparse
from pathlib import Path

from harness.exit_codes import ExitCode
from harness.report.analysis import load_runbook, shipped_runbook

DESCRIPTION = "The operational runbook: when to do what. Runs are held against it, live and in their report."
EPILOG = """\
examples:
  callquake runbook print > runbook.yaml         the one that ships, to be edited
  callquake runbook check runbook.yaml           is it right? which alerts does it have?
  callquake run scenarios/smoke.yaml --runbook runbook.yaml --webhook http://127.0.0.1:9000/alerts

exit codes: 0 right, 104 wrong (the message names file, line, place and legal values)
"""


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "runbook",
        help="print, check and show a runbook: alerts, bands, budget",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    shown = actions.add_parser("print", help="print the runbook that ships")
    shown.set_defaults(call=print_shipped)
    check = actions.add_parser("check", help="check a runbook and list its alerts")
    check.add_argument("file", nargs="?", type=Path, metavar="FILE", help="default: the one that ships")
    check.set_defaults(call=check_file)


def print_shipped(_: argparse.Namespace) -> int:
    """Print the runbook that ships."""
    print(shipped_runbook(), end="")
    return ExitCode.PASSED


def check_file(options: argparse.Namespace) -> int:
    """List the alerts of a runbook; raises ScenarioError where it is wrong."""
    book = load_runbook(path=options.file)
    for rule in book.rules:
        print(f"{rule.severity}  {rule.name:<18} {rule.when.expression}  ->  {rule.action}")
    print(f"ok: {len(book.rules)} alerts, a budget of {book.total_p95_ms:g} ms in {len(book.parts)} parts")
    return ExitCode.PASSED
