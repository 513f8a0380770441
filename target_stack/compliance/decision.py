"""What may be done in a call now, what must be said first, what is to be asked: from rules and consents. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from target_stack.compliance.consent import NO, Consent, State
from target_stack.compliance.rules import Rule, RuleTable, shortest, strictest_need
from target_stack.compliance.words import Activity, Direction, Form, Need, Notice

# What one question covers. Consent must be specific: being understood and being recorded are two questions.
QUESTIONS: tuple[tuple[Activity, ...], ...] = ((Activity.PROCESS,), (Activity.TRANSCRIBE, Activity.RECORD))
# A caller who said no in an earlier call is asked again only for what this call cannot go on without.
_ASKED_AGAIN = frozenset({Activity.PROCESS})
# Where no row says anything.
_DEFAULT_DAYS = 90


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a decision depends on."""

    region: str
    direction: Direction
    now: datetime
    consents: Mapping[Activity, Consent]
    # What the operator wants at all; nothing else is allowed or asked for.
    wanted: frozenset[Activity]
    # What was played out in this call, and what was asked in it.
    said: frozenset[Notice] = frozenset()
    asked: frozenset[Activity] = frozenset()


@dataclass(frozen=True, slots=True)
class Decision:
    """`blocked` says why for each activity that is wanted and not allowed. `ask` is one question, () for none."""

    region: str
    rules: tuple[str, ...]
    allowed: frozenset[Activity]
    blocked: Mapping[Activity, str]
    say_first: tuple[Notice, ...]
    ask: tuple[Activity, ...]
    # Whether the answer may be spoken: to understand it is processing, too.
    is_answer_heard: bool
    retention: timedelta
    consent_lasts: timedelta

    def allows(self, activity: Activity) -> bool:
        """Tell whether `activity` may begin now."""
        return activity in self.allowed


def decide(table: RuleTable, call: Situation) -> Decision:
    """Apply every row of the call's region, direction and day. What no row speaks of is allowed when it is wanted.

    Where the call itself is not allowed, nothing is: not even a word.
    """
    case = _Case(table, call)
    blocked = {a: why for a in case.wanted if (why := case.why_not(a))}
    may_speak = Activity.CALL not in blocked
    return Decision(
        region=case.region,
        rules=tuple(row.id for row in case.rows),
        allowed=frozenset(a for a in case.wanted if a not in blocked) if may_speak else frozenset(),
        blocked=blocked if may_speak else dict.fromkeys(case.wanted, blocked[Activity.CALL]),
        say_first=case.unsaid() if may_speak else (),
        ask=case.question() if may_speak else (),
        is_answer_heard=case.is_agreed(Activity.PROCESS),
        retention=timedelta(days=shortest((row.retention_days for row in case.rows), _DEFAULT_DAYS)),
        consent_lasts=timedelta(days=shortest((row.consent_days for row in case.rows), _DEFAULT_DAYS)),
    )


class _Case:
    """One call under the rows that apply to it."""

    def __init__(self, table: RuleTable, call: Situation) -> None:
        self.call = call
        self.region = table.known(call.region)
        self.rows: tuple[Rule, ...] = table.applying(self.region, call.direction, call.now.date())
        self.wanted = [activity for activity in Activity if activity in call.wanted]

    def need(self, activity: Activity) -> Need:
        return strictest_need(self.rows, activity)

    def state(self, activity: Activity) -> State:
        consent = self.call.consents.get(activity)
        return State.UNKNOWN if consent is None else consent.state_at(self.call.now)

    def holds(self, activity: Activity) -> bool:
        """Tell whether the caller's yes stands, in the form that the rules want."""
        consent = self.call.consents.get(activity)
        if consent is None or not consent.holds(self.region, self.call.now):
            return False
        return self.need(activity) < Need.WRITTEN or consent.form is Form.WRITTEN

    def is_agreed(self, activity: Activity) -> bool:
        """Tell whether the caller's side of it is done: a yes where one is needed, else no no.

        What needs nothing cannot be refused: who objected to being called may still call.
        """
        if self.need(activity) is Need.NOTHING:
            return True
        if self.need(activity) is Need.NEVER or self.state(activity) in NO:
            return False
        return self.need(activity) < Need.EXPLICIT or self.holds(activity)

    def notices(self, activity: Activity) -> frozenset[Notice]:
        found = (row.before[activity].notices for row in self.rows if activity in row.before)
        return frozenset[Notice]().union(*found)

    def why_not(self, activity: Activity) -> str:
        need, state = self.need(activity), self.state(activity)
        if need is Need.NEVER:
            return "never allowed here"
        if state in NO and need is not Need.NOTHING:
            return f"consent is {state}"
        if not self.is_agreed(activity):
            other = "; what was given is of another form or region" if state is State.GIVEN else f" and {state}"
            return f"{need.name.lower()} consent is needed{other}"
        unsaid = self.notices(activity) - self.call.said
        return f"not said yet: {', '.join(sorted(unsaid))}" if unsaid else ""

    def may_ask(self, activity: Activity) -> bool:
        """Tell whether a question of this call can bring the yes that is missing."""
        state = self.state(activity)
        is_missing = self.need(activity) <= Need.EXPLICIT and not self.is_agreed(activity)
        is_open = state not in NO or activity in _ASKED_AGAIN
        return is_missing and is_open and activity not in self.call.asked

    def unsaid(self) -> tuple[Notice, ...]:
        """Return what is to be said for all that may still become allowed, in the order of Notice."""
        hopeful = [a for a in self.wanted if self.is_agreed(a) or self.may_ask(a)]
        due = {notice for activity in hopeful for notice in self.notices(activity)} - self.call.said
        return tuple(notice for notice in Notice if notice in due)

    def question(self) -> tuple[Activity, ...]:
        """Return what the next question is about. Who may not be understood is asked nothing else."""
        for together in QUESTIONS:
            found = tuple(a for a in together if a in self.wanted and self.may_ask(a))
            if found:
                return found
            if Activity.PROCESS in self.wanted and not self.is_agreed(Activity.PROCESS):
                return ()
        return ()
