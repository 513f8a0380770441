"""Alerts while a run goes: the runbook's rules over what has reached the disk, told on stderr, to a file, to a webhook.

A thread beside the run, in a process that has nothing else to do. It takes at most a twentieth of a core: after each
look it rests for twenty times as long as that took. What it tells is the run's so far; the report judges all of it.
"""

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.commands.live.arrived import Arrivals, Arrived
from harness.commands.live.webhook import Webhook
from harness.report.alert_words import to_json, words
from harness.scenario.run_dir import RUN_FILE, utc_now
from harness.verdict.alerts import Alert, alerts_of
from harness.verdict.rules import Rule

LIVE_FILE = "alerts-live.jsonl"
_EVERY_S, _REST = 2.0, 20.0
Told = Callable[[str, Alert], None]


class Watcher:
    """Remembers which alerts are firing; `look` tells what changed. Without a thread, a clock or a file."""

    def __init__(self, rules: Sequence[Rule], tell: Told) -> None:
        """`tell` gets "firing" or "resolved", and the alert."""
        self._rules, self._tell = rules, tell
        self._firing: dict[tuple[str, str], Alert] = {}

    def look(self, arrived: Arrived) -> None:
        """Take the run as it is now."""
        latest = {(alert.rule.name, alert.segment): alert for alert in alerts_of(self._rules, arrived)}
        for key, alert in latest.items():
            before = self._firing.get(key)
            if before is None and alert.ended_ns is None:
                self._firing[key] = alert
                self._tell("firing", alert)
            elif before is not None and alert.ended_ns is not None:
                del self._firing[key]
                self._tell("resolved", alert)
        for key in self._firing.keys() - latest.keys():
            self._tell("resolved", self._firing.pop(key))

    def keep_s(self) -> float:
        """Return how much of the past the rules need."""
        spans = [(r.when.clauses.sustained_ms or 0) + 2 * (r.when.clauses.window_ms or 0) for r in self._rules]
        return 60.0 + max(spans, default=0.0) / 1000


class AlertWatch:
    """The thread: reads `run_dir`, looks, tells."""

    def __init__(
        self,
        run_dir: Path,
        run_id: str,
        rules: Sequence[Rule],
        *,
        webhook: Webhook | None = None,
        target_info: Mapping[str, Any] | None = None,
        every_s: float = _EVERY_S,
    ) -> None:
        self._run_dir, self._run_id, self._webhook, self._every_s = run_dir, run_id, webhook, every_s
        self._watcher = Watcher(rules, self._tell)
        self._arrivals = Arrivals(run_dir, self._watcher.keep_s() * 1e9, target_info=target_info)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="alerts", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        if self._webhook is not None:
            self._webhook.start()
        self._thread.start()

    def close(self) -> None:
        """Look once more, and end; says on stderr what the webhook never got."""
        self._stop.set()
        self._thread.join(30.0)
        if self._webhook is None:
            return
        self._webhook.close()
        if self._webhook.lost:
            _say(f"webhook: {self._webhook.lost} alerts were not delivered ({self._webhook.last_error})")

    def _watch(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._stop.is_set()
            began = time.monotonic()
            # Whatever goes wrong here must not reach the run, and must not be silent.
            try:
                self._watcher.look(self._arrivals.read())
            except Exception as error:  # noqa: BLE001 (the run goes on; the report judges again)
                _say(f"alerts: {error!r}")
                return
            self._stop.wait(max(self._every_s, _REST * (time.monotonic() - began)))

    def _tell(self, state: str, alert: Alert) -> None:
        begun_ns = self._begun_ns()
        row = {"run_id": self._run_id, "state": state, "at": utc_now(), **to_json(alert, begun_ns)}
        if state == "firing":
            _say(f"ALERT {words(alert, begun_ns)}")
        else:
            _say(f"resolved: {alert.rule.severity} {alert.title}")
        with contextlib.suppress(OSError), (self._run_dir / LIVE_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        if self._webhook is not None:
            self._webhook.post(row)

    def _begun_ns(self) -> float | None:
        with contextlib.suppress(OSError, ValueError):
            info = json.loads((self._run_dir / RUN_FILE).read_text(encoding="utf-8"))
            begun = info.get("first_due_monotonic_ns") or info.get("started_monotonic_ns")
            return None if begun is None else float(begun)
        return None


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        # A progress line may stand on the terminal.
        print(f"\r\x1b[K{text}" if sys.stderr.isatty() else text, file=sys.stderr, flush=True)
