"""The echo loop by its name: calls in which the agent heard itself, and those in which it answered what it heard."""

from collections.abc import Sequence
from statistics import median

from harness.model.records import CallRecord, EchoFacts

_MOST_NAMED = 3
_BY_SOUND = (
    " It told no transcripts, so its answers are told by sound alone: a pause of 0.6 s and more within one long answer "
    "over an echo would look the same."
)


def notes_of_echo(calls: Sequence[CallRecord]) -> list[str]:
    """Return a sentence on calls whose agent answered itself, one on echo that it did not answer; [] for neither."""
    judged = [(call, call.echo) for call in calls if call.echo is not None and call.connected_at_ns is not None]
    heard = [(call, echo) for call, echo in judged if echo.copies]
    if not heard:
        return []
    answered = [(call, echo) for call, echo in heard if echo.self_answers]
    path = _path([echo for _call, echo in heard])
    if not answered:
        return [
            (
                f"The agent's own sound came back to it in {len(heard)} of {_calls(len(judged))} recorded {path}; it "
                "never answered itself."
            )
        ]
    by_sound = "" if all(echo.transcripts for _call, echo in answered) else _BY_SOUND
    times = sum(echo.self_answers for _call, echo in answered)
    named = ", ".join(call.call_id for call, _echo in answered[:_MOST_NAMED])
    more = f" and {len(answered) - _MOST_NAMED} more" if len(answered) > _MOST_NAMED else ""
    return [
        (
            f"Echo loop: in {len(answered)} of {_calls(len(judged))} recorded the agent answered its own voice, "
            f"{times} times in all ({named}{more}). Its sound came back {path}. Switch echo cancellation or echo "
            f"detection on.{by_sound}"
        )
    ]


def _path(echoes: Sequence[EchoFacts]) -> str:
    delay_ms, gain_db, strength = (
        median(values) if values else 0.0
        for values in (
            [echo.delay_ms for echo in echoes if echo.delay_ms is not None],
            [echo.gain_db for echo in echoes if echo.gain_db is not None],
            [echo.strength for echo in echoes if echo.strength is not None],
        )
    )
    return f"{delay_ms:.0f} ms later at {gain_db:+.0f} dB (medians; cross-correlation {strength:.2f})"


def _calls(n: int) -> str:
    return "1 call" if n == 1 else f"{n} calls"
