"""Our records as Locust requests: one a call set-up, one a turn's TTFB, one a call. Locust's own tables show these.

Locust keeps two digits of a response time; verdicts are never taken from here.
"""

from collections.abc import Callable
from typing import Any

TYPE = "webrtc"
SETUP, TTFB, CALL = "call set-up", "turn TTFB", "call"

Fire = Callable[..., None]


class CallFailedError(Exception):
    """A call or turn that did not do what it was to; the text is what Locust groups failures by."""


class RequestEvents:
    """Fires `events.request` for records as they come."""

    def __init__(self, fire: Fire) -> None:
        self._fire = fire
        # Of calls that go on.
        self._set_up: set[str] = set()

    def take(self, kind: str, row: dict[str, Any]) -> None:
        """Fire what one record or milestone amounts to."""
        if kind == "milestone" and row["name"] == "connected" and row["value_ms"] is not None:
            self._setup(row["call_id"], row["value_ms"], None)
        elif kind == "turn" and not row["cut"]:
            self._turn(row)
        elif kind == "call":
            if row["outcome"] not in {"interrupted", "lost"}:
                self._call(row)
            self._set_up.discard(row["call_id"])

    def _setup(self, call_id: str, time_ms: float | None, failure: str | None) -> None:
        if call_id not in self._set_up:
            self._set_up.add(call_id)
            self._request(SETUP, time_ms, failure)

    def _turn(self, row: dict[str, Any]) -> None:
        if row["out_of_step"] and not row["censored"]:
            # Its time may belong to an earlier utterance.
            self._request(TTFB, None, "answered after an earlier utterance had timed out")
        elif row["false_endpoint"] and not row["censored"]:
            # It has no time to first byte: the agent was there before the end of speech.
            self._request(TTFB, None, "the agent spoke before the user had finished")
        elif row["censored"] or row["ttfb_ms"] is None:
            self._request(TTFB, row["waited_ms"], "no answer while it was waited for")
        else:
            self._request(TTFB, row["ttfb_ms"], None)

    def _call(self, row: dict[str, Any]) -> None:
        length_ms = (row["ended_at_ns"] - row["started_at_ns"]) / 1e6
        failure = None if row["outcome"] == "completed" else row["cause"]
        if row["connected_at_ns"] is None:
            self._setup(row["call_id"], length_ms, failure)
        else:
            self._setup(row["call_id"], row["setup"]["total_ms"], None)
        self._request(CALL, length_ms, failure)

    def _request(self, name: str, time_ms: float | None, failure: str | None) -> None:
        self._fire(
            request_type=TYPE,
            name=name,
            response_time=time_ms,
            response_length=0,
            exception=None if failure is None else CallFailedError(failure),
            context={},
        )
