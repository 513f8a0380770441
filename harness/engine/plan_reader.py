"""Plans off the wire. All calls of a run share their target and limits but for the name: each is read once."""

from typing import Any

from harness.model.codec import from_json
from harness.model.plan import CallLimits, CallPlan, TargetSpec

# Parts of a plan, frozen, that thousands of calls have in common.
_SHARED: dict[str, type[TargetSpec | CallLimits]] = {"target": TargetSpec, "limits": CallLimits}
# Targets of a run; more of them are read anew.
_KEPT = 8


class PlanReader:
    """Reads the plans of one engine."""

    def __init__(self) -> None:
        # What was read lately, beside what it was read from: comparing is many times faster than reading.
        self._known: dict[str, list[tuple[Any, Any]]] = {name: [] for name in _SHARED}

    def read(self, raw: dict[str, Any]) -> CallPlan:
        """Return the plan in `raw`, which is the reader's from here on; TypeError, ValueError as from_json has them."""
        shared = {name: self._read(name, raw[name]) for name in _SHARED if name in raw}
        return from_json(CallPlan, {**raw, **shared})

    def _read(self, name: str, raw: Any) -> Any:
        known = self._known[name]
        for before, value in known:
            if before == raw:
                return value
        value = from_json(_SHARED[name], raw)
        known.append((raw, value))
        del known[:-_KEPT]
        return value
