"""Do two machines plan the same calls? The same seed says the same words only where the same code draws them."""

import hashlib
import json

from harness.model.codec import to_json
from harness.scenario.check import Prepared

# Personas, words and pauses are drawn call by call, so that a few calls show any difference; due times all at once.
_CALLS = 20


def fingerprint(prepared: Prepared) -> str:
    """Return a digest of every due time and of the first calls."""
    due_ms = prepared.due_ms
    total = prepared.max_calls if due_ms is None else len(due_ms)
    n = _CALLS if total is None else min(total, _CALLS)
    plans = [to_json(prepared.planner.plan_for_index(i, due_ms[i] if due_ms else None)) for i in range(n)]
    for plan in plans:
        # Where they call may be changed from run to run; which of several targets may not.
        plan["target"] = plan["target"]["name"]
    text = json.dumps([total, due_ms, plans], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
