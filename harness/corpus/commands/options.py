"""Options that several commands share: which corpus, and which of its clips."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from harness.corpus.entry import Utterance
from harness.corpus.manifest import Corpus, default_corpus_dir
from harness.model.errors import ScenarioError

Commands = argparse._SubParsersAction  # noqa: SLF001  argparse has no public name for what add_subparsers returns
_NAMES = ("accent", "noise", "room", "channel", "distortion", "condition", "domain", "vocabulary", "speaker")
_NATIVE = {"yes": True, "no": False, "unknown": None}


def add_command(
    commands: "Commands[argparse.ArgumentParser]", name: str, summary: str, description: str, examples: str
) -> argparse.ArgumentParser:
    """Add a command whose --help ends with examples; return its parser."""
    return commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog="examples:\n" + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_corpus(parser: argparse.ArgumentParser) -> None:
    """Add `--corpus DIR`."""
    parser.add_argument(
        "--corpus",
        type=Path,
        default=default_corpus_dir(),
        metavar="DIR",
        help="folder with a manifest.json; default: $CALLQUAKE_CORPUS, else the shipped corpus",
    )


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose clips; all given ones must hold."""
    group = parser.add_argument_group(
        "which clips", "each takes one or more values; a clip must match all options given"
    )
    for name in _NAMES:
        group.add_argument(f"--{name}", nargs="+", metavar="NAME")
    group.add_argument("--snr-db", nargs="+", type=_snr, metavar="DB", help="'none' is a clip without noise")
    group.add_argument("--native", nargs="+", choices=tuple(_NATIVE))
    group.add_argument("--tag", nargs="+", metavar="TEXT", help="a tag of the manifest, like 'doubtful'")
    group.add_argument("--match", metavar="TEXT", help="words in the transcript or the id, in either case")


def chosen_clips(corpus: Corpus, options: argparse.Namespace, ids: Sequence[str] | None = None) -> list[Utterance]:
    """Return the clips that the options of `add_filters` choose, in manifest order; ScenarioError if there are none."""
    filters = {name: getattr(options, name) for name in (*_NAMES, "snr_db")}
    filters["native"] = None if options.native is None else [_NATIVE[word] for word in options.native]
    clips = corpus.select(**filters, ids=list(ids) if ids else None)
    if options.tag:
        clips = [clip for clip in clips if set(options.tag) <= set(clip.tags)]
    if options.match:
        clips = [clip for clip in clips if options.match.casefold() in f"{clip.id} {clip.transcript}".casefold()]
    if not clips:
        asked = [
            *(f"--tag {tag}" for tag in options.tag or ()),
            *([f"--match {options.match}"] if options.match else ()),
        ]
        raise ScenarioError(f"{corpus.directory}: no clip has {' '.join(asked)} and all else that was asked for")
    return clips


def _snr(text: str) -> float | None:
    if text == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}; legal: a number of decibels, or none") from None
