"""Everything that can be known to be wrong before the first call: file, corpus, selections, thresholds.

One entrance, `prepare`, used by every command and by the locustfile, so that all of them refuse the same files.
"""

import difflib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.corpus.manifest import Corpus, load_corpus
from harness.model.errors import ScenarioError
from harness.model.plan import TargetSpec
from harness.scenario.actions import problem_with
from harness.scenario.loader import LoadedScenario, load_scenario
from harness.scenario.plans import Planner, by_accent, utterances_of
from harness.scenario.schema import Caller
from harness.scenario.target.block import NO_PACKETS, Target
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

    @property
    def target(self) -> TargetSpec:
        """Where calls go, with the command line's address."""
        return self.loaded.scenario.target_spec(self.url)


def prepare(
    path: Path | str,
    *,
    url: str | None = None,
    seed: int | None = None,
    corpus_dir: Path | str | None = None,
    calls: int | None = None,
    folder: Path | None = None,
) -> Prepared:
    """Load and check a scenario with the command line's overrides; raises ScenarioError listing every problem.

    Secrets that the file names must be set in the environment. `folder` is where its files are, if not beside it.
    """
    loaded = load_scenario(path, environ=os.environ, folder=folder)
    corpus = _corpus_of(loaded, corpus_dir)
    problems = [
        *_selection_problems(loaded, corpus),
        *_threshold_problems(loaded, corpus),
        *_option_problems(loaded.scenario.target, url, seed, calls),
        *_transport_problems(loaded, url),
    ]
    if problems:
        raise ScenarioError("\n".join(problems))
    scenario = loaded.scenario
    used_seed = scenario.seed if seed is None else seed
    planner = Planner(scenario, corpus, used_seed, url)
    due_ms = planner.due_times_ms(calls)
    if due_ms is not None and not due_ms:
        place = ("load", "arrivals")
        message = f"places no call with seed {used_seed}; raise the rate, lengthen it, or use distribution: uniform"
        raise ScenarioError(loaded.problem(place, message))
    caps = [cap for cap in (scenario.load.users.calls if scenario.load.users else None, calls) if cap is not None]
    return Prepared(loaded, corpus, used_seed, url or scenario.target.url, planner, due_ms, min(caps, default=None))


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


def _option_problems(target: Target, url: str | None, seed: int | None, calls: int | None) -> Iterator[str]:
    if url is not None:
        try:
            target.at(url)
        except ValueError as error:
            yield f"--target: {error}"
    if seed is not None and not 0 <= seed <= 2**53:
        yield f"--seed: got {seed}; legal: a whole number from 0 to 2^53"
    if calls is not None and calls < 1:
        yield f"--calls: got {calls}; legal: a whole number of at least 1"


def _transport_problems(loaded: LoadedScenario, url: str | None) -> Iterator[str]:
    try:
        target = loaded.scenario.target_spec(url)
    except ValueError:
        # Told as the option's problem.
        return
    for i, caller in enumerate(loaded.scenario.callers):
        for j, action in enumerate(caller.actions):
            problem = problem_with(action, target, caller.turns[0])
            if problem is not None:
                yield loaded.problem(("callers", i, "actions", j), problem)
        if target.transport == "media_stream" and caller.impairments is not None:
            yield loaded.problem(("callers", i, "impairments"), f"{NO_PACKETS}; legal: none")


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
    legal["caller"] = [caller.name for caller in loaded.scenario.callers]
    for i, entry in enumerate(loaded.scenario.thresholds):
        try:
            threshold = parse(entry.expr)
        except ScenarioError as error:
            yield loaded.problem(("thresholds", i), str(error))
            continue
        for name, value in threshold.tags.items():
            if name in legal and value not in legal[name]:
                message = f"{entry.expr!r}: no turn will have {name}:{value}; legal: {', '.join(legal[name])}"
                yield loaded.problem(("thresholds", i), message)


def _tag_value(value: Any) -> str:
    """Return a corpus value as the turn tags of harness.measure.segments spell it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _spell(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
