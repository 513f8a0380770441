"""The bundled agent's own metrics while a run goes: GPUs, rate limits, lost replies, into target.jsonl.

Only an agent that says in its /healthz that it is ours is asked; no other is polled. One on another machine shows its
metrics for its admin token: it is given CALLQUAKE_ADMIN_TOKEN, where that is set, once it has asked for it.
"""

import contextlib
import http.client
import json
import math
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from harness.faults.command_line import TOKEN_VARIABLE
from harness.measure.target_series import CONTEXT_OVERFLOWS, GPU_UTILISATION, RATE_LIMIT_HITS
from harness.model.clock import monotonic_ns
from harness.model.codec import to_json
from harness.model.prometheus_text import samples_of
from harness.model.target_sample import TargetSample

TARGET_FILE = "target.jsonl"
_EVERY_S, _TIMEOUT_S, _MOST_BYTES = 5.0, 3.0, 4_000_000
_GPU = "callquake_gpu_utilisation_ratio"
# Counters, of all label values together, and what they are called in a run.
_COUNTERS = {
    "callquake_rate_limited_total": RATE_LIMIT_HITS,
    "callquake_llm_lost_to_overflow_total": CONTEXT_OVERFLOWS,
}


class MetricsReader:
    """Makes samples of an exposition's text; a counter's sample is what it grew by since the last text."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def read(self, text: str, at_ns: int) -> Iterator[TargetSample]:
        """Yield what the text (Prometheus exposition format 0.0.4) tells."""
        counted: dict[str, float] = {}
        for sample in samples_of(text):
            # NaN is how a gauge says that it knows nothing.
            if not math.isfinite(sample.value):
                continue
            if sample.name == _GPU:
                yield TargetSample(at_ns, GPU_UTILISATION, sample.value, sample.label_text)
            elif sample.name in _COUNTERS:
                counted[sample.name] = counted.get(sample.name, 0.0) + sample.value
        for name, total in counted.items():
            before = self._last.get(name)
            self._last[name] = total
            if before is not None:
                # A counter that fell began anew.
                yield TargetSample(at_ns, _COUNTERS[name], total - before if total >= before else total)


class TargetPoll:
    """Asks /metrics of the target every few seconds, in a thread of its own."""

    def __init__(self, target_url: str, run_dir: Path, every_s: float = _EVERY_S) -> None:
        parts = urlsplit(target_url)
        scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
        self._url = f"{scheme}://{parts.netloc}/metrics"
        self._path, self._every_s = run_dir / TARGET_FILE, every_s
        # Once it was asked for.
        self._token = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="target", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def close(self) -> None:
        """End; at most one time-out later."""
        self._stop.set()
        self._thread.join(_TIMEOUT_S + 1)

    def _poll(self) -> None:
        reader = MetricsReader()
        while True:
            # An agent that does not answer tells nothing: not measured.
            with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
                text = self._page()
                rows = [json.dumps(to_json(sample)) + "\n" for sample in reader.read(text, monotonic_ns())]
                if rows:
                    with self._path.open("a", encoding="utf-8") as file:
                        file.writelines(rows)
            if self._stop.wait(self._every_s):
                return

    def _page(self) -> str:
        try:
            return self._asked()
        except urllib.error.HTTPError as error:
            token = os.environ.get(TOKEN_VARIABLE, "")
            if error.code != http.HTTPStatus.UNAUTHORIZED or not token or self._token:
                raise
            self._token = token
            return self._asked()

    def _asked(self) -> str:
        request = urllib.request.Request(self._url)  # noqa: S310 (a target's origin)
        if self._token:
            # For the target alone: wherever it sends us on to gets none.
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 (the same)
            text: bytes = answer.read(_MOST_BYTES)
        return text.decode("utf-8", "replace")
