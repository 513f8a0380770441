"""What a request of a stage can meet: it waits, it is held, it fails, it comes to nothing, it is refused."""

from collections.abc import Callable

from target_stack.chaos.fault import STAGES, FaultRequest, Passing, StageFault, loop_ns
from target_stack.chaos.parameters import Parameters
from target_stack.routing.failures import ProviderError
from target_stack.routing.token_bucket import TokenBucket
from target_stack.stages.llm import LlmError

MOST_DELAY_MS = 600_000.0


class _OfStage(StageFault):
    """Names its stage among its parameters."""

    def __init__(self, request: FaultRequest) -> None:
        super().__init__(request)
        parameters = Parameters(request.parameters)
        self.stage = parameters.choice("stage", STAGES)
        self.read(parameters)
        parameters.close()

    def read(self, parameters: Parameters) -> None:
        """Read what else there is to say of it."""


class Delay(_OfStage):
    """Each request waits before its work: a slow network hop, or a slower server."""

    what = "requests delayed"

    def read(self, parameters: Parameters) -> None:
        """Read its parameters."""
        self._delay_ms = parameters.number("delay_ms", high=MOST_DELAY_MS)
        self._jitter_ms = parameters.number("jitter_ms", 0.0, high=MOST_DELAY_MS)

    async def meet(self, passage: Passing) -> None:
        """Wait."""
        delay_ms = max(0.0, self._delay_ms + self.uniform(-self._jitter_ms, self._jitter_ms))
        if delay_ms:
            begun_ns = loop_ns()
            self.tally.touch(passage.call_id)
            await self.hold(delay_ms / 1000)
            self.tally.counts["delay_ms"] += round((loop_ns() - begun_ns) / 1e6)


class Slow(_OfStage):
    """Each request's work takes longer by a factor: a throttled processor, a crowded GPU."""

    what = "requests slowed"

    def read(self, parameters: Parameters) -> None:
        """Read its parameters."""
        self._factor = parameters.number("factor", low=1.0, high=1_000)

    def more_s(self, work_s: float) -> float:
        """Return by how much longer than that the work takes."""
        return (self._factor - 1) * work_s

    async def leave(self, passage: Passing, work_s: float) -> None:
        """Let as much more time pass."""
        more_s = self.more_s(work_s)
        if more_s > 0:
            self.tally.touch(passage.call_id, delay_ms=round(more_s * 1000))
            await self.hold(more_s)


class Stall(_OfStage):
    """Requests hang until the fault is over."""

    what = "requests held"

    async def meet(self, passage: Passing) -> None:
        """Hang."""
        self.tally.touch(passage.call_id)
        await self.over.wait()


class Error(_OfStage):
    """Requests fail as by a server that answers with an error."""

    what = "requests failed"

    def read(self, parameters: Parameters) -> None:
        """Read its parameters."""
        self._status = parameters.whole("status", 500, low=400, high=599)

    async def meet(self, passage: Passing) -> None:
        """Fail."""
        self.tally.touch(passage.call_id)
        raise failure_of(self.stage, f"HTTP {self._status}, by the fault {self.request.id}", self._status)


class Empty(_OfStage):
    """Requests succeed and give nothing: no words heard, no text written, no sound."""

    what = "requests answered with nothing"

    async def meet(self, passage: Passing) -> None:
        """Answer with nothing."""
        self.tally.touch(passage.call_id)
        passage.is_empty = True


class RateLimit(_OfStage):
    """Requests beyond a rate are refused with 429, as by a hosted API."""

    what = "requests refused with 429"

    def read(self, parameters: Parameters) -> None:
        """Read its parameters."""
        self._bucket = TokenBucket(
            parameters.number("per_minute", low=0.001, high=1e6), parameters.whole("burst", 1, low=1)
        )
        self._retry_after_s = parameters.number("retry_after_s", 1.0, high=3_600)

    async def meet(self, passage: Passing) -> None:
        """Pass, or refuse."""
        if self._bucket.take(loop_ns()):
            return
        self.tally.touch(passage.call_id)
        said = f"HTTP 429, by the fault {self.request.id}"
        raise failure_of(self.stage, said, 429, self._retry_after_s or None)


def failure_of(stage: str, said: str, status: int, retry_after_s: float | None = None) -> Exception:
    """Return what a server of this stage that answers so is told as."""
    text = f"{stage}: {said}"
    if stage == "llm":
        return LlmError(text, status=status, retry_after_s=retry_after_s)
    return ProviderError(text, status=status, retry_after_s=retry_after_s)


STAGE_KINDS: dict[str, Callable[[FaultRequest], StageFault]] = {
    "stage.delay": Delay,
    "stage.slow": Slow,
    "stage.stall": Stall,
    "stage.error": Error,
    "stage.empty": Empty,
    "stage.rate_limit": RateLimit,
}
