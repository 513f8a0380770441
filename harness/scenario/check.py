"""Everything that can be known to be wrong before the first call: file, corpus, selections, thresholds.

One entrance, `prepare`, used by every command and by the locustfile, so that all of them refuse the same files.
"""

import dataclasses
import difflib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.corpus.manifest import Corpus, load_corpus
from harness.measure.windows import FAULT, PHASE, phase_windows
from harness.model.errors import ScenarioError
from harness.model.plan import TargetSpec
from harness.scenario.actions import problem_with
from harness.scenario.faults import name_of, problems_of_faults, problems_with_admin
from harness.scenario.loader import LoadedScenario, load_scenario
from harness.scenario.plans import Planner, by_accent, utterances_of
from harness.scenario.schema import Caller, Scenario
from harness.scenario.stretch import stretched
from harness.scenario.target.address import TRANSPORTS
from harness.scenario.target.block import NO_PACKETS, Target
from harness.scenario.target.several import called, chosen, in_words, specs
from harness.verdict.runbook_file import parse_runbook
from harness.verdict.thresholds import parse


@dataclass(frozen=True, slots=True)
class Prepared:
    """A scenario with all it needs to be run, checked."""

    loaded: LoadedScenario
    corpus: Corpus
    seed: int
    url: str
    planner: Planner
    # Due times of an open-loop run in ms; None in closed loop.
    due_ms: list[float] | None
    # Most calls of a closed-loop run; None where only time ends it.
    max_calls: int | None
    # Of several targets the only ones to be called; () = all.
    only: tuple[str, ...] = ()
    # The text of the runbook that the run is held against; None = the one that ships.
    runbook: str | None = None

    @property
    def named_targets(self) -> dict[str, Target]:
        """The targets that are called, by name, with the command line's addresses; the name of an only one is ""."""
        return called(self.loaded.scenario.named_targets, self.url, self.only)

    @property
    def targets(self) -> dict[str, TargetSpec]:
        """Where calls go, by name."""
        return specs(self.named_targets)


def prepare(
    path: Path | str,
    *,
    url: str | None = None,
    seed: int | None = None,
    corpus_dir: Path | str | None = None,
    calls: int | None = None,
    folder: Path | None = None,
    only: Iterable[str] = (),
    runbook: Path | str | None = None,
    minutes: float | None = None,
) -> Prepared:
    """Load and check a scenario with the command line's overrides; raises ScenarioError listing every problem.

    `url` is an address for the only target, or NAME=URL for each of several, with blanks between; `only` names those of
    several that are to be called; `runbook` is a runbook file, `minutes` the load's length, instead of the scenario's.
    Secrets that the file names must be set in the environment. `folder` is where its files are, if not beside it.
    """
    loaded = load_scenario(path, environ=os.environ, folder=folder)
    if minutes is not None:
        loaded = dataclasses.replace(loaded, scenario=stretched(loaded.scenario, minutes))
    corpus = _corpus_of(loaded, corpus_dir)
    problems = [
        *_selection_problems(loaded, corpus),
        *_threshold_problems(loaded, corpus),
        *_option_problems(seed, calls),
        *(loaded.problem(place, said) for place, said in problems_of_faults(loaded.scenario)),
    ]
    only, targets = tuple(only), dict[str, Target]()
    book = None
    try:
        book = _runbook_of(loaded, runbook)
    except ScenarioError as error:
        problems.append(str(error))
    try:
        targets = _called(loaded, url, only)
        problems += _transport_problems(loaded, specs(targets))
        urls = [target.url for target in targets.values()]
        found = problems_with_admin(loaded.scenario, urls, os.environ)
        problems += [loaded.problem(place, said) for place, said in found]
    except ScenarioError as error:
        problems.append(str(error))
    if problems:
        raise ScenarioError("\n".join(problems))
    scenario = loaded.scenario
    used_seed = scenario.seed if seed is None else seed
    planner = Planner(scenario, corpus, used_seed, url, only)
    due_ms = planner.due_times_ms(calls)
    if due_ms is not None and not due_ms:
        place = ("load", "arrivals")
        message = f"places no call with seed {used_seed}; raise the rate, lengthen it, or use distribution: uniform"
        raise ScenarioError(loaded.problem(place, message))
    caps = [cap for cap in (scenario.load.users.calls if scenario.load.users else None, calls) if cap is not None]
    where = in_words({name: target.url for name, target in targets.items()})
    return Prepared(loaded, corpus, used_seed, where, planner, due_ms, min(caps, default=None), only, book)


def _called(loaded: LoadedScenario, url: str | None, wanted: tuple[str, ...]) -> dict[str, Target]:
    """Return the targets to be called; raises ScenarioError naming the option that is wrong."""
    option = "--only-target"
    try:
        chosen(loaded.scenario.named_targets, wanted)
        option = "--target"
        return called(loaded.scenario.named_targets, url, wanted)
    except ValueError as error:
        raise ScenarioError(f"{option}: {error}") from error


def _runbook_of(loaded: LoadedScenario, named: Path | str | None) -> str | None:
    """Return the text of the runbook, checked; raises ScenarioError. None = the one that ships."""
    said = loaded.scenario.runbook
    path = Path(named) if named is not None else None if said is None else loaded.path.parent / said
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path}: cannot read the runbook: {getattr(error, 'strerror', None) or 'not UTF-8 text'}"
        raise ScenarioError(message if named is not None else loaded.problem(("runbook",), message)) from error
    parse_runbook(text, str(path), window_names(loaded.scenario))
    return text


