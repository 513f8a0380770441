"""`callquake corpus wer`: how hard the corpus is for a local model."""

import argparse
import sys
from pathlib import Path

from harness.corpus.commands.options import Commands, add_command, add_corpus, add_filters, chosen_clips
from harness.corpus.manifest import load_corpus
from harness.exit_codes import ExitCode

_EXAMPLES = """\
  callquake corpus wer --model ~/.cache/callquake/models/whisper-tiny.en
  callquake corpus wer --model whisper-small.en --corpus my-callers --accent scottish
"""


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "wer",
        "word error rate of a local faster-whisper model, by accent and condition",
        "Transcribe clips with a local faster-whisper model and score them by accent and condition.",
        _EXAMPLES,
    )
    add_corpus(parser)
    add_filters(parser)
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="a faster-whisper model folder")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    from harness.corpus.wer import transcribe, wer_table  # noqa: PLC0415  needs the cpu extra

    chosen = chosen_clips(load_corpus(options.corpus), options)
    heard = transcribe(chosen, options.model, lambda line: print(line, file=sys.stderr, flush=True))
    print(wer_table(heard))
    return ExitCode.PASSED
