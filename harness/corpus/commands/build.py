"""`callquake corpus build`: a corpus from a recipe."""

import argparse
import os
import sys
from pathlib import Path

from harness.corpus.commands.options import Commands, add_command
from harness.corpus.manifest import default_corpus_dir
from harness.exit_codes import ExitCode

_DESCRIPTION = """\
Speak every sentence of a recipe, put it into its conditions, measure and write it. Needs the `corpus` extra, the Kokoro
model (`callquake models fetch`) and its voices (--fetch-voices, once).

What is made is kept in the user's cache: Ctrl-C loses nothing but the clip at hand, and the same command goes on. The
folder of --out changes at the very end, all at once.
"""
_EXAMPLES = """\
  callquake corpus build --out /tmp/callers --fetch-voices          the shipped set, anew
  callquake corpus build --list --all | wc -l                       how much there would be
  callquake corpus build --all --only 'french-l1-*-gsm' --out DIR   what is not shipped
  callquake corpus build --recipe my-recipe.yaml --model kokoro.onnx --voices voices.npz --out my-callers
"""


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = add_command(commands, "build", "build a corpus from a recipe", _DESCRIPTION, _EXAMPLES)
    parser.add_argument("--recipe", type=Path, default=default_corpus_dir() / "recipe.yaml", metavar="FILE")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the corpus; made if it is not there")
    which = parser.add_argument_group("which clips")
    scope = which.add_mutually_exclusive_group()
    scope.add_argument(
        "--shipped",
        dest="scope",
        action="store_const",
        const="shipped",
        default="shipped",
        help="those of the recipe's `shipped` block (default)",
    )
    scope.add_argument(
        "--all",
        dest="scope",
        action="store_const",
        const="all",
        help="every sentence by every voice in every condition; hundreds of thousands with the shipped recipe",
    )
    which.add_argument(
        "--only",
        nargs="+",
        default=(),
        metavar="ID",
        help="of these, clips with these ids; * and ? stand for anything. Their clean clips come along",
    )
    which.add_argument("--list", action="store_true", help="print the ids and build nothing")
    parser.add_argument("--model", type=Path, metavar="ONNX", help="Kokoro model file; default: the fetched one")
    parser.add_argument("--voices", type=Path, metavar="NPZ|DIR", help="Kokoro voices: an .npz or a folder of .bin")
    parser.add_argument("--fetch-voices", action="store_true", help="get the voices with npm first")
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="what builds keep; default: $XDG_CACHE_HOME/callquake/corpus"
    )
    parser.add_argument("--jobs", type=_jobs, metavar="N", help="processes; default: one a core; 1.5 GB each")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Build the corpus, or say what would be built."""
    from harness.corpus.choice import choose  # noqa: PLC0415  with the recipe, only for building
    from harness.corpus.recipe import load_recipe  # noqa: PLC0415  same

    recipe = load_recipe(options.recipe)
    families = choose(recipe, options.scope, options.only)
    if options.list:
        for family in families:
            print(*family.clip_ids, sep="\n")
        return ExitCode.PASSED
    if options.out is None:
        print("corpus: build: --out DIR is missing; legal: a folder of its own for the corpus", file=sys.stderr)
        return ExitCode.BAD_SCENARIO
    try:
        from harness.corpus import build, weights  # noqa: PLC0415  needs the corpus extra
        from harness.corpus.build_cache import default_cache_dir  # noqa: PLC0415  same
    except ImportError as error:
        print(f"corpus: building needs `pip install -e '.[corpus]'` in the checkout: {error}", file=sys.stderr)
        return ExitCode.BAD_SCENARIO
    if options.only:
        build.refuse_to_drop(options.out, families)
    model = weights.find_model(options.model)
    voices = weights.fetch_voices() if options.fetch_voices else weights.find_voices(options.voices)
    job = build.Job(recipe, options.recipe.resolve().parent, options.cache or default_cache_dir())
    jobs = options.jobs or len(os.sched_getaffinity(0))
    source = build.Weights(model, voices)
    count = build.build_corpus(job, families, options.out, source, say=build.say_on_stderr, jobs=jobs)
    print(f"{count} clips in {options.out}")
    return ExitCode.PASSED


def _jobs(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"{text!r}; legal: 1 to 256")
    return int(text)
