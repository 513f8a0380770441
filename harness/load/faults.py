"""The faults of one run, in Locust's process: started and ended at their times, and told as records.

Each fault has a greenlet of its own, so that one that hangs keeps no other waiting. What is in force when the run ends,
however it ends, is undone then; should this process be killed, the journal says what is left to undo.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event

from harness.faults.admin_client import END_TIMEOUT_S
from harness.faults.effect import Means
from harness.faults.errors import FaultError
from harness.faults.injection import Injector, declared, row_of
from harness.faults.journal import Journal, state_folder
from harness.faults.orders import Order, placed
from harness.faults.schedule import Due
from harness.model.clock import NS_PER_MS, monotonic_ns, ms_between
from harness.model.fault import Fault, FaultEvent, FaultMoment

# How often evidence is gathered, and leases are renewed.
GATHER_S = 2.0
# For the last evidence, and to undo what is in force.
_END_TIMEOUT_S = END_TIMEOUT_S + 15.0
_POLL_S = 0.05
# How often somebody may have asked for a fault, or for its end.
_ORDERS_S = 0.5
_RUN_ENDED, _WITHDRAWN = "the run ended", "nobody asks for it any more"

Write = Callable[[str, dict[str, Any]], None]


class RunFaults:
    """Injects the faults of one run. `elapsed_s` tells the run's time, None before its first call can be due."""

    def __init__(
        self, due: Sequence[Due], means: Means, run_dir: str, write: Write, elapsed_s: Callable[[], float | None]
    ) -> None:
        self._due = list(due)
        self._means, self._run_dir, self._write, self._elapsed_s = means, run_dir, write, elapsed_s
        self._journal = Journal(state_folder(os.environ))
        self._injectors: dict[str, Injector] = {}
        self._greenlets: list[Any] = []
        self._over = Event()

    def begin(self) -> None:
        """Tell what is meant to be injected, and wait for each to be due."""
        for one in self._due:
            self._tell(declared(one.fault))
            self._greenlets.append(gevent.spawn(self._carry_out, one))
        self._greenlets.append(gevent.spawn(self._take_orders))

    def end(self) -> None:
        """Undo everything; returns when that is done. May come from any side, more than once."""
        self._over.set()
        gevent.joinall(self._greenlets, timeout=_END_TIMEOUT_S)
        for injector in self._injectors.values():
            injector.stop(_RUN_ENDED)
            injector.give_up(f"nothing was heard of its end within {_END_TIMEOUT_S:g} s")

    def _carry_out(self, due: Due) -> None:
        if not self._wait_until(due.start_ms):
            return
        try:
            injector = self._new(due.fault)
        except FaultError as error:
            self._tell(_failed(due.fault, str(error)))
            return
        if injector.start():
            self._hold(injector, None if due.end_ms is None else due.end_ms - due.start_ms)

    def _take_orders(self) -> None:
        """Carry out what somebody asks for while the run goes on (faults/orders.py)."""
        withdrawn: dict[str, Event] = {}
        names = {due.fault.name for due in self._due}
        while not self._over.wait(_ORDERS_S):
            wanted = placed(Path(self._run_dir))
            for name in [name for name in withdrawn if name not in wanted]:
                withdrawn.pop(name).set()
            for name, order in wanted.items():
                if name not in names:
                    names.add(name)
                    withdrawn[name] = Event()
                    self._greenlets.append(gevent.spawn(self._carry_out_order, order, withdrawn[name]))

    def _carry_out_order(self, order: Order, withdrawn: Event) -> None:
        try:
            injector = self._new(order.fault)
        except FaultError as error:
            self._tell(_failed(order.fault, str(error)))
            return
        if injector.start(is_declared=False):
            self._hold(injector, order.fault.duration_ms, withdrawn)

    def _new(self, fault: Fault) -> Injector:
        injector = Injector(fault, self._means, self._journal, self._tell, run=self._run_dir)
        self._injectors[fault.name] = injector
        return injector

    def _hold(self, injector: Injector, length_ms: float | None, withdrawn: Event | None = None) -> None:
        """Gather evidence until the fault is to end."""
        ends_at_ns = None if length_ms is None else monotonic_ns() + round(length_ms * NS_PER_MS)
        while injector.is_in_force:
            left_s = GATHER_S if ends_at_ns is None else ms_between(monotonic_ns(), ends_at_ns) / 1000
            if left_s <= 0 or self._is_ended(min(left_s, GATHER_S), withdrawn):
                break
            if left_s > GATHER_S or ends_at_ns is None:
                injector.gather()
        injector.stop(_RUN_ENDED if self._over.is_set() else _WITHDRAWN if _is_set(withdrawn) else "")

    def _is_ended(self, timeout_s: float, withdrawn: Event | None) -> bool:
        """Wait so long, or until the run or whoever asked for the fault has it end."""
        gevent.wait([self._over, *([withdrawn] if withdrawn is not None else [])], timeout=timeout_s, count=1)
        return self._over.is_set() or _is_set(withdrawn)

    def _wait_until(self, at_ms: float) -> bool:
        """Wait for the run's time to come; False when the run ended before."""
        while not self._over.is_set():
            elapsed_s = self._elapsed_s()
            left_s = _POLL_S if elapsed_s is None else at_ms / 1000 - elapsed_s
            if elapsed_s is not None and left_s <= 0:
                return True
            gevent.sleep(min(left_s, 0.5))
        return False

    def _tell(self, event: FaultEvent) -> None:
        self._write("fault", dict(row_of(event)))


def _failed(fault: Fault, why: str) -> FaultEvent:
    told = declared(fault)
    return FaultEvent(fault.name, FaultMoment.FAILED, told.at_ns, told.at, detail=why, spec=fault)


def _is_set(event: Event | None) -> bool:
    return event is not None and event.is_set()
