"""What processes that share emulated servers say to each other: JSON lines over a Unix socket. No audio crosses it.

to the pool     {"n": 7, "job": {...}}      a piece of work, by a number of the asker's
                {"n": 7}                    never mind
from the pool   {"n": 7, "word": "Of"}      of a reply
                {"n": 7, "served": {...}}   done; of a reply: over
                {"n": 7, "error": {...}}    not done, with what the stage raised

Either side may go at any time: who asked is told so, what was asked for is taken back.
"""

import json
from dataclasses import asdict
from typing import Any

from target_stack.emulation.work import EmulatedFailureError, Job, Served
from target_stack.stages.llm import LlmError
from target_stack.stages.worker import QueueFullError


class PoolRefusedError(QueueFullError):
    """The pool's queue was full, or would have been too late. `retry_after_ms`: by when there may be room."""

    def __init__(self, text: str, retry_after_ms: float) -> None:
        super().__init__(text)
        self.retry_after_ms = retry_after_ms


def line(message: dict[str, Any]) -> bytes:
    """Return the message as a line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def ask(number: int, job: Job) -> bytes:
    """Return the line that asks for a piece of work."""
    return line({"n": number, "job": asdict(job)})


def job_of(message: dict[str, Any]) -> Job | None:
    """Return the job of an asker's message; None: it was taken back."""
    return Job(**message["job"]) if "job" in message else None


def served(number: int, result: Served) -> bytes:
    """Return the line that says that it is done."""
    return line({"n": number, "served": asdict(result)})


def failed(number: int, error: Exception) -> bytes:
    """Return the line that says what the stage raised."""
    kind = next((k for k, of in _KINDS if isinstance(error, of)), "failed")
    fields = {name: getattr(error, name, None) for name in ("status", "retry_after_s", "retry_after_ms")}
    return line({"n": number, "error": {"kind": kind, "text": str(error), **fields}})


_KINDS = (("full", QueueFullError), ("llm", LlmError))


def error_of(fields: dict[str, Any]) -> Exception:
    """Return the stage's error, as the asker raises it."""
    match fields["kind"]:
        case "full":
            return PoolRefusedError(fields["text"], fields["retry_after_ms"] or 0.0)
        case "llm":
            return LlmError(fields["text"], status=fields["status"] or 0, retry_after_s=fields["retry_after_s"])
    return EmulatedFailureError(fields["text"], fields["status"] or 500)
