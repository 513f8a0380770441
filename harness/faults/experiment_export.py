"""Faults to a Chaos Toolkit experiment that injects them by `callquake fault`, as `chaos run` carries it out. Pure."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from harness.faults import engine_fault
from harness.faults.catalogue import KINDS
from harness.faults.experiment import OURS
from harness.model.fault import Fault, Where

_VERSION = "1.0.0"


def experiment_of(faults: Sequence[Fault], title: str, target: str, length_s: float) -> dict[str, Any]:
    """Return an experiment that injects `faults` by `callquake fault`, as `chaos run` carries it out.

    `target`: of the run, where the faults act by its admin API. `length_s`: of a fault that has no end of its own.
    """
    method: list[dict[str, Any]] = []
    rollbacks: list[dict[str, Any]] = []
    last_s = 0.0
    for fault in sorted(faults, key=lambda one: one.start_ms):
        at_s = fault.start_ms / 1000
        method.append(_action(fault, at_s - last_s, _end_s(fault, length_s) - at_s, target))
        rollbacks.append(_process(f"{fault.name} is over", ["fault", "stop", fault.name, *_where(fault)]))
        last_s = at_s
    ends_s = max((_end_s(fault, length_s) for fault in faults), default=0.0)
    if method:
        method[-1]["pauses"]["after"] = max(0.0, ends_s - last_s)
    probe = _process("callquake can be asked", ["version"], kind="probe")
    if target:
        probe = _process("the agent takes a call", ["probe", target], kind="probe")
    return {
        "version": _VERSION,
        "title": title,
        "description": "Faults of a Callquake scenario, which holds what they must do: symptoms and thresholds.",
        "tags": [OURS],
        "configuration": {"run_dir": {"type": "env", "key": "CALLQUAKE_RUN", "default": "reports/none"}},
        "steady-state-hypothesis": {"title": "The agent answers", "probes": [{**probe, "tolerance": 0}]},
        "method": method,
        "rollbacks": rollbacks,
    }


def _end_s(fault: Fault, length_s: float) -> float:
    return fault.start_ms / 1000 + (length_s if fault.duration_ms is None else fault.duration_ms / 1000)


def _action(fault: Fault, before_s: float, lasts_s: float, target: str) -> dict[str, Any]:
    words = ["fault", "start", fault.kind, *_parameter_words(fault), "--name", fault.name, "--for", f"{lasts_s:g}s"]
    if fault.filter.share < 1:
        words += ["--share", f"{fault.filter.share:g}"]
    if fault.seed:
        words += ["--seed", str(fault.seed)]
    if _is_by_admin(fault) and target:
        words += ["--target", target]
    action = _process(fault.name, [*words, *_where(fault)])
    return {**action, "background": True, "pauses": {"before": before_s, "after": 0.0}}


def _where(fault: Fault) -> list[str]:
    """Return the option that names the run, for faults that act on its calls."""
    return ["--run", "${run_dir}"] if _needs_run(fault) else []


def _needs_run(fault: Fault) -> bool:
    return KINDS[fault.kind].make is engine_fault.make


def _is_by_admin(fault: Fault) -> bool:
    return fault.where is Where.TARGET or KINDS[fault.kind].asks_admin


def _parameter_words(fault: Fault) -> Iterator[str]:
    for name, value in fault.parameters.items():
        if isinstance(value, list | tuple):
            yield f"{name}={','.join(map(str, value))}"
        elif isinstance(value, bool):
            yield f"{name}={'true' if value else 'false'}"
        else:
            yield f"{name}={value:.12g}" if isinstance(value, float) else f"{name}={value}"


def _process(name: str, words: list[str], kind: str = "action") -> dict[str, Any]:
    return {"type": kind, "name": name, "provider": {"type": "process", "path": OURS, "arguments": shlex.join(words)}}
