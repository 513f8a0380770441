"""What is asked of emulated servers, and what they answer. No audio: only how much of it there is."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from harness.model.errors import CallquakeError


class EmulatedFailureError(CallquakeError):
    """An emulated server is gone, or broke; `status` as a server would say it over HTTP."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work. `call_id` "": for no call, as at start-up.

    `units`: seconds of audio to recognise, tokens of the prompt to answer, characters to speak. `text`: what to write.
    """

    stage: str
    units: float
    call_id: str = ""
    turn: int = 0
    # Tells pieces of one turn apart.
    piece: str = ""
    text: str = ""
    # Since when the caller has been waiting; None outside of calls.
    since_ns: int | None = None
    # Worth no wait: where all are busy it is not queued.
    gives_way: bool = False

    @property
    def key(self) -> tuple[str, str, int, str]:
        """What its times are drawn from."""
        return self.stage, self.call_id, self.turn, self.piece


@dataclass(frozen=True, slots=True)
class Served:
    """It is done."""

    queue_ms: float
    work_ms: float


class Servers(Protocol):
    """The servers of all three stages, of this process or another."""

    async def recognise(self, job: Job) -> Served:
        """Return when an utterance of `units` seconds is recognised. Raises QueueFullError, EmulatedFailureError."""

    async def speak(self, job: Job) -> Served:
        """Return when a sentence of `units` characters is spoken. Raises QueueFullError, EmulatedFailureError."""

    def write(self, job: Job) -> AsyncGenerator[str]:
        """Yield `text` word by word at its pace, after a prompt of `units` tokens. Raises LlmError."""

    async def aclose(self) -> None:
        """Refuse what waits and runs."""
