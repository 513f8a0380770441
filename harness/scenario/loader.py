"""A scenario file to a checked `Scenario`. Every problem names file:line, the path in it and what is legal.

All problems of a file are told at once, in the order of its lines.
"""

import difflib
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from harness.model.errors import ScenarioError
from harness.scenario import yaml_lines
from harness.scenario.schema import Scenario

Place = yaml_lines.Path


@dataclass(frozen=True, slots=True)
class LoadedScenario:
    """A scenario, where it came from, and the lines of its parts."""

    scenario: Scenario
    path: Path
    document: yaml_lines.Document

    def corpus_dir(self) -> Path | None:
        """Return the corpus folder that the file names, None for the default one."""
        named = self.scenario.corpus
        return None if named is None else (self.path.parent / named).resolve()

    def problem(self, place: Place, message: str) -> str:
        """Word a problem found later at `place`."""
        return _word(self.path, self.document.line_of(place), place, message)


def load_scenario(
    path: Path | str, *, environ: Mapping[str, str] | None = None, folder: Path | None = None
) -> LoadedScenario:
    """Read and check a scenario file; raises ScenarioError listing every problem, one a line.

    Where `environ` is given, the secrets that the file names must be in it. `folder` is where the files that it names
    are, by default its own.
    """
    file = Path(path)
    try:
        document = yaml_lines.parse(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(f"{file}: cannot read the scenario: {error.strerror}{_scenarios_beside(file)}") from error
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{file}: not UTF-8 text: {error.reason} at byte {error.start}") from error
    except yaml_lines.YamlError as problem:
        raise ScenarioError(_word(file, problem.line, problem.path, problem.message)) from problem
    if not isinstance(document.value, dict):
        found = "the file is empty" if document.value is None else f"found {_kind(document.value)}"
        legal = ", ".join(_names(Scenario))
        raise ScenarioError(f"{file}:{document.line_of(())}: {found}; a scenario is a mapping with the keys {legal}")
    try:
        scenario = Scenario.model_validate(
            document.value, context={"environ": environ, "folder": folder or file.parent}
        )
    except ValidationError as error:
        raise ScenarioError(worded(file, document, error)) from error
    return LoadedScenario(scenario, file, document)


def problems_of(error: ValidationError) -> list[str]:
    """Word what is wrong with something that came from no file, one problem a text, each with its place."""
    told = (_explain(one, Scenario) for one in error.errors())
    return [f"{spell(place)}: {message}" for place, message in told]


def _scenarios_beside(file: Path) -> str:
    near = sorted(p.name for p in file.parent.glob("*.yaml")) if file.parent.is_dir() else []
    return f"; in {file.parent}: {', '.join(near)}" if near else ""


def worded(file: Path, document: yaml_lines.Document, error: ValidationError, model: type[BaseModel] = Scenario) -> str:
    """Word what is wrong with a file that was to be a `model`: a problem a line, in the order of the file's lines."""
    problems = []
    for one in error.errors():
        place, message = _explain(one, model)
        problems.append((document.line_of(place), _word(file, document.line_of(place), place, message)))
    return "\n".join(text for _, text in sorted(problems))


def _word(file: Path, line: int, place: Place, message: str) -> str:
    where = spell(place)
    return f"{file}:{line}: {where}: {message}" if where else f"{file}:{line}: {message}"


def spell(place: Place) -> str:
    """Write a path as `load.arrivals.stages[0].duration_s`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _explain(error: ErrorDetails, model: type[BaseModel]) -> tuple[Place, str]:
    place, kind, context = tuple(error["loc"]), error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return place, _unknown_key(place, model)
    if kind == "missing":
        return place, f"missing; it has no default{_what(place, model)}"
    if kind == "value_error":
        return place, str(context["error"])
    if kind == "literal_error":
        legal = context["expected"].replace("'", "").replace(" or ", ", ")
        return place, f"got {error['input']!r}; legal: {legal}{_closest(error['input'], legal.split(', '))}"
    return place, f"got {_shown(place, error['input'])}; legal: {_legal(kind, context, error['msg'])}"


def _unknown_key(place: Place, model: type[BaseModel]) -> str:
    names = _names(_model_at(place[:-1], model))
    return f"unknown key; legal: {', '.join(names)}{_closest(place[-1], names)}"


def _closest(value: Any, legal: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(value), list(legal), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


# Keys at or below which a value may be a secret.
_SECRET = frozenset(("headers", "password", "credential", "parameters"))
_WORDS = {
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than_equal": "a number of at most {le}",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_short": "text that is not empty",
    "too_short": "a list of at least {min_length}",
    "finite_number": "a finite number",
}
_TYPES = {
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "text (quote it if it looks like a number)",
    "list_type": "a list, like [a, b]",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def _legal(kind: str, context: dict[str, Any], message: str) -> str:
    if kind in _TYPES:
        return _TYPES[kind]
    return _WORDS[kind].format(**context) if kind in _WORDS else message


def _what(place: Place, model: type[BaseModel]) -> str:
    """Return what a missing key is for, from the schema."""
    info = next((i for n, i in _model_at(place[:-1], model).model_fields.items() if (i.alias or n) == place[-1]), None)
    return f": {info.description}" if info is not None and info.description else ""


def _names(model: type[BaseModel]) -> list[str]:
    return [info.alias or name for name, info in model.model_fields.items()]


def _model_at(place: Place, model: type[BaseModel]) -> type[BaseModel]:
    """Return the model whose keys stand at `place` of a file that is a `model`."""
    is_name = False
    for part in place:
        if isinstance(part, str) and not is_name:
            info = next(i for n, i in model.model_fields.items() if (i.alias or n) == part)
            model = next(_models_in(info.annotation), model)
            is_name = _is_mapping(info.annotation)
        else:
            is_name = False
    return model


def _is_mapping(hint: Any) -> bool:
    """Return whether the keys below are names that the file gives, like those of several targets."""
    return typing.get_origin(hint) is dict or any(_is_mapping(inner) for inner in typing.get_args(hint))


def _models_in(hint: Any) -> Iterator[type[BaseModel]]:
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        yield hint
    for inner in typing.get_args(hint):
        yield from _models_in(inner)


def _kind(value: Any) -> str:
    return {list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false"}.get(
        type(value), type(value).__name__
    )


def _shown(place: Place, value: Any) -> str:
    """Return the value in short, but of what may be a secret its kind alone."""
    is_secret = not _SECRET.isdisjoint(place) and not isinstance(value, dict | list)
    return _kind(value) if is_secret else _short(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
