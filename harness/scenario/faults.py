"""The faults of a scenario, checked against the catalogue and the rest of the file, and as a run injects them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from harness.faults.catalogue import KINDS
from harness.faults.check import Problem, check_filter, check_kind, check_parameters
from harness.faults.effect import Admin
from harness.faults.kind import Kind
from harness.faults.schedule import Due, Phase, due_of, phase_named, phases_of
from harness.model.errors import ScenarioError
from harness.model.fault import Direction, Fault, Symptom, Unmoved, Where
from harness.model.secrets import expand
from harness.scenario.fault_block import FaultBlock
from harness.scenario.schema import Load, Scenario
from harness.verdict.thresholds import parse


def name_of(block: FaultBlock) -> str:
    """Return the fault's name."""
    return block.name or block.kind


def fault_of(block: FaultBlock, seed: int) -> Fault:
    """Return a block that `problems_of_faults` found right, as a fault; `seed`: the run's."""
    kind = KINDS[block.kind]
    return Fault(
        name=name_of(block),
        kind=block.kind,
        where=kind.where,
        start_ms=block.start_s * 1000,
        duration_ms=None if block.duration_s is None else block.duration_s * 1000,
        phase="" if block.phase is None else str(block.phase),
        parameters=check_parameters(kind, block.parameters)[0],
        filter=block.filter.to_model(),
        seed=seed if block.seed is None else block.seed,
        symptoms=tuple(Symptom(s.metric, Direction(s.direction), s.by) for s in block.symptoms),
        unmoved=tuple(Unmoved(u.metric, u.within) for u in block.unmoved),
        recovers_within_ms=None if block.recovers_within_s is None else block.recovers_within_s * 1000,
    )


def phases(load: Load) -> list[Phase]:
    """Return the stages of a load, none where it is one stretch."""
    stages: Sequence[Any] = ()
    if load.users is not None:
        stages = load.users.stages
    elif load.arrivals is not None and load.arrivals.stages is not None:
        stages = load.arrivals.stages
    return phases_of([stage.duration_s * 1000 for stage in stages], [stage.name for stage in stages])


def due_faults(scenario: Scenario, seed: int) -> list[Due]:
    """Return the faults of a checked scenario with their times."""
    stages = phases(scenario.load)
    return [due_of(fault_of(block, seed), stages) for block in scenario.faults]


def problems_of_faults(scenario: Scenario) -> Iterator[Problem]:
    """Yield everything that is wrong with the faults of a scenario, each with its place in the file."""
    names = [name_of(block) for block in scenario.faults]
    for i, block in enumerate(scenario.faults):
        for place, said in _problems(block, scenario):
            yield ("faults", i, *place), said
        if names.index(names[i]) != i:
            yield ("faults", i, "name"), f"the name {names[i]!r} stands twice; legal: names that differ"


def _problems(block: FaultBlock, scenario: Scenario) -> Iterator[Problem]:
    kind, found = check_kind(block.kind)
    yield from found
    if kind is not None:
        yield from _of_kind(kind, block)
    legal = {"callers": [c.name for c in scenario.callers], "targets": [t for t in scenario.named_targets if t]}
    for field, values in (("callers", block.filter.callers), ("targets", block.filter.targets)):
        for j, value in enumerate(values):
            if value not in legal[field]:
                yield ("filter", field, j), f"got {value!r}; legal: {', '.join(legal[field]) or 'none'}"
    if block.phase is not None:
        try:
            phase_named(phases(scenario.load), str(block.phase))
        except ValueError as error:
            yield ("phase",), str(error)
    for key, metrics in (
        ("symptoms", [claim.metric for claim in block.symptoms]),
        ("unmoved", [claim.metric for claim in block.unmoved]),
    ):
        for j, metric in enumerate(metrics):
            if said := _metric_problem(metric):
                yield (key, j, "metric"), said


def _of_kind(kind: Kind, block: FaultBlock) -> Iterator[Problem]:
    yield from check_parameters(kind, block.parameters)[1]
    yield from check_filter(kind, block.filter.to_model())
    if kind.needs_end and block.duration_s is None and block.phase is None:
        yield ("duration_s",), f"missing; {block.kind} does its work when it ends; legal: a duration, or a phase"


def _metric_problem(metric: str) -> str:
    """Say what is wrong with a metric's name, which is a threshold's without comparison."""
    try:
        parse(f"{metric} >= 0")
    except ScenarioError as error:
        return str(error).replace(f"{metric} >= 0", metric)
    return ""


def admin_of(scenario: Scenario, urls: Sequence[str], environ: Mapping[str, str]) -> Admin | None:
    """Return the admin API that the scenario names, else the origin of its targets where they have one in common.

    Raises ScenarioError where the token's variable is not set.
    """
    if scenario.admin is not None:
        try:
            return Admin(scenario.admin.url, expand(scenario.admin.token, environ))
        except ValueError as error:
            raise ScenarioError(f"admin.token: {error}") from error
    origins = {origin_of(url) for url in urls} - {""}
    return Admin(origins.pop(), environ.get("CALLQUAKE_ADMIN_TOKEN", "")) if len(origins) == 1 else None


def origin_of(url: str) -> str:
    """Return the HTTP origin of a target's address, "" where it has none."""
    parts = urlsplit(url)
    scheme = {"http": "http", "https": "https", "ws": "http", "wss": "https"}.get(parts.scheme, "")
    return f"{scheme}://{parts.netloc}" if scheme and parts.netloc else ""


def problems_with_admin(scenario: Scenario, urls: Sequence[str], environ: Mapping[str, str]) -> Iterator[Problem]:
    """Yield the faults of a target whose admin API nobody has named, and a token that is not set."""
    try:
        admin_of(scenario, urls, environ)
    except ScenarioError as error:
        yield ("admin", "token"), str(error).removeprefix("admin.token: ")
    if scenario.admin is not None or len({origin_of(url) for url in urls} - {""}) == 1:
        return
    for i, block in enumerate(scenario.faults):
        kind = KINDS.get(block.kind)
        if kind is not None and (kind.where is Where.TARGET or kind.asks_admin):
            said = "acts by the target's admin API; legal: with `admin: {url: http://HOST:PORT}` beside `faults`"
            yield ("faults", i, "kind"), f"{block.kind} {said}"
