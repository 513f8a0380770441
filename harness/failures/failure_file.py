"""A failure file: one failure mode, how the target is started with its fix off and on, and what must show. YAML.

    failure:                          for people, and for the table
      title: TTS queue saturation
      runbook: 1                      its number among the runbook's failure modes; left out, it is none of them
      symptom: Latency grows with each further call
      cause: ...
      fix: ...
      models: emulated                or real: what the target's stages are
    target:
      up: [--profile, emulated]       words of `callquake up`, with the fix off and on
      url: "{origin}/api/offer"       whom to call
    fix_off: {up: [--tts-workers, 1]} and what is different; `scenario` in it goes on top of the scenario
    fix_on: {up: [--tts-workers, 4]}
    symptoms:                         what must have moved, at least, with the fix off
      - {metric: ttfb_ms p95, direction: up, by: 500}        from what it is with the fix on; or within the run:
      - {metric: "ttfb_ms p50 during phase:full", against: "ttfb_ms p50 during phase:few", direction: up, by: 500}
    files: {times.yaml: {...}}        written into the run's folder, `{files}/times.yaml`
    scenario: {...}                   a scenario without `name`, and without `target.url`

In all texts of `up` and of the scenario `{origin}` stands for the target's http://HOST:PORT, `{ws}` for the same with
ws://, `{sip}` for HOST:PORT of its SIP, `{files}` for the folder of `files`, `{here}` for the failure file's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from harness.failures.moves import check_metric
from harness.model.errors import ScenarioError
from harness.scenario import yaml_lines
from harness.scenario.loader import spell, worded
from harness.scenario.strict_model import StrictModel

Side = Literal["off", "on"]
OFF: Side = "off"
ON: Side = "on"
SIDES: tuple[Side, ...] = (OFF, ON)
_FIRST_KEY = "failure:"


def _words(value: Any) -> Any:
    """Read what YAML 1.1 takes for something else as the words they are: bare `on`, `off` and numbers."""
    if not isinstance(value, list):
        return value
    plain = [{True: "on", False: "off"}[word] if isinstance(word, bool) else word for word in value]
    return [str(word) if isinstance(word, int | float) else word for word in plain]


Words = Annotated[list[str], BeforeValidator(_words)]


class About(StrictModel):
    """What people are told of a failure mode."""

    title: str = Field(min_length=1)
    runbook: int | None = Field(default=None, ge=1, le=99)
    symptom: str = Field(min_length=1)
    cause: str = Field(min_length=1)
    fix: str = Field(min_length=1)
    models: Literal["real", "emulated"]


class TargetBlock(StrictModel):
    """How the target is started, and whom callers call."""

    up: Words = Field(default_factory=list)
    url: str = Field(default="{origin}/api/offer", min_length=1)
    ready_within_s: float = Field(default=180.0, gt=0, le=3600)


class SideBlock(StrictModel):
    """What is different with the fix off, or on."""

    up: Words = Field(default_factory=list)
    scenario: dict[str, Any] = Field(default_factory=dict)


class SymptomBlock(StrictModel):
    """A figure that must have moved with the fix off; `against` "" is the same one with the fix on."""

    metric: str = Field(min_length=1)
    against: str = ""
    direction: Literal["up", "down"]
    by: float = Field(gt=0)


class FailureFile(StrictModel):
    """The whole file."""

    failure: About
    target: TargetBlock
    fix_off: SideBlock
    fix_on: SideBlock
    symptoms: list[SymptomBlock] = Field(min_length=1)
    files: dict[str, dict[str, Any]] = Field(default_factory=dict)
    scenario: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Places:
    """What stands for the names in braces. The origin is without a slash at its end, `sip` is HOST:PORT or ""."""

    origin: str
    sip: str = ""
    files: Path = Path()
    here: Path = Path()

    def fill(self, value: Any) -> Any:
        """Return `value` with every name in its texts, at any depth, replaced."""
        if isinstance(value, dict):
            return {key: self.fill(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.fill(inner) for inner in value]
        if not isinstance(value, str):
            return value
        named = {"origin": self.origin, "ws": self.origin.replace("http", "ws", 1), "sip": self.sip}
        for name, text in {**named, "files": str(self.files), "here": str(self.here)}.items():
            value = value.replace(f"{{{name}}}", text)
        return value


# Where a target may be that has not been started: enough to check a file by.
NOWHERE = Places("http://127.0.0.1:8080", "127.0.0.1:5060")


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure file that was read."""

    path: Path
    file: FailureFile

    @property
    def name(self) -> str:
        """What the command and the table call it."""
        return self.path.stem

    @property
    def about(self) -> About:
        """What people are told of it."""
        return self.file.failure

    def side(self, side: Side) -> SideBlock:
        """Return what is different on one side."""
        return self.file.fix_off if side == OFF else self.file.fix_on

    def up_words(self, side: Side, places: Places) -> list[str]:
        """Return what the target is started with on one side, `callquake up` left out."""
        filled: list[str] = self._here(places).fill([*self.file.target.up, *self.side(side).up])
        return filled

    def scenario(self, side: Side, places: Places) -> dict[str, Any]:
        """Return the scenario of one side, whole."""
        whole = merged(self.file.scenario, self.side(side).scenario)
        target = {"url": self.file.target.url, **whole.get("target", {})}
        own = {"name": f"{self.name}_{side}", "description": f"{self.about.title}, fix {side}", "target": target}
        filled: dict[str, Any] = self._here(places).fill({**whole, **own})
        return filled

    def _here(self, places: Places) -> Places:
        return replace(places, here=self.path.parent.resolve())


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `below` with the keys of `above` in their place, mappings merged and all else replaced."""
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        result[key] = merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return result


def is_failure(path: Path) -> bool:
    """Return whether a YAML file is a failure file, by its first key."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return any(line.startswith(_FIRST_KEY) for line in lines)


def load_failure(path: Path) -> Failure:
    """Read a failure file; raises ScenarioError naming file, line, place and what is legal."""
    try:
        document = yaml_lines.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot read the failure file: {error}") from error
    except yaml_lines.YamlError as error:
        raise ScenarioError(f"{path}:{error.line}: {error.message}") from error
    try:
        file = FailureFile.model_validate(document.value)
    except ValidationError as error:
        raise ScenarioError(worded(path, document, error, FailureFile)) from None
    problems = [_word(path, document, place, said) for place, said in _problems(file)]
    if problems:
        raise ScenarioError("\n".join(problems))
    return Failure(path, file)


def _word(path: Path, document: yaml_lines.Document, place: tuple[str | int, ...], said: str) -> str:
    return f"{path}:{document.line_of(place)}: {spell(place) or 'the file'}: {said}"


def _problems(file: FailureFile) -> list[tuple[tuple[str | int, ...], str]]:
    found: list[tuple[tuple[str | int, ...], str]] = []
    for key, said in (("name", "the file's name is its name"), ("description", "`failure` tells it")):
        if key in file.scenario:
            found.append((("scenario", key), f"{said}; legal: leave it out"))
    found += [
        (("files", name), "legal: a plain file name") for name in file.files if Path(name).name != name or name == ".."
    ]
    for i, symptom in enumerate(file.symptoms):
        for key, text in (("metric", symptom.metric), ("against", symptom.against)):
            if text and (said := check_metric(text)):
                found.append((("symptoms", i, key), said))
    return found
