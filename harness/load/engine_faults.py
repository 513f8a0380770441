"""The engines of a run as faults see them: told to begin and end, their evidence gathered as it comes."""

from collections.abc import Callable
from typing import Any, Protocol

import gevent

from harness.faults.effect import sum_of
from harness.faults.errors import FaultError
from harness.model.clock import NS_PER_S, monotonic_ns
from harness.model.codec import from_json, to_json
from harness.model.fault import Evidence, Fault

# For the last evidence of every engine, once told to let go.
_END_TIMEOUT_S = 5.0
_POLL_S = 0.02


class Engines(Protocol):
    """A Session, or a Cluster of them."""

    @property
    def engines(self) -> list[str]:
        """Whose word is awaited."""

    def begin_fault(self, fault: dict[str, Any]) -> None:
        """Have every engine put a fault on its calls."""

    def end_fault(self, name: str) -> None:
        """Have every engine let go of a fault."""


class RunEngines:
    """`EngineFaults` over whatever places the calls. `find`: that, None before there is one and once it is gone."""

    def __init__(self, find: Callable[[], Engines | None]) -> None:
        self._find = find
        self._begun: dict[str, Fault] = {}
        # By fault and worker.
        self._last: dict[str, dict[str, Evidence]] = {}
        self._over: dict[str, set[str]] = {}

    def take(self, row: dict[str, Any]) -> None:
        """Take an engine's word on a fault."""
        name, worker = str(row["name"]), str(row["worker"])
        self._last.setdefault(name, {})[worker] = from_json(Evidence, row["evidence"])
        if row["is_over"]:
            self._over.setdefault(name, set()).add(worker)

    def begin_fault(self, fault: Fault) -> None:
        """Put it on all calls. Raises FaultError where nobody places any."""
        engines = self._find()
        if engines is None:
            raise FaultError(f"{fault.name}: no engine places calls")
        self._begun[fault.name] = fault
        self._last[fault.name], self._over[fault.name] = {}, set()
        engines.begin_fault(to_json(fault))

    def fault_evidence(self, name: str) -> Evidence:
        """Return what has been told; engines that have told nothing are told of the fault once more."""
        engines, told = self._find(), self._last.get(name, {})
        if engines is not None and set(engines.engines) - set(told):
            engines.begin_fault(to_json(self._begun[name]))
        return sum_of(list(told.values()))

    def end_fault(self, name: str) -> Evidence:
        """Have it ended, and wait a while for every engine's last word."""
        engines = self._find()
        if engines is not None:
            engines.end_fault(name)
            until_ns = monotonic_ns() + round(_END_TIMEOUT_S * NS_PER_S)
            while set(engines.engines) - self._over.get(name, set()) and monotonic_ns() < until_ns:
                gevent.sleep(_POLL_S)
        return sum_of(list(self._last.get(name, {}).values()))
