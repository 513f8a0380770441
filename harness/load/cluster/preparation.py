"""A worker's own copy of what the master runs: the scenario as the master read it, and a corpus that is the same.

The scenario is sent; clips are not. A worker on another machine must have the corpus: the one that comes with Callquake
is there already, any other is named with --corpus. Both are compared by content, never by path.
"""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.corpus.manifest import MANIFEST_NAME, default_corpus_dir
from harness.model.errors import ScenarioError
from harness.scenario.check import Prepared, prepare


def description_of(prepared: Prepared, calls: int | None, minutes: float | None = None) -> dict[str, Any]:
    """Return what a worker needs to prepare the same run; `calls` and `minutes` are those of the master's command."""
    corpus = prepared.corpus
    return {
        "file": prepared.loaded.path.name,
        "folder": str(prepared.loaded.path.parent.resolve()),
        "scenario": prepared.loaded.path.read_text(encoding="utf-8"),
        "url": prepared.url,
        "only": list(prepared.only),
        "seed": prepared.seed,
        "calls": calls,
        "minutes": minutes,
        "corpus": {"dir": str(corpus.directory.resolve()), "sha256": corpus.sha256, "n": len(corpus.utterances)},
    }


def prepare_from(description: dict[str, Any], corpus_dir: Path | None) -> Prepared:
    """Prepare what `description_of` described; raises ScenarioError where this machine lacks something."""
    corpus = find_corpus(description["corpus"], corpus_dir)
    with tempfile.TemporaryDirectory(prefix="callquake-worker-") as folder:
        path = Path(folder) / Path(description["file"]).name
        path.write_text(description["scenario"], encoding="utf-8")
        return prepare(
            path,
            url=description["url"],
            seed=description["seed"],
            corpus_dir=corpus,
            calls=description["calls"],
            folder=Path(description["folder"]),
            only=description["only"],
            minutes=description["minutes"],
        )


def find_corpus(wanted: dict[str, Any], given: Path | None) -> Path:
    """Return a folder of this machine with the wanted corpus; raises ScenarioError naming the places looked at."""
    places = [given] if given is not None else [Path(wanted["dir"]), *_default_place()]
    for place in places:
        if _sha256(place / MANIFEST_NAME) == wanted["sha256"]:
            return place
    looked = ", ".join(str(place) for place in places)
    raise ScenarioError(
        f"no corpus with the content of the master's ({wanted['n']} clips, manifest sha256 {wanted['sha256'][:16]}...) "
        f"on this machine; looked at: {looked}; copy the master's folder {wanted['dir']} here and name it with --corpus"
    )


def _default_place() -> Iterable[Path]:
    with contextlib.suppress(ScenarioError):
        yield default_corpus_dir()


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
