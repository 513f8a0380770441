"""`callquake corpus wer`: how hard a corpus is for a local recogniser, by accent and condition."""

import argparse
import json
import os
import sys
from pathlib import Path

from harness.corpus.commands.options import Commands, add_command, add_corpus, add_filters, chosen_clips
from harness.corpus.manifest import Corpus, load_corpus
from harness.exit_codes import ExitCode
from harness.model.errors import ScenarioError

_EXAMPLES = """\
  callquake corpus wer                                              the shipped corpus, the bundled agent's recogniser
  callquake corpus wer --markdown docs/wer-table.md
  callquake corpus wer --corpus my-callers --accent scottish indian --json wer.json
  callquake corpus wer --model whisper-small.en --against british
"""
_DESCRIPTION = """\
Transcribe clips with a local faster-whisper model, in the bundled agent's settings, and score them by accent and
condition: WER with n and 95 % intervals, differences on the same sentences, numbers and names. What was heard is kept
by clip and model, so a second run takes seconds and an interrupted one goes on. This is the recogniser at leisure; the
WER of a run is measured on what the agent's own STT returned.
"""


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "wer",
        "word error rate of a local faster-whisper model, by accent and condition",
        _DESCRIPTION,
        _EXAMPLES,
    )
    add_corpus(parser)
    add_filters(parser)
    parser.add_argument("--model", type=Path, metavar="DIR", help="a faster-whisper model; default: tiny.en as fetched")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there as well")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and what was heard there as well")
    parser.add_argument(
        "--against", metavar="ACCENT", help="the accent that others are compared to; default: american, if it is there"
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument(
        "--workers", type=_workers, default=cores, metavar="N", help="clips heard at once; default: cores (%(default)s)"
    )
    parser.add_argument("--fresh", action="store_true", help="hear every clip again, and keep nothing")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the intervals; default: %(default)s")
    parser.set_defaults(command=run)


def _workers(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= number <= 64:
        raise argparse.ArgumentTypeError(f"{text!r}; legal: a whole number from 1 to 64")
    return number


def run(options: argparse.Namespace) -> int:
    """Hear, score, print and write."""
    from harness.corpus import wer_report  # noqa: PLC0415  jiwer and the normaliser load slowly
    from harness.corpus.offline_stt import OfflineStt, default_model_dir  # noqa: PLC0415  same
    from harness.corpus.transcripts import TranscriptStore, default_transcripts_dir, hear  # noqa: PLC0415  same
    from harness.corpus.wer_table import CorpusWer  # noqa: PLC0415  same

    corpus = load_corpus(options.corpus)
    clips = chosen_clips(corpus, options)
    against = _reference(options.against, [clip.accent for clip in clips])
    _check_writable(options.markdown, options.json)
    stt = OfflineStt(options.model or default_model_dir(), options.workers)
    store = None if options.fresh else TranscriptStore(default_transcripts_dir(), stt.identity)
    wer = CorpusWer(hear(clips, stt, store, _say, options.workers), options.seed)
    print(wer_report.to_text(wer, against))
    origin = wer_report.Origin(
        corpus.directory.resolve().name, corpus.sha256, str(stt.identity), _typed(options, corpus)
    )
    if options.markdown:
        _write(options.markdown, wer_report.to_markdown(wer, origin, against))
    if options.json:
        _write(options.json, json.dumps(wer_report.to_json(wer, origin, against), indent=1, ensure_ascii=False) + "\n")
    return ExitCode.PASSED


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _reference(asked: str | None, accents: list[str]) -> str | None:
    known = list(dict.fromkeys(accents))
    if asked is None:
        return "american" if "american" in known and len(known) > 1 else None
    if asked not in known:
        raise ScenarioError(f"--against {asked}: no clip chosen has that accent; legal: {', '.join(known)}")
    return asked


def _check_writable(*paths: Path | None) -> None:
    """Refuse before minutes of work what could not be written after them."""
    for path in paths:
        if path is not None and (path.is_dir() or not path.resolve().parent.is_dir()):
            raise ScenarioError(f"{path}: cannot be written: {'a folder' if path.is_dir() else 'no such folder'}")


def _typed(options: argparse.Namespace, corpus: Corpus) -> str:
    """Return the command without paths of this machine."""
    from harness.corpus.manifest import default_corpus_dir  # noqa: PLC0415  only here

    is_default = corpus.directory.resolve() == default_corpus_dir().resolve()
    words = ["callquake corpus wer", *([] if is_default else [f"--corpus {corpus.directory.name}"])]
    if options.markdown:
        words.append(f"--markdown {options.markdown if not options.markdown.is_absolute() else options.markdown.name}")
    return " ".join(words)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be written: {error.strerror}") from error
    print(f"wrote {path}", file=sys.stderr)
