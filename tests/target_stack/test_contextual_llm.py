"""A call of twenty minutes, time compressed, over HTTP to a server that refuses what its context does not hold."""

import asyncio
import random
from contextlib import aclosing

import pytest

from harness.model.prometheus_text import samples_of
from target_stack.call_scope import CallScope, enter_scope
from target_stack.context.memory import CallMemory
from target_stack.context.rules import ContextRules
from target_stack.context.tokens import estimate_tokens
from target_stack.llm_config import LlmConfig
from target_stack.routing.billing import BillingTelemetry
from target_stack.routing.routes import read_routes
from target_stack.routing.routing_stats import RoutingStats
from target_stack.routing.switchboard import Switchboard
from target_stack.stages.contextual_llm import ContextualLlm, ContextWindow
from target_stack.stages.llm import ContextOverflowError, LlmError, LlmOptions, OpenAiClient
from target_stack.stages.llm_facts import LlmServerDesk, load_of
from target_stack.stages.llm_health import LlmHealth
from target_stack.stages.llm_stage import LlmStage
from target_stack.stages.llm_tokens import TokenCounter
from target_stack.stages.prompt import SYSTEM, Message
from target_stack.stages.scripted_llm import ScriptedLlmServer
from target_stack.telemetry.events import EventLog
from target_stack.telemetry.llm_stats import LlmStats, render_llm
from target_stack.telemetry.stats import Stats

pytestmark = pytest.mark.loopback

LIMIT = 512
# One turn in ten seconds.
TURNS = 120
FIRST_MINUTE = (
    "Hello, my name is Daniel Reyes and my wife Elena ordered two lamps.",
    "The order number is four five nine two.",
)


class Told(ContextualLlm):
    """Keeps what was sent."""

    sent: list

    def _within(self, fitted):
        self.sent = [*getattr(self, "sent", []), fitted]
        return super()._within(fitted)


