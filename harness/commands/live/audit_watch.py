"""The leak audit's sampler: a thread beside the run that writes what processes hold, and waits for rest after it.

The first round is taken before the run begins, so that there is something to come back to. After the run rounds go on
until every count is back, or the scenario's `drain_s` is over.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.commands.live.process_readings import OwnProcesses, read_process
from harness.commands.live.target_processes import TargetProcesses
from harness.measure.audit_rows import Load
from harness.measure.audit_rules import rules_of
from harness.measure.leak_audit import is_at_rest
from harness.model.audit_sample import AuditSample, Side
from harness.model.clock import monotonic_ns
from harness.model.codec import to_json
from harness.scenario.audit_block import AuditBlock
from harness.scenario.run_dir import RUN_FILE, write_json

AUDIT_FILE, RULES_FILE = "audit.jsonl", "audit-rules.json"
# Rounds after the run: answers to goodbyes, and timers of a second, are given time first.
_SETTLE_S, _DRAIN_EVERY_S = 2.0, 1.0
_JOIN_S = 10.0


class AuditWatch:
    """Samples from `start` to `close`. `say` prints a line for people."""

    def __init__(
        self, run_dir: Path, block: AuditBlock, target: TargetProcesses, say: Callable[[str], None] = print
    ) -> None:
        self._run_dir, self._block, self._target, self._say = run_dir, block, target, say
        self._rules = rules_of(block.model_dump(mode="json"))
        self._own = OwnProcesses()
        self._before: list[AuditSample] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="audit", daemon=True)

    def start(self) -> None:
        """Write the rules and the first round, and go on beside the run."""
        write_json(self._run_dir / RULES_FILE, self._block.model_dump(mode="json"))
        self._before = self._round()
        self._thread.start()

    def close(self) -> None:
        """End the rounds of the run, then wait for rest; Ctrl-C ends the wait, and the report says what was seen."""
        self._stop.set()
        self._thread.join(_JOIN_S)
        with contextlib.suppress(KeyboardInterrupt):
            self._drain(0.0 if self._was_interrupted() else self._rules.drain_s)

    def _watch(self) -> None:
        due = time.monotonic()
        while True:
            # From a start and not from the last round, which took its time.
            due = max(due + self._rules.every_s, time.monotonic())
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            self._round()

    def _drain(self, limit_s: float) -> None:
        began = time.monotonic()
        time.sleep(min(_SETTLE_S, limit_s))
        has_told = False
        while True:
            found = self._round(is_after=True)
            left_s = limit_s - (time.monotonic() - began)
            if left_s <= 0 or Side.TARGET not in self._rules.sides or not any(s.values for s in found):
                return
            if is_at_rest([*self._before, *found], self._rules, Load()):
                return
            if not has_told:
                has_told = True
                self._say(f"leak audit: waiting for the target to come to rest, {left_s:.0f} s at most")
            time.sleep(min(_DRAIN_EVERY_S, left_s))

    def _was_interrupted(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            info: Any = json.loads((self._run_dir / RUN_FILE).read_text(encoding="utf-8"))
            return bool(info.get("status") == "interrupted")
        return True

    def _round(self, *, is_after: bool = False) -> list[AuditSample]:
        at_ns = monotonic_ns()
        found = [one for side in self._rules.sides for one in self._sample(side, at_ns, is_after)]
        rows = "".join(json.dumps(to_json(one), allow_nan=False) + "\n" for one in found)
        with contextlib.suppress(OSError), (self._run_dir / AUDIT_FILE).open("a", encoding="utf-8") as file:
            file.write(rows)
        return found

    def _sample(self, side: Side, at_ns: int, is_after: bool) -> list[AuditSample]:
        if side is Side.OWN:
            read = [(name, pid, *read_process(pid)) for name, pid in self._own.now()]
            # A process that ended between two looks is none.
            return [AuditSample(at_ns, side, name, pid, held, why, is_after) for name, pid, held, why in read if held]
        found = []
        for known in self._target.now():
            if known.is_ordered:
                found.append(AuditSample(at_ns, side, known.name, known.pid, {}, "", is_after, is_ordered=True))
                continue
            held, why = read_process(known.pid, known.started_at) if known.pid else ({}, known.why)
            found.append(AuditSample(at_ns, side, known.name, known.pid, {**held, **known.told}, why, is_after))
        return found
