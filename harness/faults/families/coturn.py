"""A TURN server that is gone: coturn, or any other process that answers STUN, stopped or ended."""

from collections.abc import Mapping
from typing import Any

from harness.faults.effect import Effect, Means, Undoing
from harness.faults.errors import FaultError
from harness.faults.families.process import RESTART, WHICH, Killed, Stopped, find_process, one_of
from harness.faults.kind import Kind
from harness.faults.parameter import choice, text
from harness.faults.stun_probe import answers
from harness.model.fault import Direction, Evidence, Fault, Symptom, Where

# Each takes a second where nobody answers.
_TRIES_BACK = 10
_WHAT = "STUN requests unanswered"


class _SilentTurn(Undoing):
    """The process, and requests of ours that show what its clients meet."""

    def __init__(self, fault: Fault, process: Effect, address: tuple[str, int]) -> None:
        super().__init__(process.reverts, _WHAT)
        self._fault, self._process, self._address = fault, process, address
        self._asked = self._unanswered = 0

    def start(self) -> None:
        """Take it away. Raises FaultError, also where it did not answer before."""
        if not answers(self._address):
            host, port = self._address
            raise FaultError(f"{self._fault.name}: {host}:{port} answers no STUN before the fault, either")
        self._process.start()
        self._is_in_force = True

    def _look(self) -> Evidence:
        """Ask once more, and return how many requests went unanswered while the process was away."""
        self._asked += 1
        self._unanswered += not answers(self._address, tries=1)
        process = self._process.evidence()
        counts = {"stun_requests": self._asked, **process.counts}
        return Evidence(self._unanswered if process.touched else 0, _WHAT, counts, detail=process.detail)

    def _undo(self) -> None:
        """Bring the process back, and wait until it answers. Raises FaultError where it does not."""
        self._process.stop()
        # Ended and not started again by us, it is somebody else's to bring back.
        if self.reverts and not any(answers(self._address) for _ in range(_TRIES_BACK)):
            host, port = self._address
            raise FaultError(f"{self._fault.name}: {host}:{port} answers no STUN since it was brought back")


def _address(text_: str) -> tuple[str, int]:
    host, _, port = text_.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) <= 65_535:
        raise ValueError(f"address {text_!r}; legal: HOST:PORT")
    return host.strip("[]"), int(port)


def _rule(parameters: Mapping[str, Any]) -> str:
    try:
        _address(str(parameters["address"]))
    except ValueError as error:
        return str(error)
    if parameters["how"] == "stop" and "restart" in parameters:
        return "restart is for how: kill; a stopped process goes on by itself"
    return one_of(parameters)


def _make(fault: Fault, means: Means) -> Effect:
    process = find_process(fault, means)
    effect: Effect = Stopped(fault, process)
    if fault.parameters["how"] == "kill":
        effect = Killed(fault, means, process)
    return _SilentTurn(fault, effect, _address(str(fault.parameters["address"])))


KINDS = (
    Kind(
        name="coturn.stop",
        where=Where.INFRASTRUCTURE,
        about="a TURN server is gone: its process is stopped, or ended",
        parameters=(
            *WHICH,
            text("address", "where it answers STUN over UDP", "127.0.0.1:3478"),
            choice("how", "stop: it stands still; kill: SIGKILL", ("stop", "kill"), "stop"),
            RESTART,
        ),
        evidence="STUN requests of ours that it answered before and does not answer now",
        reverts="it goes on, or `restart` is run; journalled",
        make=_make,
        needs="the right to signal it; STUN over UDP to it from here",
        symptoms=(Symptom("error_rate", Direction.UP, 0.1),),
        example={"pattern": "turnserver"},
        rule=_rule,
        filters=(),
    ),
)
