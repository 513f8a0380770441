"""Alerts to a webhook: a thread of its own, bounded in everything, so that no run ever waits for it."""

import contextlib
import json
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from harness.model.errors import ScenarioError

ATTEMPTS = 3
TIMEOUT_S = 5.0
_FIRST_WAIT_S = 1.0
_MOST_WAITING = 200


def check_url(url: str) -> str:
    """Return `url`; raises ScenarioError where it is none that can be posted to."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ScenarioError(f"--webhook: got {url!r}; legal: http://HOST[:PORT]/PATH, or https://")
    return url


class Webhook:
    """Posts JSON objects in order; each is tried `ATTEMPTS` times, and what cannot be delivered is counted."""

    def __init__(self, url: str, first_wait_s: float = _FIRST_WAIT_S) -> None:
        self._url, self._first_wait_s = url, first_wait_s
        self._waiting: queue.Queue[Mapping[str, Any] | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._deliver, name="webhook", daemon=True)
        self._is_closing = threading.Event()
        self.delivered = 0
        self.lost = 0
        self.last_error = ""

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def post(self, message: Mapping[str, Any]) -> None:
        """Hand a message over; returns at once. One too many is lost, and counted."""
        try:
            self._waiting.put_nowait(message)
        except queue.Full:
            self.lost += 1
            self.last_error = "too many alerts waited"

    def close(self, timeout_s: float = 10.0) -> None:
        """Deliver what waits, for `timeout_s` at most; the rest is lost, and counted."""
        self._is_closing.set()
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=timeout_s)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self.lost += self._waiting.qsize()

    def _deliver(self) -> None:
        while (message := self._waiting.get()) is not None:
            if self._try(message):
                self.delivered += 1
            else:
                self.lost += 1

    def _try(self, message: Mapping[str, Any]) -> bool:
        wait_s = self._first_wait_s
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(wait_s)
                wait_s *= 2
            try:
                self._post(message)
            except (OSError, urllib.error.URLError, ValueError) as error:
                self.last_error = str(error)
            else:
                return True
        return False

    def _post(self, message: Mapping[str, Any]) -> None:
        body = json.dumps(message, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "callquake"}
        request = urllib.request.Request(self._url, body, headers, method="POST")  # noqa: S310 (checked by check_url)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 (same)
            answer.read(1_000)
