"""What a provider's answer means for the next try."""

from harness.model.errors import CallquakeError
from target_stack.routing.router import Ending
from target_stack.stages.worker import GivesWayError, QueueFullError

# What is wrong with the request is wrong with it everywhere (RFC 9110 15.5.1, 15.5.14, 15.5.21).
OWN_FAULT = frozenset({400, 413, 422})


class ProviderError(CallquakeError):
    """A provider over HTTP refused, broke its protocol or fell silent; says which and where. `status` 0: no answer."""

    def __init__(self, text: str, *, status: int = 0, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.retry_after_s = retry_after_s


class NoProviderError(QueueFullError):
    """No provider took the request in the time there was."""


def ending_of(error: Exception) -> Ending:
    """Return what an error tells of the provider."""
    status = getattr(error, "status", 0)
    if status == 429 or isinstance(error, QueueFullError):
        return Ending.LIMITED
    if status in OWN_FAULT or isinstance(error, ValueError | GivesWayError):
        return Ending.WITHDRAWN
    return Ending.FAILED


def retry_after_of(error: Exception) -> float | None:
    """Return how long its provider asked us to stay away, in seconds."""
    asked: float | None = getattr(error, "retry_after_s", None)
    if asked is None and isinstance(error, QueueFullError):
        asked = getattr(error, "retry_after_ms", 0.0) / 1000
    return asked
