"""One call's side of compliance: who it is, what they said before, what was said and asked in it, and what follows."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from target_stack.compliance.consent import NO, Consent, Evidence, State, Step
from target_stack.compliance.decision import Decision, Situation, decide
from target_stack.compliance.ear import Answered
from target_stack.compliance.office import Office
from target_stack.compliance.recording.folders import new_key
from target_stack.compliance.store import KeptCall
from target_stack.compliance.trail import TrailRow, What
from target_stack.compliance.words import Activity, Direction, Form, Notice
from target_stack.frames import CallFacts

# What transports put where a number was withheld.
_NOBODY = frozenset({"", "anonymous", "unknown", "unavailable", "restricted", "private"})


class CallCase:
    """`open` first. Every step is in the store before the method that takes it returns."""

    def __init__(self, call_id: str, facts: CallFacts, office: Office) -> None:
        self.call_id = call_id
        self.key = new_key(office.now())
        self.consents: dict[Activity, Consent] = {}
        self._office = office
        self._started = office.now()
        # Who withholds their number is nobody we know: what they say holds for this call.
        name = self.key if facts.caller.lower() in _NOBODY else facts.caller
        self.caller = office.pseudonyms.of(name)
        wanted = facts.parameters.get("region", "") or office.settings.block.default_region
        self.region = office.settings.table.known(wanted)
        is_outbound = facts.parameters.get("direction", "").lower() == Direction.OUTBOUND
        self.direction = Direction.OUTBOUND if is_outbound else Direction.INBOUND
        # Set once something of this call is kept.
        self.kept: KeptCall | None = None
        self.said: set[Notice] = set()
        self.asked: set[Activity] = set()
        self._told = facts.parameters.get("consent", "").lower()

    @property
    def told_answer(self) -> Answered | None:
        """Return the answer that came with the call, where such an answer is trusted."""
        if not self._office.settings.block.trust_consent_parameter or self._told not in ("given", "refused"):
            return None
        return Answered(self._told == "given", Form.PARAMETER, f"consent={self._told}")

    async def open(self) -> None:
        """Read what the caller said before, and note that the call began. Raises StoreError."""
        self.consents = await self._office.ledger.ask(lambda store: store.consents(self.caller))
        self._office.counts.calls += 1
        await self.note(What.CALL_STARTED)

    def decide(self) -> Decision:
        """Return what holds now."""
        return decide(
            self._office.settings.table,
            Situation(
                region=self.region,
                direction=self.direction,
                now=self._office.now(),
                consents=self.consents,
                wanted=self._office.settings.wanted,
                said=frozenset(self.said),
                asked=frozenset(self.asked),
            ),
        )

    async def note(self, what: What, about: str = "", due: datetime | None = None, **detail: str | int) -> None:
        """Append to the trail."""
        row = self.row(what, about, due, **detail)
        await self._office.ledger.ask(lambda store: store.note([row]))

    def row(self, what: What, about: str = "", due: datetime | None = None, **detail: str | int) -> TrailRow:
        """Return an entry about this call."""
        call = self._office.pseudonyms.of(self.key)
        return TrailRow(self._office.now(), what, self.caller, call, self.region, self.direction, about, due, detail)

    async def played(self, notice: Notice) -> None:
        """Take note that a notice was heard to its end."""
        self.said.add(notice)
        if notice is Notice.AI_DISCLOSURE:
            self._office.counts.disclosures["played"] += 1
        await self.note(What.PLAYED, notice)

    async def not_played(self, notice: Notice) -> None:
        """Take note that a notice was not heard to its end."""
        if notice is Notice.AI_DISCLOSURE:
            self._office.counts.disclosures["not_played"] += 1
        await self.note(What.NOT_PLAYED, notice)

    async def ask(self, about: Iterable[Activity], question: str) -> None:
        """Take note that a question is being put."""
        self.asked |= set(about)
        for activity in about:
            await self._take(
                activity, Step.ASK, Evidence(self._office.now(), self.region, self.call_id, asked=question)
            )

    async def answer(self, about: Iterable[Activity], question: str, answered: Answered, lasts: timedelta) -> None:
        """Take a yes or no. Of a no, its words are not kept."""
        self.asked |= set(about)
        now = self._office.now()
        words = answered.words if answered.is_yes else "no"
        evidence = Evidence(now, self.region, self.call_id, answered.form, question, words)
        step, until = (Step.GIVE, now + lasts) if answered.is_yes else (Step.REFUSE, None)
        self._office.counts.consents["given" if answered.is_yes else "refused"] += 1
        for activity in about:
            await self._take(activity, step, evidence, until)

    async def unanswered(self, about: Iterable[Activity]) -> None:
        """Take note that nothing clear was answered: silence is no consent."""
        self._office.counts.consents["unanswered"] += 1
        for activity in about:
            await self.note(What.UNANSWERED, activity)

    async def withdraw(self, form: Form) -> bool:
        """Take back what was given, and object to keeping anything; tell whether there was anything to take back."""
        now = self._office.now()
        kept = {Activity.TRANSCRIBE, Activity.RECORD, Activity.BIOMETRICS} & self._office.settings.wanted
        given = {activity for activity, consent in self.consents.items() if consent.state_at(now) is State.GIVEN}
        standing = [a for a in sorted(kept | given) if self.consents.get(a, Consent(a)).state_at(now) not in NO]
        for activity in standing:
            await self._take(activity, Step.WITHDRAW, Evidence(now, self.region, self.call_id, form))
        self._office.counts.consents["withdrawn"] += bool(standing)
        return bool(standing)

    async def keep(self, retention: timedelta) -> None:
        """Note, before the first byte, that something of this call is kept."""
        call = self.kept = KeptCall(
            key=self.key,
            call_id=self.call_id,
            caller=self.caller,
            region=self.region,
            direction=self.direction,
            started=self._started,
            due=self._office.now() + retention,
        )
        await self._office.keep(call)

    async def erase(self, reason: str) -> None:
        """Delete what was kept of this call."""
        kept, self.kept = self.kept, None
        if kept is not None:
            now = self._office.now()
            await self._office.delete(lambda deletion: deletion.of_kept([kept], now, reason), reason)

    async def _take(self, activity: Activity, step: Step, evidence: Evidence, until: datetime | None = None) -> None:
        after = await self._office.ledger.ask(
            lambda store: store.take(self.caller, activity, step, evidence, until, self.key)
        )
        self.consents[activity] = after
