"""One fault from start to end: written to the journal, injected, its evidence gathered, undone, forgotten."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from harness.faults.catalogue import kind_named
from harness.faults.effect import Effect, Means
from harness.faults.errors import FaultError
from harness.faults.journal import Entry, Journal, new_entry
from harness.model.clock import monotonic_ns
from harness.model.codec import to_json
from harness.model.errors import CallquakeError
from harness.model.fault import Evidence, Fault, FaultEvent, FaultMoment

Tell = Callable[[FaultEvent], None]


class Injector:
    """Injects one fault. Every step is told as a FaultEvent, and `stop` may be called at any point, again and again."""

    def __init__(self, fault: Fault, means: Means, journal: Journal, tell: Tell, *, run: str = "") -> None:
        """`run`: the run directory, "" outside of one. Raises FaultError where `means` lack what the kind needs."""
        self.fault = fault
        self._journal, self._tell, self._run = journal, tell, run
        try:
            self._effect: Effect = kind_named(fault.kind).make(fault, means)
        except FaultError:
            raise
        except Exception as error:
            raise FaultError(f"{fault.name}: {_told(error)}") from error
        self._entry: Entry | None = None
        self._is_started = self._is_over = False
        # Undone, or told that it is not.
        self._is_settled = False
        self.last = Evidence()
        # What went wrong last; "" = nothing.
        self.failure = ""

    @property
    def is_in_force(self) -> bool:
        """Whether it was started and is not over."""
        return self._is_started and not self._is_over

    @property
    def outlives_us(self) -> bool:
        """Whether there is something to undo, and to be kept, when this process is gone."""
        return bool(self._effect.reverts)

    @property
    def entry(self) -> Entry | None:
        """What stands in the journal; None where nothing outlives us."""
        return self._entry

    def start(self, *, is_declared: bool = True) -> bool:
        """Inject it; False where that failed, which is told. `is_declared`: its specification was told before."""
        reverts, kind = self._effect.reverts, self.fault.kind
        # Set before, for `stop` must undo what was half done.
        self._is_started = True
        try:
            if reverts:
                self._entry = self._journal.add(
                    new_entry(entry_id(self.fault, self._run), kind, kind, utc_ms(), reverts, self._run)
                )
            self._effect.start()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and what was half done undone
            self._say(FaultMoment.FAILED, detail=_told(error), spec=None if is_declared else self.fault)
            self._undo_half_done()
            return False
        self._say(FaultMoment.STARTED, spec=None if is_declared else self.fault)
        return True

    def _undo_half_done(self) -> None:
        self._is_over = True
        try:
            self._effect.stop()
        except Exception as error:  # noqa: BLE001 - same
            self._say(FaultMoment.NOT_UNDONE, detail=_told(error))
            return
        self._is_settled = True
        self._forget()

    def _forget(self) -> None:
        if self._entry is not None:
            self._journal.remove(self._entry.id)
            self._entry = None

    def gather(self) -> Evidence:
        """Tell what it has done so far; what cannot be told just now is left out."""
        if self.is_in_force:
            try:
                self.last = self._effect.evidence()
            except Exception as error:  # noqa: BLE001 - a fault whose evidence fails is still to be undone
                self.last = replace(self.last, detail=_told(error))
            self._say(FaultMoment.EVIDENCE, evidence=self.last)
        return self.last

    def stop(self, why: str = "") -> Evidence:
        """Undo it. What could not be undone is told, and stays in the journal for the next command."""
        if not self._is_started or self._is_over:
            return self.last
        self._is_over = True
        try:
            self.last = self._effect.stop()
        except Exception as error:  # noqa: BLE001 - it stays in the journal
            self._say(FaultMoment.NOT_UNDONE, evidence=self.last, detail=_told(error))
            return self.last
        self._say(FaultMoment.STOPPED, evidence=self.last, detail=why)
        self._forget()
        return self.last

    def give_up(self, why: str) -> None:
        """Tell that it is not undone, where nobody knows that it is: a `stop` that somebody else called hangs."""
        if self._is_started and not self._is_settled:
            self._say(FaultMoment.NOT_UNDONE, evidence=self.last, detail=why)

    def _say(
        self, moment: FaultMoment, *, evidence: Evidence | None = None, detail: str = "", spec: Fault | None = None
    ) -> None:
        if moment in {FaultMoment.FAILED, FaultMoment.NOT_UNDONE}:
            self.failure = detail
        self._is_settled |= moment in {FaultMoment.STOPPED, FaultMoment.NOT_UNDONE}
        self._tell(FaultEvent(self.fault.name, moment, monotonic_ns(), utc_ms(), evidence, detail, spec))


def _told(error: Exception) -> str:
    """Return an error for people: ours and the system's say what is wrong, of any other the class does as well."""
    return str(error) if isinstance(error, CallquakeError | OSError) else f"{type(error).__name__}: {error}"


def declared(fault: Fault) -> FaultEvent:
    """Return the line that tells what a run means to inject."""
    return FaultEvent(fault.name, FaultMoment.DECLARED, monotonic_ns(), utc_ms(), spec=fault)


def entry_id(fault: Fault, run: str) -> str:
    """Return the fault's name in the journal, where faults of several runs stand side by side."""
    from_run = run.rstrip("/").rpartition("/")[2]
    return f"{from_run}.{fault.name}" if from_run else fault.name


def utc_ms() -> str:
    """Return the wall clock as records write it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def row_of(event: FaultEvent) -> Mapping[str, object]:
    """Return an event as a line of faults.jsonl holds it."""
    row: Mapping[str, object] = to_json(event)
    return row
