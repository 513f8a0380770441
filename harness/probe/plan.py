"""The one call of a probe, planned."""

import secrets
from dataclasses import dataclass

from harness.corpus.manifest import Corpus
from harness.model.errors import ScenarioError
from harness.model.plan import CallLimits, CallPlan, Patience, Persona, PlannedTurn, TargetSpec

_THINK_MS = 500.0
_PERSONA = Persona("Probe", "+15550100", "", "", "unlimited")
# Never leaves by itself, and says nothing twice: what the agent did is told instead.
_PATIENCE = Patience("unlimited", 0.0, 1.0, 0)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a probe is to do besides calling; times in seconds."""

    # An utterance's id; "" = say nothing.
    say: str
    expect_greeting: bool = True
    record: bool = False
    timeout_s: float = 15.0


def utterance_of(corpus: Corpus, wanted: str | None) -> str:
    """Return the id of the utterance to say: the one that is wanted, or the first in clean speech."""
    if wanted is None:
        return next((u.id for u in corpus.utterances.values() if u.snr_db is None), next(iter(corpus.utterances), ""))
    if wanted not in corpus.utterances:
        shown = ", ".join(list(corpus.utterances)[:5])
        n = len(corpus.utterances)
        raise ScenarioError(f"--say: {wanted!r} is none of the corpus's {n} utterances; legal: {shown}, ...")
    return wanted


def call_plan(target: TargetSpec, wish: Wish) -> CallPlan:
    """Return the plan of a probe's call."""
    wait_ms = wish.timeout_s * 1000
    return CallPlan(
        call_id=f"probe-{secrets.token_hex(6)}",
        index=0,
        due_ms=None,
        caller="probe",
        persona=_PERSONA,
        patience=_PATIENCE,
        turns=(PlannedTurn(wish.say, _THINK_MS),) if wish.say else (),
        target=target,
        limits=CallLimits(connect_timeout_ms=wait_ms, greeting_timeout_ms=wait_ms, answer_timeout_ms=wait_ms),
        expect_greeting=wish.expect_greeting,
        record=wish.record,
        trace=True,
        seed=secrets.randbits(53),
    )
