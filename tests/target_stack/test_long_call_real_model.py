"""Twenty minutes of turns, time compressed, with the real small model (llama.cpp): within its context, names known.

120 turns are 20 minutes at ten seconds a turn, caller and agent together. Known is what every prompt of the call
carries, as the model's server was given it; whether a model of 270 million parameters uses it is counted and printed.

pytest --soak -s tests/target_stack/test_long_call_real_model.py
"""

import asyncio
import statistics
import time
from contextlib import aclosing

import pytest

from target_stack.call_scope import CallScope, enter_scope
from target_stack.context.memory import CallMemory
from target_stack.context.rules import ContextRules
from target_stack.llm_config import LlmConfig
from target_stack.models.catalogue import GEMMA
from target_stack.models.fetch import fetch_model
from target_stack.models.store import ModelStore, default_cache, find_model
from target_stack.stages.llm import LlmError
from target_stack.stages.llm_stage import LlmStage
from target_stack.stages.prompt import Message

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

TURNS = 120
ASKED_LAST = (
    "Do you still know my name?",
    "What is my name?",
    "Who am I?",
    "Please repeat my name.",
    "Under which name is my order?",
)


class Recorded:
    """The model, and every prompt that it was given."""

    def __init__(self, inner):
        self._inner = inner
        self.description = inner.description
        self.prompts = []

    async def stream(self, history):
        self.prompts.append("\n".join(message.text for message in history))
        async with aclosing(self._inner.stream(history)) as pieces:
            async for piece in pieces:
                yield piece


async def weights():
    import os

    store = ModelStore(default_cache(os.environ))
    return find_model(store, GEMMA, None) or fetch_model(store, GEMMA)


async def talk(rules, folder):
    stage = LlmStage(LlmConfig(context=rules, log=folder / "llm.log", check_s=0), "gemma")
    memory, history, lost, took_s = CallMemory(), [], 0, []
    try:
        recorded = Recorded(await stage.load(weights))
        llm = stage.within(recorded)

        async def say(said):
            nonlocal lost
            enter_scope(CallScope("c1", 1, 0, memory=memory))
            reply, began = "", time.monotonic()
            try:
                async with aclosing(llm.stream([*history, Message("user", said)])) as pieces:
                    reply = "".join([piece async for piece in pieces])
            except LlmError:
                lost += 1
            took_s.append(time.monotonic() - began)
            if len(took_s) % 20 == 0:
                print(f"turn {len(took_s)}: a reply in {statistics.median(took_s):.2f} s, at most {max(took_s):.2f} s")
            history.extend([Message("user", said), *([Message("assistant", reply.strip())] if reply.strip() else [])])
            await llm.idle()
            return reply

        await say("Hello, my name is Maria Stone and my order number is four five nine two.")
        for number in range(TURNS - 1 - len(ASKED_LAST)):
            await say(f"And what about lamp {number}, the one that came broken on Tuesday?")
        last = [await say(asked) for asked in ASKED_LAST]
        return stage.stats, lost, memory.notes(), last, recorded.prompts
    finally:
        await stage.aclose()


@pytest.mark.parametrize("keep_turns", [0, None])
def test_a_long_call_stays_within_the_real_models_context(tmp_path, keep_turns):
    stats, lost, notes, last, prompts = asyncio.run(talk(ContextRules(keep_turns=keep_turns), tmp_path))
    said = sum("Maria" in reply for reply in last)
    print(f"\nkeep {keep_turns}: {stats}\nnotes: {notes!r}\nlast replies: {last!r}: the name in {said} of {len(last)}")
    assert (lost, stats.overflows) == (0, 0)
    assert stats.limit_tokens == 1024
    assert stats.is_counted_by_server
    assert "Maria Stone" in notes
    assert "4592" in notes
    # Not only kept: told with every request, to the last.
    assert len(prompts) == TURNS
    assert all("Maria Stone" in prompt for prompt in prompts)
    assert all("4592" in prompt or "four five nine two" in prompt for prompt in prompts)
    # And the turns it was said in are long gone.
    assert "Hello, my name is Maria Stone" not in prompts[-1]


def test_without_the_fix_the_real_server_refuses(tmp_path):
    stats, lost, _notes, _last, _prompts = asyncio.run(talk(ContextRules(mode="whole"), tmp_path))
    print(f"\nwhole: {lost} of {TURNS} replies lost")
    assert lost > TURNS / 2
    assert stats.lost_to_overflow == lost
