"""Faults to a Chaos Toolkit experiment that injects them by `callquake fault`, as `chaos run` carries it out. Pure."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from harness.faults import engine_fault
from harness.faults.catalogue import KINDS
from harness.faults.experiment import ExperimentError
from harness.faults.experiment_rollbacks import OURS
from harness.model.fault import Fault, Where

_VERSION = "1.0.0"
_RUN_DIR = "${run_dir}"


def experiment_of(faults: Sequence[Fault], title: str, target: str, length_s: float, admin: str = "") -> dict[str, Any]:
    """Return an experiment that injects `faults` by `callquake fault`, as `chaos run` carries it out.

    `target`: of the run. `length_s`: of a fault that has no end of its own. `admin`: where faults of the target are
    asked for; "" = at the target's own origin. Raises ExperimentError for a fault that the command line cannot ask for.
    """
    if problems := [said for fault in faults for said in _problems(fault)]:
        raise ExperimentError("\n".join(problems))
    where = ["--admin", admin] if admin else ["--target", target] if target else []
    ordered = sorted(faults, key=lambda one: one.start_ms)
    probe = _process("callquake can be asked", ["version"], kind="probe")
    if target:
        probe = _process("the agent takes a call", ["probe", target], kind="probe")
    return {
        "version": _VERSION,
        "title": title,
        "description": "Faults of a Callquake scenario, which holds what they must do: symptoms and thresholds. Files "
        "and programs are named as in it, from its folder.",
        "tags": [OURS],
        "configuration": {"run_dir": {"type": "env", "key": "CALLQUAKE_RUN", "default": "reports/none"}},
        "steady-state-hypothesis": {"title": "The agent answers", "probes": [{**probe, "tolerance": 0}]},
        "method": [_action(fault, length_s, where) for fault in ordered],
        "rollbacks": [
            _process(f"{fault.name} is over", ["fault", "stop", fault.name, *_in_run(fault)]) for fault in ordered
        ],
    }


def _problems(fault: Fault) -> Iterator[str]:
    """Yield what of a fault `callquake fault start` has no words for: without it, it would be another one."""
    for name, chosen in (("callers", fault.filter.callers), ("targets", fault.filter.targets)):
        if chosen:
            said = f"{name}: [{', '.join(chosen)}]"
            yield f"{fault.name}: filter: {said}: `callquake fault start` cannot choose so; legal there: share"
    for name, value in fault.parameters.items():
        if isinstance(value, list | tuple) and any("," in str(part) for part in value):
            yield f"{fault.name}: parameters.{name}: a comma in it parts it in two on a command line; legal: without"


def _action(fault: Fault, length_s: float, where: Sequence[str]) -> dict[str, Any]:
    """Return what begins a fault at its time, in the background for as long as it lasts.

    The Toolkit begins all that is in the background with the method, and has each wait by itself: the pause before it
    is the time from the method's begin. None is needed after it: the Toolkit waits for what is in the background.
    """
    lasts_s = length_s if fault.duration_ms is None else fault.duration_ms / 1000
    words = ["fault", "start", fault.kind, *_parameter_words(fault), "--name", fault.name]
    words += ["--for", f"{lasts_s:.12g}s"]
    if fault.filter.share < 1:
        words += ["--share", f"{fault.filter.share:.12g}"]
    if fault.seed:
        words += ["--seed", str(fault.seed)]
    if _is_by_admin(fault):
        words += where
    action = _process(fault.name, [*words, *_in_run(fault)])
    return {**action, "background": True, "pauses": {"before": fault.start_ms / 1000}}


def _in_run(fault: Fault) -> list[str]:
    """Return the option that names the run, for faults that act on its calls."""
    return ["--run", _RUN_DIR] if KINDS[fault.kind].make is engine_fault.make else []


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
    # The Toolkit reads a $ as the begin of a name of its own.
    said = shlex.join(words).replace("$", "$$").replace(_RUN_DIR.replace("$", "$$"), _RUN_DIR)
    return {"type": kind, "name": name, "provider": {"type": "process", "path": OURS, "arguments": said}}