def _corpus_of(loaded: LoadedScenario, corpus_dir: Path | str | None) -> Corpus:
    """Load the corpus; what is wrong with it is told with the place that chose it."""
    try:
        return load_corpus(corpus_dir if corpus_dir is not None else loaded.corpus_dir())
    except ScenarioError as error:
        if corpus_dir is not None:
            raise ScenarioError(f"--corpus: {error}") from error
        if loaded.scenario.corpus is not None:
            raise ScenarioError(loaded.problem(("corpus",), str(error))) from error
        raise


def _option_problems(seed: int | None, calls: int | None) -> Iterator[str]:
    if seed is not None and not 0 <= seed <= 2**53:
        yield f"--seed: got {seed}; legal: a whole number from 0 to 2^53"
    if calls is not None and calls < 1:
        yield f"--calls: got {calls}; legal: a whole number of at least 1"


def _transport_problems(loaded: LoadedScenario, targets: Mapping[str, TargetSpec]) -> Iterator[str]:
    for name, target in targets.items():
        yield from _caller_problems(loaded, target, f"target {name}: " if name else "")
        limit_s = loaded.scenario.limits.connect_timeout_s
        if target.fallback and target.fallback_after_ms >= limit_s * 1000:
            place = ("targets", name, "fallback_after_s") if name else ("target", "fallback_after_s")
            told = f"got {target.fallback_after_ms / 1000:g}, and limits.connect_timeout_s is {limit_s:g}"
            yield loaded.problem(place, f"{told}: no time is left for the fallback; legal: less than that")


def _caller_problems(loaded: LoadedScenario, target: TargetSpec, where: str) -> Iterator[str]:
    """Yield what callers do that cannot be done in calls to `target`."""
    for i, caller in enumerate(loaded.scenario.callers):
        for j, action in enumerate(caller.actions):
            problem = problem_with(action, target, caller.turns[0])
            if problem is not None:
                yield loaded.problem(("callers", i, "actions", j), f"{where}{problem}")
        if target.transport == "media_stream" and caller.impairments is not None:
            yield loaded.problem(("callers", i, "impairments"), f"{where}{NO_PACKETS}; legal: none")


def _selection_problems(loaded: LoadedScenario, corpus: Corpus) -> Iterator[str]:
    legal = corpus.legal_values()
    for i, caller in enumerate(loaded.scenario.callers):
        place = ("callers", i, "select")
        unknown = list(_unknown_values(caller, legal))
        for name, j, value in unknown:
            texts = [known for known in legal[name] if isinstance(known, str)]
            near = difflib.get_close_matches(value, texts, n=1) if isinstance(value, str) else []
            hint = f" (did you mean {near[0]}?)" if near else ""
            message = f"{_spell(value)} is not in the corpus; legal: {', '.join(map(_spell, legal[name]))}{hint}"
            yield loaded.problem((*place, name, j), message)
        if not unknown:
            yield from _pool_problems(loaded, i, caller, corpus)


def _unknown_values(caller: Caller, legal: dict[str, list[Any]]) -> Iterator[tuple[str, int, Any]]:
    for name, values in caller.select.model_dump().items():
        for j, value in enumerate(values or []):
            if value not in legal[name]:
                yield name, j, value


def _pool_problems(loaded: LoadedScenario, index: int, caller: Caller, corpus: Corpus) -> Iterator[str]:
    try:
        pools = by_accent(utterances_of(caller, corpus))
    except ScenarioError as error:
        yield loaded.problem(("callers", index, "select"), str(error))
        return
    for accent, pool in pools.items():
        if len(pool) < caller.turns[1]:
            message = (
                f"{caller.turns[1]} turns, but only {len(pool)} utterances of accent {accent!r} match `select` and "
                f"none is said twice in a call; legal: at most {len(pool)}, or a wider selection without that accent"
            )
            yield loaded.problem(("callers", index, "turns"), message)


def _threshold_problems(loaded: LoadedScenario, corpus: Corpus) -> Iterator[str]:
    legal = {name: [_tag_value(v) for v in values] for name, values in corpus.legal_values().items() if name != "ids"}
    # As turn tags spell it: nobody said.
    legal["native"] = ["unknown" if value == "none" else value for value in legal["native"]]
    legal["caller"] = [caller.name for caller in loaded.scenario.callers]
    legal["target"] = [name for name in loaded.scenario.named_targets if name]
    # An address of the command line may have another transport than the file's.
    legal["transport"] = sorted({transport for legal in TRANSPORTS.values() for transport in legal})
    windows = window_names(loaded.scenario)
    for i, entry in enumerate(loaded.scenario.thresholds):
        try:
            threshold = parse(entry.expr, entry.min_samples, windows)
        except ScenarioError as error:
            yield loaded.problem(("thresholds", i), str(error))
            continue
        for name, value in threshold.tags.items():
            if name in legal and value not in legal[name]:
                message = f"{entry.expr!r}: no turn will have {name}:{value}; legal: {', '.join(legal[name]) or 'none'}"
                yield loaded.problem(("thresholds", i), message)


def window_names(scenario: Scenario) -> dict[str, list[str]]:
    """Return what thresholds may call stretches of this run, by kind."""
    return {
        FAULT: [name_of(fault) for fault in scenario.faults],
        PHASE: [name for window in phase_windows(scenario.model_dump(), None) for name in window.names],
    }


def _tag_value(value: Any) -> str:
    """Return a corpus value as the turn tags of harness.measure.segments spell it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _spell(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
