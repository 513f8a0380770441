"""Records with sane values, so that a test names only the fields it is about."""

from typing import Any

from harness.model.histogram import Histogram
from harness.model.plan import Persona
from harness.model.records import CallRecord, Cause, HealthSample, MediaStats, Outcome, SetupTimes, TurnRecord

MS = 1_000_000


def make_turn(call_id: str = "c1", turn: int = 1, ttfb_ms: float | None = 600.0, **fields: Any) -> TurnRecord:
    """An answered turn; `ttfb_ms=None` makes it one that was never answered in 15 s."""
    ended = 10_000 * MS
    values: dict[str, Any] = {
        "attempt": 0,
        "caller": "regular",
        "utterance_id": "u1",
        "reference": "book a table for two",
        "accent": "american",
        "native": True,
        "noise": "none",
        "snr_db": None,
        "vocabulary": "general",
        "utterance_ms": 3_500.0,
        "codec": "opus",
        "speech_started_at_ns": 6_500 * MS,
        "speech_ended_at_ns": ended,
        "onset_at_ns": None if ttfb_ms is None else ended + int(ttfb_ms * MS),
        "censored": ttfb_ms is None,
        "waited_ms": 15_000.0 if ttfb_ms is None else ttfb_ms,
        "false_endpoint": False,
        "cut": False,
    }
    return TurnRecord(call_id=call_id, turn=turn, ttfb_ms=ttfb_ms, **(values | fields))


def make_persona(name: str = "Ada Example", accent: str = "american") -> Persona:
    return Persona(name, "+1 555 0100", "US", accent, "average")


def make_call(
    call_id: str = "c1", outcome: Outcome = Outcome.COMPLETED, cause: Cause = Cause.NONE, **fields: Any
) -> CallRecord:
    """A call; a failed one was never connected and was tried for 2 s."""
    connected = outcome is not Outcome.FAILED
    values: dict[str, Any] = {
        "index": 0,
        "worker": "w0",
        "caller": "regular",
        "persona": make_persona(),
        "detail": "",
        "transport": "webrtc",
        "codec": "opus" if connected else None,
        "due_at_ns": 1_000 * MS,
        "started_at_ns": 1_000 * MS,
        "connected_at_ns": 1_400 * MS if connected else None,
        "ended_at_ns": 40_000 * MS if connected else 3_000 * MS,
        "arrival_lateness_ms": 0.5,
        "setup": SetupTimes(signalling_ms=100.0, ice_ms=200.0, dtls_ms=100.0, total_ms=400.0)
        if connected
        else SetupTimes(),
        "greeting_ms": 900.0 if connected else None,
        "turns_planned": 3,
        "turns_answered": 3 if connected else 0,
        "media": MediaStats(),
    }
    return CallRecord(call_id=call_id, outcome=outcome, cause=cause, **(values | fields))


def make_health(at_s: float = 1.0, lateness_ms: tuple[float, ...] = (0.1, 0.2, 0.4), **fields: Any) -> HealthSample:
    values: dict[str, Any] = {
        "worker": "w0",
        "interval_ms": 1_000.0,
        "calls_active": 2,
        "ticks": len(lateness_ms),
        "tick_lateness_ms": Histogram.of(lateness_ms).to_json(),
        "cpu_ratio": 0.2,
        "host_cpu_ratio": 0.4,
        "packets_sent": 500,
        "packets_received": 500,
        "send_errors": 0,
        "socket_drops": 0,
        "loop_lag_ms": 1.0,
    }
    return HealthSample(at_ns=int(at_s * 1_000) * MS, **(values | fields))
