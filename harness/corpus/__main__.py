"""`python -m harness.corpus build | import | list | play | check | stats | wer`."""

import argparse
import os
import sys
from collections.abc import Sequence

from harness.corpus.commands import build, check, importing, listing, play, stats, wer
from harness.exit_codes import ExitCode
from harness.model.errors import CallquakeError

_EPILOG = """\
examples:
  callquake corpus stats                                            how much of what is there
  callquake corpus list --accent hindi-l1 --noise babble            which clips are these
  callquake corpus play ID                                          how does it sound
  callquake corpus import FOLDER --out DIR --licence TEXT            callers of your own
  callquake corpus check                                            is it what its manifest says

`callquake corpus COMMAND --help` tells more; docs/corpus.md.
"""
_COMMANDS = (build, importing, listing, play, check, stats, wer)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (1 where `check` finds a problem, 104 for a wrong file or option)."""
    options = _parser().parse_args(argv)
    try:
        return int(options.command(options))
    except CallquakeError as error:
        print(f"corpus: {error}", file=sys.stderr)
        return ExitCode.BAD_SCENARIO
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; let Python's own flush at exit find nothing to write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.PASSED
    except OSError as error:
        print(f"corpus: {error}", file=sys.stderr)
        return ExitCode.LOCUST_ERROR
    except KeyboardInterrupt:
        print("corpus: interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="callquake corpus",
        description="The clips that callers speak: build, bring your own, list, hear, check and score them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="build|import|list|play|check|stats|wer")
    for command in _COMMANDS:
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
