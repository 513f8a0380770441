"""A caller's consent to one activity: its states, what moves it from one to another, and when it runs out. Pure.

    unknown ─ask─► asked ─give─► given ─withdraw─► withdrawn
                     └─refuse─► refused    └─expire─► expired

A question does not undo a no: only a yes does. Silence moves nothing.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from harness.model.errors import CallquakeError
from target_stack.compliance.words import Activity, Form


class State(StrEnum):
    """Where a consent stands."""

    UNKNOWN = "unknown"
    ASKED = "asked"
    GIVEN = "given"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class Step(StrEnum):
    """What happens to a consent."""

    ASK = "ask"
    GIVE = "give"
    REFUSE = "refuse"
    WITHDRAW = "withdraw"
    EXPIRE = "expire"


# The states in which the caller's last word was no.
NO = frozenset({State.REFUSED, State.WITHDRAWN})

_ANY = {Step.ASK: State.ASKED, Step.GIVE: State.GIVEN, Step.REFUSE: State.REFUSED, Step.WITHDRAW: State.WITHDRAWN}
MOVES: dict[State, dict[Step, State]] = {
    State.UNKNOWN: _ANY,
    State.ASKED: _ANY,
    State.GIVEN: _ANY | {Step.EXPIRE: State.EXPIRED},
    State.REFUSED: _ANY | {Step.ASK: State.REFUSED},
    State.WITHDRAWN: _ANY | {Step.ASK: State.WITHDRAWN, Step.REFUSE: State.WITHDRAWN},
    State.EXPIRED: _ANY,
}


class ConsentError(CallquakeError):
    """A step that this state does not allow, or one without what it must carry."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What stands behind a step: when, in which region and call, what was asked and what was answered."""

    at: datetime
    region: str
    call_id: str = ""
    form: Form | None = None
    asked: str = ""
    answered: str = ""


@dataclass(frozen=True, slots=True)
class Consent:
    """One caller's consent to one activity. It holds in the region it was given in, until `expires_at`."""

    activity: Activity
    state: State = State.UNKNOWN
    region: str = ""
    form: Form | None = None
    changed_at: datetime | None = None
    expires_at: datetime | None = None

    def state_at(self, now: datetime) -> State:
        """Return the state, a given one only while it has not run out."""
        is_over = self.state is State.GIVEN and self.expires_at is not None and now >= self.expires_at
        return State.EXPIRED if is_over else self.state

    def holds(self, region: str, now: datetime) -> bool:
        """Tell whether a yes stands, in this region and now."""
        return self.state_at(now) is State.GIVEN and self.region == region

    def after(self, step: Step, evidence: Evidence, expires_at: datetime | None = None) -> "Consent":
        """Return the consent after `step`. Raises ConsentError for an illegal one, or a yes that has no form or end."""
        state = self.state_at(evidence.at)
        if step not in MOVES[state]:
            raise ConsentError(f"consent to {self.activity}: cannot {step} what is {state}")
        if step is Step.GIVE and (evidence.form is None or expires_at is None or expires_at <= evidence.at):
            raise ConsentError(f"consent to {self.activity}: a yes needs the form it was given in and a later end")
        return replace(
            self,
            state=MOVES[state][step],
            region=evidence.region,
            form=evidence.form if step is Step.GIVE else None,
            changed_at=evidence.at,
            expires_at=expires_at if step is Step.GIVE else None,
        )
