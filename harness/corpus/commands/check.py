"""`callquake corpus check`: every clip measured again."""

import argparse

from harness.corpus.commands.options import Commands, add_command, add_corpus
from harness.corpus.manifest import load_corpus
from harness.exit_codes import ExitCode

_EXAMPLES = """\
  callquake corpus check
  callquake corpus check --corpus my-callers
"""


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
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Check the corpus."""
    from harness.corpus.check import find_problems  # noqa: PLC0415  loads numpy and the decoder

    corpus = load_corpus(options.corpus, verify=False)
    problems = find_problems(corpus)
    for problem in problems:
        print(problem)
    print(f"{len(corpus.utterances)} clips checked, {len(problems)} problems")
    return 1 if problems else ExitCode.PASSED
