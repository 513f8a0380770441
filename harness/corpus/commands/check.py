"""`callquake corpus check`: every clip measured again."""

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING

from harness.corpus.commands.options import Commands, add_command, add_corpus
from harness.corpus.manifest import Corpus, load_corpus
from harness.exit_codes import ExitCode

if TYPE_CHECKING:
    from harness.corpus.check import CheckedFamily

_EXAMPLES = """\
  callquake corpus check
  callquake corpus check --corpus my-callers --jobs 8
"""
_SAID_EVERY_S = 5.0


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "check",
        "measure every clip again and compare with the manifest",
        "Hash, length, speech edges, levels and SNR of every clip, measured on the files; a line for each that is not\n"
        "what the manifest says. Exits with 1 where there is one.",
        _EXAMPLES,
    )
    add_corpus(parser)
    cores = len(os.sched_getaffinity(0))
    parser.add_argument(
        "--jobs", type=_jobs, default=cores, metavar="N", help="processes; default: cores (%(default)s)"
    )
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Check the corpus."""
    from harness.corpus.check import find_problems  # noqa: PLC0415  loads numpy and the decoder

    corpus = load_corpus(options.corpus, verify=False)
    problems = find_problems(corpus, jobs=options.jobs, checked=_Teller(corpus).tell)
    for problem in problems:
        print(problem)
    print(f"{len(corpus.utterances)} clips checked, {len(problems)} problems")
    return 1 if problems else ExitCode.PASSED


class _Teller:
    """Says on standard error how far the check is."""

    def __init__(self, corpus: Corpus) -> None:
        from harness.corpus.check import families_of  # noqa: PLC0415  as above
        from harness.corpus.progress import Progress  # noqa: PLC0415  same

        self._total = len(corpus.utterances)
        self._progress = Progress([len(family.utterances) for family in families_of(corpus)])
        self._done = self._problems = 0
        self._said = time.monotonic()

    def tell(self, family: "CheckedFamily") -> None:
        """Count a family; say so every few seconds."""
        self._done += family.clips
        self._problems += len(family.problems)
        left = self._progress.step(family.step, is_new=True)
        if time.monotonic() - self._said >= _SAID_EVERY_S:
            self._said = time.monotonic()
            said = f"[{self._done}/{self._total}] clips checked, {self._problems} problems{left}"
            print(said, file=sys.stderr, flush=True)


def _jobs(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"{text!r}; legal: 1 to 256")
    return int(text)
