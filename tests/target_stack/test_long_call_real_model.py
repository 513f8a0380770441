"""Twenty minutes of turns, time compressed, with the real small model (llama.cpp): within its context, names known.

pytest --soak -s tests/target_stack/test_long_call_real_model.py
"""

import asyncio
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


async def weights():
    import os

    store = ModelStore(default_cache(os.environ))
    return find_model(store, GEMMA, None) or fetch_model(store, GEMMA)


async def talk(rules, folder):
    stage = LlmStage(LlmConfig(context=rules, log=folder / "llm.log", check_s=0, threads=2), "gemma")
    memory, history, lost = CallMemory(), [], 0
    try:
        llm = stage.within(await stage.load(weights))

        async def say(said):
            nonlocal lost
            enter_scope(CallScope("c1", 1, 0, memory=memory))
            reply = ""
            try:
                async with aclosing(llm.stream([*history, Message("user", said)])) as pieces:
                    reply = "".join([piece async for piece in pieces])
            except LlmError:
                lost += 1
            history.extend([Message("user", said), *([Message("assistant", reply.strip())] if reply.strip() else [])])
            await llm.idle()
            return reply

        await say("Hello, my name is Maria Stone and my order number is four five nine two.")
        for number in range(TURNS - 2):
            await say(f"And what about lamp {number}, the one that came broken on Tuesday?")
        last = await say("Do you still know my name?")
        return stage.stats, lost, memory.notes(), last
    finally:
        await stage.aclose()


@pytest.mark.parametrize("keep_turns", [0, None])
def test_a_long_call_stays_within_the_real_models_context(tmp_path, keep_turns):
    stats, lost, notes, last = asyncio.run(talk(ContextRules(keep_turns=keep_turns), tmp_path))
    print(f"\nkeep {keep_turns}: {stats}\nnotes: {notes!r}\nlast reply: {last!r}")
    assert (lost, stats.overflows) == (0, 0)
    assert stats.limit_tokens == 1024
    assert stats.is_counted_by_server
    assert "Maria Stone" in notes
    assert "4592" in notes


def test_without_the_fix_the_real_server_refuses(tmp_path):
    stats, lost, _notes, _last = asyncio.run(talk(ContextRules(mode="whole"), tmp_path))
    print(f"\nwhole: {lost} of {TURNS} replies lost")
    assert lost > TURNS / 2
    assert stats.lost_to_overflow == lost