class Call:
    """One conversation with a contextual model."""

    def __init__(self, llm):
        self.llm = llm
        self.history = []
        self.memory = CallMemory()
        self.refused = 0

    async def say(self, text):
        enter_scope(CallScope("c1", len(self.history) // 2, 0, memory=self.memory))
        reply = ""
        try:
            async with aclosing(self.llm.stream([*self.history, Message("user", text)])) as pieces:
                async for piece in pieces:
                    reply += piece
        except LlmError:
            self.refused += 1
        self.history += [Message("user", text), *([Message("assistant", reply)] if reply else [])]
        await self.llm.idle()
        return reply

    async def last_twenty_minutes(self):
        for said in FIRST_MINUTE:
            await self.say(said)
        for number in range(TURNS - len(FIRST_MINUTE)):
            await self.say(f"And then I wanted to ask about lamp {number}, the shade of which came broken on Tuesday.")


def with_model(work, *, limit=LIMIT, rules=None, count=estimate_tokens, window=0, **options):
    """Run `work(call, server, stats)` with everything between a call and a scripted server."""

    async def main():
        server = ScriptedLlmServer(first_token_s=0, token_s=0, context_tokens=limit, count=count, **options)
        url = await server.start()
        stats, desk = LlmStats(), LlmServerDesk(url)
        facts = await desk.facts("default")
        client = OpenAiClient(LlmOptions(url), "test")
        writer = OpenAiClient(LlmOptions(url, system="", max_tokens=60), "summaries")
        tokens = TokenCounter(stats, desk, facts)
        size = window or facts.limit or 0
        llm = Told(
            client,
            rules or ContextRules(),
            ContextWindow(size, 28, SYSTEM, is_ours=bool(window)),
            tokens,
            stats,
            summariser=writer,
        )
        try:
            return await work(Call(llm), server, stats)
        finally:
            await llm.aclose()
            for each in (client, writer, desk, server):
                await each.aclose()

    return asyncio.run(main())


def test_twenty_minutes_stay_within_the_limit_with_the_first_minutes_names():
    async def talk(call, server, stats):
        await call.last_twenty_minutes()
        return call, server, stats

    call, server, stats = with_model(talk)
    assert (server.overflows, call.refused, stats.overflows) == (0, 0, 0)
    assert server.longest_prompt + 28 <= LIMIT
    assert server.longest_prompt > LIMIT / 2
    for fitted in call.llm.sent[len(FIRST_MINUTE) + 1 :]:
        assert "Daniel Reyes" in fitted.messages[0].text
        assert "Elena" in fitted.messages[0].text
        assert "4592" in fitted.messages[0].text
    assert stats.summaries["written"] > 3
    assert call.llm.sent[-1].messages[0].text.count("Earlier:") == 1


def test_names_survive_a_model_that_cannot_summarise():
    async def talk(call, server, stats):
        await call.last_twenty_minutes()
        return call, server, stats

    call, server, stats = with_model(talk, replies=["..."])
    # Asked three times, and left alone then: what it reads for a summary, its replies wait for.
    assert stats.summaries == {"unusable": 3}
    assert stats.trims > 50
    assert (server.overflows, call.refused) == (0, 0)
    assert "Daniel Reyes" in call.llm.sent[-1].messages[0].text


def test_without_it_a_long_call_is_refused_from_some_turn_on():
    async def talk(call, server, stats):
        await call.last_twenty_minutes()
        return call, server, stats

    call, server, stats = with_model(talk, rules=ContextRules(mode="whole"))
    assert call.refused > TURNS / 2
    assert stats.lost_to_overflow == call.refused == server.overflows


def test_a_limit_of_our_own_is_held_like_a_servers():
    async def talk(call, server, stats):
        await call.say("word " * 200)
        return call.refused, server.overflows

    assert with_model(talk, limit=100_000, window=200, rules=ContextRules(mode="whole")) == (1, 0)
    assert with_model(talk, limit=100_000, window=200) == (0, 0)


def test_a_tokenizer_that_counts_far_more_than_was_thought_costs_no_reply():
    """It tells its limit only in its refusal, and has no /tokenize."""

    async def talk(_call, server, _stats):
        stats = LlmStats()
        client = OpenAiClient(LlmOptions(server.url), "test")
        llm = ContextualLlm(client, ContextRules(), ContextWindow(0, 28, SYSTEM), TokenCounter(stats), stats)
        call = Call(llm)
        try:
            await call.last_twenty_minutes()
        finally:
            await llm.aclose()
            await client.aclose()
        return call.refused, stats

    refused, stats = with_model(talk, count=lambda text: 2 * estimate_tokens(text))
    assert refused == 0
    # Once, or twice, until it has learned; not at each turn.
    assert 1 <= stats.overflows <= 4
    assert stats.limit_tokens == LIMIT
    assert stats.lost_to_overflow == 0


def test_what_no_shorter_prompt_helps_is_told():
    async def talk(call, _server, stats):
        with pytest.raises(ContextOverflowError):
            async for _ in call.llm.stream([Message("user", "Hi")]):
                pass
        return stats

    assert with_model(talk, count=lambda _text: 10_000).lost_to_overflow == 1


def board_of(tmp_path, others, own_patience_ms):
    routes = tmp_path / "routes.yaml"
    routes.write_text("llm: {others: [" + others + "]}\n" if others else "{}")
    read, stats = read_routes(routes), RoutingStats()
    telemetry = BillingTelemetry(Stats(), EventLog(), stats)
    return Switchboard(read, telemetry, stats, own_patience_ms={"llm": own_patience_ms}), stats


async def reply_of(llm):
    return "".join([piece async for piece in llm.stream([Message("user", "Hi")])])


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_model_is_asked_again_with_backoff_and_the_caller_gets_his_reply(tmp_path, status):
    async def main():
        server = ScriptedLlmServer(["Yes."], first_token_s=0, status=status)
        client = OpenAiClient(LlmOptions(await server.start()), "own")
        board, stats = board_of(tmp_path, "", 10_000)
        await board.start()
        asking = asyncio.create_task(reply_of(board.llm(client)))
        while server.requests < 3:
            await asyncio.sleep(0.01)
        server.status = 200
        reply = await asking
        await asyncio.gather(board.aclose(), client.aclose())
        await server.aclose()
        return reply, stats

    reply, stats = asyncio.run(main())
    assert reply == "Yes."
    assert stats.backoffs["llm"] >= 2
    assert stats.refused["llm"] == 0


def test_a_busy_model_overflows_to_another_without_a_wait(tmp_path):
    async def main():
        server = ScriptedLlmServer(status=429)
        client = OpenAiClient(LlmOptions(await server.start()), "own")
        board, stats = board_of(tmp_path, "{name: spare, url: standin, price: gpt-4o-mini}", 10_000)
        await board.start()
        reply = await reply_of(board.llm(client))
        await asyncio.gather(board.aclose(), client.aclose())
        await server.aclose()
        return reply, stats, server.requests

    reply, stats, requests = asyncio.run(main())
    assert reply
    assert requests == 1
    assert stats.routed["llm", "spare", "failover"] == 1
    assert stats.backoffs["llm"] == 0


def test_patience_ends_with_the_servers_own_words(tmp_path):
    async def main():
        server = ScriptedLlmServer(status=503)
        client = OpenAiClient(LlmOptions(await server.start()), "own")
        board, _stats = board_of(tmp_path, "", 0)
        await board.start()
        try:
            with pytest.raises(LlmError, match="503"):
                await reply_of(board.llm(client))
        finally:
            await asyncio.gather(board.aclose(), client.aclose())
            await server.aclose()

    asyncio.run(main())


def test_a_model_is_up_once_it_writes_and_down_after_two_failed_checks():
    async def main():
        server = ScriptedLlmServer(first_token_s=0, status=503)
        client, stats = OpenAiClient(LlmOptions(await server.start()), "test"), LlmStats()
        health = LlmHealth(client, stats, every_s=1e-9, rng=random.Random(1))

        async def comes_up():
            while not server.requests:
                await asyncio.sleep(0.01)
            server.status = 200

        await asyncio.gather(health.warm_up(2, 30), comes_up())
        seen = [health.fault(), stats.is_up, stats.cold_start_ms > 0]
        server.status = 500
        await health.check()
        seen.append(health.fault())
        await health.check()
        seen += ["HTTP 500" in health.fault(), stats.is_up]
        server.status = 200
        await health.check()
        seen += [health.fault(), stats.is_up]
        await health.aclose()
        await client.aclose()
        await server.aclose()
        return seen

    assert asyncio.run(main()) == ["", True, True, "", True, False, "", True]


def test_the_stage_finds_limit_and_tokenizer_by_itself():
    async def main():
        stage = LlmStage(LlmConfig(kind="scripted", context=ContextRules(limit_tokens=300)), "scripted")
        client = await stage.load(None)
        llm = stage.within(client)
        call = Call(llm)
        await call.say("Hello, my name is Ann Lee.")
        text, fault = stage.metrics(), stage.fault()
        await stage.aclose()
        return text, fault

    text, fault = asyncio.run(main())
    samples = {sample.name: sample.value for sample in samples_of(text)}
    assert fault == ""
    assert samples["callquake_llm_context_limit_tokens"] == 300
    assert samples["callquake_llm_counted_by_server"] == 1
    assert samples["callquake_llm_prompt_tokens_count"] == 1
    assert samples["callquake_llm_up"] == 1


def test_a_servers_queue_is_read_from_its_own_metrics():
    text = (
        "# TYPE vllm:num_requests_running gauge\n"
        'vllm:num_requests_running{engine="0",model_name="a \\"b\\""} 3.0\n'
        'vllm:num_requests_running{engine="1",model_name="a"} 1.0\n'
        'vllm:num_requests_waiting{engine="0"} 7.0\n'
        'vllm:kv_cache_usage_perc{engine="0"} 0.25\nnot a sample\nx nan_\n'
    )
    load = load_of(text)
    assert (load.running, load.waiting, load.kv_cache_ratio) == (4, 7, 0.25)
    assert load_of("llamacpp:requests_processing 1\nllamacpp:requests_deferred 2\n").waiting == 2
    assert load_of("other 1\n") is None
    stats = LlmStats(server=load)
    assert 'callquake_llm_server_requests{state="waiting"} 7' in render_llm(stats)
