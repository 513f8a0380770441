"""The real vLLM (its CPU build, random weights) as the language model's stage: started by us, streamed from, measured.

    CALLQUAKE_VLLM=/path/to/venv/bin/vllm pytest --vllm -s tests/target_stack/test_vllm_real.py

docs/llm.md says how to make that environment. What it writes is noise: this is about the server, not the words.
"""

import asyncio
import json
import os
import time
from contextlib import aclosing
from pathlib import Path

import pytest
from vllm_tiny import write_model

from target_stack.call_scope import CallScope, enter_scope
from target_stack.context.memory import CallMemory
from target_stack.context.rules import ContextRules
from target_stack.llm_config import LlmConfig
from target_stack.stages.llm import ContextOverflowError
from target_stack.stages.llm_facts import LlmServerDesk
from target_stack.stages.llm_stage import LlmStage
from target_stack.stages.prompt import Message
from target_stack.stages.vllm_launch import VllmLaunch

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

LIMIT = 512
ARGUMENTS = ("--load-format", "dummy", "--dtype", "float32", "--enforce-eager", "--max-num-seqs", "2")


@pytest.fixture(autouse=True)
def _cpu(monkeypatch):
    for name, value in (
        ("VLLM_TARGET_DEVICE", "cpu"),
        ("VLLM_CPU_KVCACHE_SPACE", "1"),
        ("HF_HUB_OFFLINE", "1"),
        ("VLLM_NO_USAGE_STATS", "1"),
        ("DO_NOT_TRACK", "1"),
        # Its environment's own interpreter is found by the command.
        ("PYTHONNOUSERSITE", "1"),
    ):
        monkeypatch.setenv(name, value)


def stage_for(folder, rules=None):
    command = os.environ.get("CALLQUAKE_VLLM", "vllm")
    launch = VllmLaunch(str(write_model(folder / "tiny", LIMIT)), command, LIMIT, ARGUMENTS, 600.0)
    config = LlmConfig(kind="vllm", vllm=launch, log=folder / "vllm.log", context=rules or ContextRules(), check_s=1.0)
    return LlmStage(config, "tiny (vLLM)")


async def reply_to(llm, said, history=(), memory=None):
    enter_scope(CallScope("c1", 1, 0, memory=memory))
    stamps = []
    began = time.monotonic()
    async with aclosing(llm.stream([*history, Message("user", said)])) as pieces:
        text = ""
        async for piece in pieces:
            stamps.append(time.monotonic() - began)
            text += piece
    return text, stamps


async def seen_queue(stage, want, within_s=60):
    """Return the load once it has `want` requests or more, waiting ones included."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        load = stage.stats.server
        if load is not None and load.running + load.waiting >= want and load.waiting >= 1:
            return load
        await asyncio.sleep(0.1)
    raise AssertionError(f"never saw {want} requests: {stage.stats.server}")


def test_vllm_serves_the_stage(tmp_path):
    figures = {}

    async def main():
        stage = stage_for(tmp_path)
        try:
            own = await stage.load(None)
            llm = stage.within(own)
            pid = stage.server.pid
            figures["cold_start_s"] = round(stage.stats.cold_start_ms / 1000, 1)
            figures["one_token_ms"] = round(stage.stats.health_ms, 1)
            assert stage.stats.limit_tokens == LIMIT
            assert stage.stats.is_counted_by_server
            # Streaming: pieces come one after another, not at the end.
            text, stamps = await reply_to(llm, "Hello, my name is Daniel Reyes.")
            figures["first_piece_ms"], figures["last_piece_ms"] = (round(1000 * stamps[n]) for n in (0, -1))
            figures["pieces"] = len(stamps)
            assert text
            assert len(stamps) > 5
            assert stamps[0] < stamps[-1]
            # Its words for a prompt that is too long, and its own count.
            with pytest.raises(ContextOverflowError) as refused:
                await reply_to(own, "word " * 700)
            figures["refusal"] = str(refused.value).partition(": HTTP")[2][:300]
            assert refused.value.limit == LIMIT
            # A long call.
            memory, history, lost = CallMemory(), [], 0
            for number in range(40):
                said = (
                    "My name is Daniel Reyes." if number == 0 else f"And lamp {number}, which came broken on Tuesday?"
                )
                text, _ = await reply_to(llm, said, history, memory)
                history += [Message("user", said), Message("assistant", text)]
                await llm.idle()
            figures["long call"] = {
                "overflows": stage.stats.overflows - 0,
                "summaries": dict(stage.stats.summaries),
                "tokenised": dict(stage.stats.token_counts),
                "notes": memory.notes()[:60],
            }
            assert stage.stats.lost_to_overflow == lost == 0
            assert stage.stats.overflows == 0
            assert "Daniel Reyes" in memory.notes()
            # A queue: two at once run, the others wait, and the server's own metrics say so.
            stage.stats.server = None
            crowd = [asyncio.create_task(long_reply(stage)) for _ in range(8)]
            load = await seen_queue(stage, 3)
            figures["queue"] = {"running": load.running, "waiting": load.waiting, "kv": load.kv_cache_ratio}
            for task in crowd:
                task.cancel()
            await asyncio.gather(*crowd, return_exceptions=True)
            assert load.waiting >= 1
            assert stage.fault() == ""
            return pid
        finally:
            await stage.aclose()

    pid = asyncio.run(main())
    print("\n" + json.dumps(figures, indent=1))
    assert not Path(f"/proc/{pid}").exists()


async def long_reply(stage):
    """Write until cancelled: many tokens a request."""
    import aiohttp

    body = {"model": "default", "prompt": "Hello", "max_tokens": 400, "ignore_eos": True, "stream": True}
    async with aiohttp.ClientSession() as http:
        while True:
            async with http.post(f"{stage.server.url}/v1/completions", json=body) as response:
                assert response.status == 200, await response.text()
                async for _ in response.content:
                    pass


def test_a_server_that_is_killed_is_not_ready_and_comes_back_on_its_port(tmp_path):
    async def main():
        stage = stage_for(tmp_path)
        try:
            await stage.load(None)
            url = stage.server.url
            await stage.server.kill()
            fault = stage.fault()
            assert await stage.server.start() == url
            desk = LlmServerDesk(url)
            healthy = await desk.is_healthy()
            await desk.aclose()
            return fault, stage.fault(), healthy
        finally:
            await stage.aclose()

    fault, later, healthy = asyncio.run(main())
    assert "its process ended" in fault
    assert (later, healthy) == ("", True)
