"""The language model's stage with a model that is begun by its first request: what has happened before it answers."""

import asyncio
from contextlib import aclosing

import pytest

from harness.model.clock import monotonic_ns
from target_stack.llm_config import LlmConfig
from target_stack.stages import llm_stage
from target_stack.stages.llm_server import LocalLlmServer
from target_stack.stages.llm_stage import SLOTS, LlmStage
from target_stack.stages.prompt import Message
from target_stack.stages.scripted_llm import ScriptedLlmServer

pytestmark = pytest.mark.loopback


class ScriptedProcess(LocalLlmServer):
    """Stands in for our model's process, as one that ends and begins at once; tells what it was asked."""

    pid = 1

    def __init__(self, *words, **options):
        super().__init__(*words, **options)
        self.asked = []

    async def start(self):
        asked = self.asked

        class Telling(ScriptedLlmServer):
            async def _completion(self, request):
                asked.append((await request.json())["max_tokens"])
                return await super()._completion(request)

        self.began_ns = monotonic_ns()
        self._scripted = Telling()
        return await self._scripted.start()

    async def aclose(self, timeout_s=2.0):
        """Go on: the model's process comes back at its address, a scripted server would at another."""

    async def end(self):
        await self._scripted.aclose()


async def reply(llm):
    async with aclosing(llm.stream([Message("user", "hello")])) as pieces:
        return "".join([piece async for piece in pieces])


def test_who_wakes_the_model_waits_until_every_slot_has_written_a_token(monkeypatch, tmp_path):
    """Without, the fixed text of the prompt is read anew for each reply: no slot has it alone in its cache."""
    monkeypatch.setattr(llm_stage, "LocalLlmServer", ScriptedProcess)

    async def weights():
        return tmp_path / "model.gguf"

    async def main():
        stage = LlmStage(LlmConfig(log=tmp_path / "llm.log", is_cold=True, check_s=0), "cold")
        llm = await stage.load(weights)
        before = list(stage.server.asked)
        first = await reply(llm)
        asked = list(stage.server.asked)
        second = await reply(llm)
        later = stage.server.asked[len(asked) :]
        await stage.aclose()
        await stage.server.end()
        return before, first, asked, second, later, stage.stats.cold_start_ms

    before, first, asked, second, later, cold_start_ms = asyncio.run(main())
    assert before == []
    assert first
    assert second
    # One token to see that it is there, one a slot, and then the caller's reply.
    assert asked[:-1] == [1] * (1 + SLOTS)
    assert asked[-1] > 1
    assert len(later) == 1
    assert cold_start_ms is not None
    assert cold_start_ms > 0
