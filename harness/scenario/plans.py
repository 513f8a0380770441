"""A scenario, a corpus and a seed to call plans. Call i depends on these and i alone, never on timing.

Calls are dealt to the caller kinds by weight along a golden-ratio sequence, so that even a short run has the mix it was
asked for; several targets share the calls as deal.py says. Within a call one person speaks: one accent, no utterance
twice, and no sentence twice in another condition or voice while there are others.
"""

import bisect
import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from harness.corpus.entry import ENDPOINT_DOMAINS
from harness.corpus.manifest import Corpus, Utterance
from harness.model.impairment import Direction, Impairment, direction_seed
from harness.model.plan import CallPlan, Patience, PlannedTurn
from harness.scenario import actions, arrivals, personas
from harness.scenario.deal import Deal
from harness.scenario.schema import MAX_CALLS, Caller, Scenario
from harness.scenario.target.block import Target
from harness.scenario.target.several import called, shares, specs

_GOLDEN = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class _Kind:
    """A caller kind with its utterances, by accent in manifest order."""

    caller: Caller
    by_accent: dict[str, list[Utterance]]


class Planner:
    """Plans the calls of one run. Raises ScenarioError when a caller's selection matches nothing."""

    def __init__(
        self, scenario: Scenario, corpus: Corpus, seed: int, url: str | None = None, only: Iterable[str] = ()
    ) -> None:
        """`url` and `only` are the command line's words on targets; raises ValueError where they do not fit."""
        self._scenario, self._seed = scenario, seed
        targets = called(scenario.named_targets, url, only)
        self._targets, self._specs = list(targets.values()), list(specs(targets).values())
        self._deal = Deal(shares(targets), seed)
        self._limits = scenario.limits.to_plan()
        calling = [c for c in scenario.callers if c.weight > 0]
        self._kinds = [_Kind(c, by_accent(utterances_of(c, corpus))) for c in calling]
        self._shares = list(accumulate(c.weight for c in calling))
        self._offset = random.Random(f"{seed}/mix").random()

    def plan_for_index(self, index: int, due_ms: float | None = None) -> CallPlan:
        """Return call `index` (from 0), due `due_ms` after the start of the run."""
        place, story = self._deal[index]
        target, spec = self._targets[place], self._specs[place]
        seed = call_seed(self._seed, story)
        rng = random.Random(f"{seed}/call")
        kind = self._kinds[self._kind_of(story)]
        caller = kind.caller
        accent = rng.choice(list(kind.by_accent))
        spoken = draw_utterances(kind.by_accent[accent], rng.randint(*caller.turns), rng)
        patience = caller.patience
        return CallPlan(
            call_id=f"call-{index:06d}",
            index=index,
            due_ms=due_ms,
            caller=caller.name,
            persona=personas.invent(accent, patience.name, seed),
            patience=Patience(patience.name, patience.scale, rng.expovariate(1.0), patience.max_repeats),
            turns=tuple(
                PlannedTurn(u.id, round(rng.uniform(*caller.think_ms), 1), actions.before(caller.actions, i))
                for i, u in enumerate(spoken, 1)
            ),
            target=spec,
            limits=self._limits,
            expect_greeting=target.expect_greeting,
            record=random.Random(f"{seed}/record").random() < self._scenario.record,
            seed=seed,
            story=story if spec.name else None,
            impair_outgoing=_seeded(target, caller, "outgoing", seed),
            impair_incoming=_seeded(target, caller, "incoming", seed),
        )

    def due_times_ms(self, calls: int | None = None) -> list[float] | None:
        """Return when the calls of an open-loop scenario are due; None in closed loop. `calls` lowers the cap."""
        load = self._scenario.load.arrivals
        if load is None:
            return None
        caps = [cap for cap in (load.calls, calls) if cap is not None]
        if load.at_s is not None:
            return [at_s * 1000 for at_s in load.at_s[: min(caps, default=MAX_CALLS)]]
        return arrivals.due_times_ms(load.ramps(), load.distribution, self._seed, min(caps, default=MAX_CALLS))

    def _kind_of(self, index: int) -> int:
        point = (self._offset + index * _GOLDEN) % 1.0 * self._shares[-1]
        return min(bisect.bisect_right(self._shares, point), len(self._kinds) - 1)


def plan_calls(scenario: Scenario, corpus: Corpus, seed: int, url: str | None = None) -> list[CallPlan]:
    """Return every call of an open-loop scenario in the order of their due times; [] for a closed-loop one."""
    planner = Planner(scenario, corpus, seed, url)
    return [planner.plan_for_index(i, due) for i, due in enumerate(planner.due_times_ms() or [])]


def _seeded(target: Target, caller: Caller, direction: Direction, seed: int) -> Impairment | None:
    planned = impairment_of(target, caller, direction)
    return None if planned is None else replace(planned, seed=direction_seed(seed, direction))


def impairment_of(target: Target, caller: Caller, direction: Direction) -> Impairment | None:
    """Return what a direction of this kind of call goes through, without its seed; None = an untouched network.

    What the caller says of a direction stands before what the target says.
    """
    for said in (caller.impairments, target.impairments):
        found = said.of(direction) if said is not None else None
        if found is not None:
            return found.to_plan()
    return None


def call_seed(seed: int, index: int) -> int:
    """Return the seed of one call, 53 bits so that it survives JSON readers that only know doubles."""
    digest = hashlib.sha256(f"{seed}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 11


def utterances_of(caller: Caller, corpus: Corpus) -> list[Utterance]:
    """Return the clips a caller may say, in manifest order.

    What tries an agent's endpointing (half a minute of speech, long pauses, "mhm") is said where it is asked for, by
    domain, sentence or id; else a plain mix of callers would be answered too early, or not at all, by design.
    """
    filters = caller.select.model_dump()
    if not any(filters[name] for name in ("domain", "sentence_id", "ids")):
        plain = [domain for domain in corpus.legal_values()["domain"] if domain not in ENDPOINT_DOMAINS]
        filters["domain"] = plain or None
    return corpus.select(**filters)


def by_accent(utterances: Sequence[Utterance]) -> dict[str, list[Utterance]]:
    """Group clips by accent, accents in order of first appearance."""
    groups: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        groups[utterance.accent].append(utterance)
    return dict(groups)


def draw_utterances(pool: Sequence[Utterance], n: int, rng: random.Random) -> list[Utterance]:
    """Draw `n` clips without replacement, every sentence once before any sentence twice. `n` <= len(pool)."""
    sentences: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in pool:
        sentences[utterance.sentence_id].append(utterance)
    for variants in sentences.values():
        rng.shuffle(variants)
    drawn: list[Utterance] = []
    while len(drawn) < n:
        left = [variants for variants in sentences.values() if variants]
        drawn += [variants.pop() for variants in rng.sample(left, min(len(left), n - len(drawn)))]
    return drawn
