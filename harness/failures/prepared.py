"""Both scenarios of a failure file, checked as `callquake run` will check them; and written where a run reads them."""

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import yaml

from harness.failures.failure_file import NOWHERE, SIDES, Failure, Places, Side
from harness.model.errors import ScenarioError
from harness.scenario import yaml_lines
from harness.scenario.check import Prepared, prepare
from harness.scenario.made_of import at_source


def prepared_sides(failure: Failure, corpus: Path | None = None) -> dict[Side, Prepared]:
    """Return both scenarios, checked; raises ScenarioError naming the failure file and which side is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        return {side: _prepared(failure, side, Path(folder), corpus) for side in SIDES}


def _prepared(failure: Failure, side: Side, folder: Path, corpus: Path | None) -> Prepared:
    path = write_scenario(failure, side, folder, replace(NOWHERE, files=folder))
    try:
        return prepare(path, corpus_dir=corpus)
    except ScenarioError as error:
        document = yaml_lines.parse(failure.path.read_text(encoding="utf-8"))
        told = at_source(str(error), path, failure.path, document, partial(_sources, side), f"fix {side}")
        raise ScenarioError(told) from error


def _sources(side: Side, place: yaml_lines.Path) -> list[yaml_lines.Path]:
    """Return where what stands at a place of one side's scenario may stand in the failure file."""
    if place == ("target", "url"):
        return [place]
    return [(f"fix_{side}", "scenario", *place), ("scenario", *place)]


def write_scenario(failure: Failure, side: Side, folder: Path, places: Places) -> Path:
    """Write the scenario of one side into `folder` and return its path. Raises OSError."""
    path = folder / f"{failure.name}-{side}.yaml"
    text = yaml.safe_dump(failure.scenario(side, places), sort_keys=False, allow_unicode=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_files(failure: Failure, folder: Path) -> None:
    """Write what the failure file brings along into `folder`. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in failure.file.files.items():
        (folder / name).write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
