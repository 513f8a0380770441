"""Rows over the engine's wire: calls without audio placed by the hundred, their records, and what stops them."""

import asyncio
import contextlib
from dataclasses import replace

import pytest
from engine_bench import EngineBench
from sip_agent import SipAgent, answer, refuse
from sip_bench import plan

from harness.corpus.manifest import default_corpus_dir
from harness.engine import wire
from harness.media.hot.jit import INTERPRETED
from harness.model.clock import monotonic_ns
from harness.model.codec import to_json
from harness.model.needs import Needs
from harness.model.plan import Persona

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(400)]

NEEDS = Needs(100, is_certain=False, transport="sip", audio=False)


class PlainEngine(EngineBench):
    """The engine told beforehand that its calls have no audio."""

    def __init__(self, run_dir):
        super().__init__(run_dir, default_corpus_dir())
        self.writer = wire.AlikeWriter()

    def send(self, kind, **fields):
        super().send(kind, **({**fields, "needs": to_json(NEEDS)} if kind == "hello" else fields))

    def place_all(self, plans, due_at_ns=None):
        self.open_calls |= {each.call_id for each in plans}
        self.sock.sendall(self.writer.write([(each, due_at_ns) for each in plans]))


@contextlib.asynccontextmanager
async def engine_and_agent(tmp_path, script):
    async with SipAgent(script) as agent:
        engine = await asyncio.to_thread(PlainEngine, tmp_path)
        try:
            await asyncio.to_thread(engine.until, lambda engine: engine.of("ready"))
            yield engine, agent
        finally:
            engine.close()


def plans(url, count, **settings):
    like = plan(url, "", media=False, **{"hold_ms": 30.0, **settings})
    return [
        replace(like, call_id=f"call-{i}", index=i, persona=Persona(f"n{i}", "1", "r", "a", "p"), seed=i, story=i)
        for i in range(count)
    ]


@pytest.mark.parametrize(
    "script", [answer, pytest.param(refuse(486), marks=pytest.mark.slow)], ids=["answered", "refused"]
)
def test_every_row_is_a_call_with_its_record(tmp_path, script):
    async def main():
        async with engine_and_agent(tmp_path, script) as (engine, agent):
            calls = plans(agent.url, 30)
            engine.place_all(calls[:20])
            engine.place_all(calls[20:], monotonic_ns() + 300_000_000)
            await asyncio.to_thread(engine.drain)
            assert [engine.calls[each.call_id]["index"] for each in calls] == list(range(30))
            assert [engine.calls[each.call_id]["persona"]["name"] for each in calls] == [f"n{i}" for i in range(30)]
            assert [engine.calls[each.call_id]["story"] for each in calls] == list(range(30))
            assert {record["worker"] for record in engine.calls.values()} == {"w0"}
            told = {message["call_id"]: message["value_ms"] for message in engine.of("milestone")}
            if script is answer:
                assert {record["sip"]["bye"] for record in engine.calls.values()} == {"answered"}
                assert told == {name: record["setup"]["total_ms"] for name, record in engine.calls.items()}
                width = 33 if not INTERPRETED else 0
                ids = [record["sip"]["call_id"].partition("@")[0] for record in engine.calls.values()]
                assert all(len(text) == width for text in ids if width), "all of them were plain"
            else:
                assert {record["cause"] for record in engine.calls.values()} == {"sip_busy"}
                assert not told
            assert await asyncio.to_thread(engine.stop) == 0

    asyncio.run(main())


def test_a_run_that_is_stopped_ends_its_calls(tmp_path):
    async def main():
        async with engine_and_agent(tmp_path, answer) as (engine, agent):
            calls = plans(agent.url, 12, hold_ms=60_000.0)
            engine.place_all(calls[:10])
            engine.place_all(calls[10:], monotonic_ns() + 60_000_000_000)
            await asyncio.to_thread(engine.until, lambda engine: len(engine.of("milestone")) == 10)
            engine.send("hang_up", call_id="call-0")
            await asyncio.to_thread(engine.until, lambda engine: engine.calls)
            assert engine.calls["call-0"]["detail"] == "hung up by the operator"
            assert await asyncio.to_thread(engine.stop) == 0
            assert sorted(engine.calls) == sorted(each.call_id for each in calls[:10])
            assert {record["outcome"] for record in engine.calls.values()} == {"interrupted"}
            assert {record["sip"]["bye"] for record in engine.calls.values()} == {"answered"}

    asyncio.run(main())


@pytest.mark.slow
def test_rows_of_nothing_end_the_engine_with_a_word(tmp_path):
    async def main():
        async with engine_and_agent(tmp_path, answer) as (engine, _agent):
            engine.send("rows", number=7, calls=[])
            await asyncio.to_thread(engine.until, lambda engine: engine.of("error"))
            assert "'rows' of 7 came before its 'alike'" in engine.of("error")[0]["message"]

    asyncio.run(main())
