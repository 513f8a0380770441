"""The tags by which turns and calls are told apart, in breakdowns and in threshold filters.

A turn: accent, native ("true" or "false"), noise, snr_db ("none" for clean speech), codec, vocabulary, length, caller,
target, transport, and every key of the record's own `tags`. A call: caller, accent, region, patience, transport, codec,
target. The target is "" where a scenario has one, the transport of a turn where its record is of a time before it.
"""

from harness.model.records import CallRecord, TurnRecord

TURN_TAGS = ("accent", "native", "noise", "snr_db", "codec", "vocabulary", "length", "caller", "target", "transport")
CALL_TAGS = ("caller", "accent", "region", "patience", "transport", "codec", "target")

# Whisper reads 30 s windows, so longer speech is a case of its own.
_LENGTHS = ((4_000.0, "0-4 s"), (8_000.0, "4-8 s"), (12_000.0, "8-12 s"), (30_000.0, "12-30 s"))


def length_of(utterance_ms: float) -> str:
    """Return the length bucket of an utterance; a bucket holds its lower edge."""
    return next((name for below, name in _LENGTHS if utterance_ms < below), "30 s+")


def turn_tags(turn: TurnRecord) -> dict[str, str]:
    """Return every tag of a turn, as text."""
    return {
        **turn.tags,
        "accent": turn.accent,
        "native": "true" if turn.native else "false",
        "noise": turn.noise,
        "snr_db": "none" if turn.snr_db is None else f"{turn.snr_db:g}",
        "codec": turn.codec,
        "vocabulary": turn.vocabulary,
        "length": length_of(turn.utterance_ms),
        "caller": turn.caller,
        "target": turn.target,
        "transport": turn.transport,
    }


def call_tags(call: CallRecord) -> dict[str, str]:
    """Return every tag of a call, as text."""
    return {
        "caller": call.caller,
        "accent": call.persona.accent,
        "region": call.persona.region,
        "patience": call.persona.patience,
        "transport": call.transport,
        "codec": call.codec or "none",
        "target": call.target,
    }
