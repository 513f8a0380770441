"""What the agent runs out of: memory, and room in the language model's context."""

import asyncio
import resource
from collections.abc import Sequence
from pathlib import Path

from target_stack.call_scope import call_scope
from target_stack.chaos.fault import ChaosFault, FaultRequest
from target_stack.chaos.parameters import Parameters
from target_stack.chaos.parts import AgentParts
from target_stack.stages.prompt import Message

_MIB = 2**20
_STEP_S = 0.25
# More might end other processes of the machine before this one.
MOST_MIB = 65_536
# Some 1.3 tokens a word in English.
_FILLER = "I would also like to mention that the order number is four seven one and the parcel was grey."
_FILLER_TOKENS = 24


class MemoryGrowth(ChaosFault):
    """This process takes memory it does not need, step by step, as a leak does; all of it is given back."""

    what = "MiB taken"

    def __init__(self, _parts: AgentParts, request: FaultRequest) -> None:
        super().__init__(request)
        read = Parameters(request.parameters)
        self._mib_per_s = read.number("mib_per_s", high=10_000)
        self._most_mib = read.number("most_mib", 256.0, high=MOST_MIB)
        read.close()
        self._held: list[bytearray] = []
        self._growing: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Begin to grow."""
        self.tally.counts["rss_mib_before"] = _rss_mib()
        self._growing = asyncio.create_task(self._grow())

    async def _grow(self) -> None:
        wanted = 0.0
        while self.tally.touched < self._most_mib:
            wanted = min(self._most_mib, wanted + self._mib_per_s * _STEP_S)
            for _ in range(int(wanted) - self.tally.touched):
                # Written to, page by page: what is only promised is not taken.
                block = bytearray(_MIB)
                block[::4096] = b"\1" * (_MIB // 4096)
                self._held.append(block)
                self.tally.touched += 1
            self.tally.counts["rss_mib"] = _rss_mib()
            await asyncio.sleep(_STEP_S)

    async def end(self) -> None:
        """Give it all back."""
        if self._growing is not None:
            self._growing.cancel()
            await asyncio.gather(self._growing, return_exceptions=True)
        self._held.clear()


class ContextOverflow(ChaosFault):
    """Each conversation reads as if it had gone on for so many tokens more: callers who talk at length."""

    what = "prompts made longer"

    def __init__(self, _parts: AgentParts, request: FaultRequest) -> None:
        super().__init__(request)
        read = Parameters(request.parameters)
        self._turns = read.whole("tokens", high=1_000_000) // (2 * _FILLER_TOKENS)
        read.close()

    def lengthen(self, history: Sequence[Message]) -> list[Message]:
        """Return the history with earlier turns that nobody said before it."""
        scope = call_scope()
        self.tally.seen += 1
        call_id = scope.call_id if scope is not None else ""
        if not self._turns or not self.chooses(call_id):
            return list(history)
        self.tally.touch(call_id)
        filler = [Message("user", _FILLER), Message("assistant", _FILLER)] * self._turns
        # Behind the notes that may come first, before what was really said.
        notes = [message for message in history if message.role == "system"]
        said = [message for message in history if message.role != "system"]
        return [*notes, *filler, *said]


def _rss_mib() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() // _MIB


RESOURCE_KINDS = {"target.memory_growth": MemoryGrowth, "llm.context_overflow": ContextOverflow}
