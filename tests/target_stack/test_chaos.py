"""Faults of the bundled agent's stages: each does what it says, to whom it says, and is over when it is over."""

import asyncio

import pytest

from harness.commands.fault_words import example_of
from harness.faults.catalogue import KINDS
from harness.faults.check import check_parameters
from harness.model.fault import Where
from target_stack.call_scope import CallScope, enter_scope
from target_stack.chaos.chaos import Chaos, ConflictError, UnknownFaultError
from target_stack.chaos.fault import FaultRequest
from target_stack.chaos.resource_kinds import MemoryGrowth
from target_stack.gate import Gate
from target_stack.routing.failures import Ending, ProviderError, ending_of, retry_after_of
from target_stack.stages.llm import LlmError, ScriptedLlm
from target_stack.stages.prompt import Message
from target_stack.stages.stt import ScriptedStt
from target_stack.stages.tts import ScriptedTts
from tests.harness.faults.certificate_files import tls_listener
from tests.target_stack.scripted_server import ScriptedServer
from tests.target_stack.virtual_loop import now_ns, run_virtually

pytestmark = pytest.mark.unit


def request(kind, share=1.0, lease_s=1_000.0, fault_id="one", **parameters):
    return FaultRequest(fault_id, kind, parameters, share, 7, lease_s)


def new_chaos():
    return Chaos(now=now_ns)


class Agent:
    """The three stages behind faults, asked for calls."""

    def __init__(self):
        self.chaos = new_chaos()
        self.stt = self.chaos.stt(ScriptedStt(["hello"]))
        self.llm = self.chaos.llm(ScriptedLlm(["well met"]))
        self.tts = self.chaos.tts(ScriptedTts())

    async def ask(self, stage, call="call-1"):
        """Return what a stage answers and how long it took."""
        enter_scope(CallScope(call, 1, 0))
        begun_ns = now_ns()
        match stage:
            case "stt":
                answer = (await self.stt.transcribe([])).text
            case "llm":
                answer = "".join([piece async for piece in self.llm.stream([])]).strip()
            case _:
                answer = len((await self.tts.synthesise("hi")).samples)
        return answer, (now_ns() - begun_ns) / 1e9


ANSWERS = {"stt": "hello", "llm": "well met", "tts": 2880}


@pytest.mark.parametrize("stage", ["stt", "llm", "tts"])
def test_a_delay_is_added_and_counted(stage):
    async def main():
        agent = Agent()
        await agent.chaos.begin(request("stage.delay", stage=stage, delay_ms=800))
        answer, took_s = await agent.ask(stage)
        others = [await agent.ask(other) for other in ANSWERS if other != stage]
        state = (await agent.chaos.end("one"), await agent.ask(stage))
        return answer, took_s, others, state

    answer, took_s, others, (state, after) = run_virtually(main())
    assert (answer, round(took_s, 3)) == (ANSWERS[stage], 0.8)
    assert [took for _, took in others] == [0, 0]
    assert (state["touched"], state["counts"]["seen"], state["calls"]) == (1, 1, ["call-1"])
    assert after == (ANSWERS[stage], 0)


def test_a_delay_of_nothing_touches_nothing():
    async def main():
        agent = Agent()
        await agent.chaos.begin(request("stage.delay", stage="stt", delay_ms=0))
        await agent.ask("stt")
        return await agent.chaos.end("one")

    state = run_virtually(main())
    assert (state["touched"], state["counts"]["seen"]) == (0, 1)


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.3, 40, 80), (1.0, 200, 200)])
def test_a_share_takes_in_whole_calls_the_same_each_time(share, least, most):
    async def once():
        agent = Agent()
        await agent.chaos.begin(request("stage.empty", share, stage="stt"))
        first = [(await agent.ask("stt", f"call-{n}"))[0] for n in range(200)]
        again = [(await agent.ask("stt", f"call-{n}"))[0] for n in range(200)]
        return first, again, await agent.chaos.end("one")

    first, again, state = run_virtually(once())
    assert first == again
    assert least <= first.count("") <= most
    assert state["touched"] == 2 * first.count("")
    assert len(state["calls"]) == first.count("")


@pytest.mark.parametrize("stage", ["stt", "llm", "tts"])
def test_a_stall_holds_requests_until_it_is_over(stage):
    async def main():
        agent = Agent()
        await agent.chaos.begin(request("stage.stall", stage=stage))
        asked = [asyncio.create_task(agent.ask(stage, f"call-{n}")) for n in range(3)]
        await asyncio.sleep(40)
        is_held = not any(task.done() for task in asked)
        state = await agent.chaos.end("one")
        return is_held, state["touched"], await asyncio.gather(*asked)

    is_held, touched, answers = run_virtually(main())
    assert is_held
    assert touched == 3
    assert answers == [(ANSWERS[stage], 40.0)] * 3


@pytest.mark.parametrize(("stage", "error"), [("stt", ProviderError), ("llm", LlmError), ("tts", ProviderError)])
def test_errors_are_the_ones_that_a_server_gives(stage, error):
    async def main():
        agent = Agent()
        await agent.chaos.begin(request("stage.error", stage=stage, status=503))
        with pytest.raises(error) as caught:
            await agent.ask(stage)
        return caught.value, (await agent.chaos.end("one"))["touched"]

    found, touched = run_virtually(main())
    assert (found.status, touched) == (503, 1)
    assert ending_of(found) is Ending.FAILED


def test_empty_answers_are_nothing_of_each_stage():
    async def main():
        agent = Agent()
        for stage in ANSWERS:
            await agent.chaos.begin(request("stage.empty", stage=stage, fault_id=stage))
        return [(await agent.ask(stage))[0] for stage in ANSWERS]

    assert run_virtually(main()) == ["", "", 0]


def test_a_rate_limit_lets_its_rate_pass_and_asks_to_come_later():
    async def main():
        agent = Agent()
        await agent.chaos.begin(request("stage.rate_limit", stage="llm", per_minute=6, burst=2, retry_after_s=9))
        told = []
        for _ in range(60):
            try:
                await agent.ask("llm")
            except LlmError as error:
                told.append((error.status, ending_of(error), retry_after_of(error)))
            await asyncio.sleep(1)
        return told, (await agent.chaos.end("one"))["touched"]

    told, touched = run_virtually(main())
    # Two at once, then one each 10 s.
    assert len(told) == touched == 60 - 7
    assert set(told) == {(429, Ending.LIMITED, 9.0)}


def test_slow_work_takes_a_factor_longer():
    class Whisper(ScriptedStt):
        async def transcribe(self, samples):
            await asyncio.sleep(0.5)
            return await super().transcribe(samples)

    async def main():
        agent = Agent()
        agent.stt = agent.chaos.stt(Whisper(["hello"]))
        await agent.chaos.begin(request("stage.slow", stage="stt", factor=3))
        return await agent.ask("stt"), (await agent.chaos.end("one"))["touched"]

    (answer, took_s), touched = run_virtually(main())
    assert (answer, round(took_s, 2), touched) == ("hello", 1.5, 1)


def test_what_nobody_renews_is_over_by_itself():
    async def main():
        agent = Agent()
        stall = request("stage.stall", lease_s=10, stage="stt")
        await agent.chaos.begin(stall)
        asked = asyncio.create_task(agent.ask("stt"))
        await asyncio.sleep(8)
        renewed = await agent.chaos.begin(stall)
        _, took_s = await asked
        return renewed["touched"], took_s, agent.chaos.states()

    assert run_virtually(main()) == (1, 18.0, [])


def test_outside_of_calls_nothing_is_broken():
    async def main():
        agent = Agent()
        await agent.chaos.begin(request("stage.error", stage="stt"))
        return (await agent.stt.transcribe([])).text

    assert run_virtually(main()) == "hello"


def test_one_fault_is_ended_once_and_another_of_its_id_is_refused():
    async def main():
        chaos = new_chaos()
        await chaos.begin(request("stage.stall", stage="stt"))
        with pytest.raises(ConflictError):
            await chaos.begin(request("stage.stall", stage="tts"))
        await chaos.end("one")
        with pytest.raises(UnknownFaultError):
            await chaos.end("one")

    run_virtually(main())


@pytest.mark.parametrize(
    ("kind", "parameters", "said"),
    [
        ("stage.boom", {}, "kind: got 'stage.boom'; legal here: stage.delay"),
        ("stage.delay", {"stage": "stt"}, "parameters.delay_ms: missing"),
        ("stage.delay", {"stage": "vad", "delay_ms": 1}, "parameters.stage: got 'vad'; legal: stt, llm, tts"),
        ("stage.delay", {"stage": "stt", "delay_ms": -1}, "legal: a number from 0 to 600000"),
        ("stage.delay", {"stage": "stt", "delay_ms": True}, "parameters.delay_ms: got True"),
        ("stage.stall", {"stage": "stt", "delay_ms": 1}, "parameters.delay_ms: unknown; legal: stage"),
        ("stage.error", {"stage": "stt", "status": 200}, "legal: a number from 400 to 599"),
    ],
)
def test_wrong_parameters_are_named_with_what_is_legal(kind, parameters, said):
    async def main():
        await new_chaos().begin(request(kind, **parameters))

    with pytest.raises(ValueError) as caught:
        run_virtually(main())
    assert said in str(caught.value)


def test_a_killed_worker_is_started_again_when_the_fault_is_over():
    async def main():
        agent, server = Agent(), ScriptedServer()
        agent.chaos.runs_in("llm", server)
        state = await agent.chaos.begin(request("stage.worker_kill", stage="llm"))
        before = list(server.told)
        await agent.chaos.end("one")
        return state["touched"], before, server.told

    assert run_virtually(main()) == (1, ["kill"], ["kill", "start"])


@pytest.mark.parametrize("kind", ["stage.worker_kill"])
def test_a_stage_without_a_process_cannot_lose_it(kind):
    async def main():
        await Agent().chaos.begin(request(kind, stage="stt"))

    with pytest.raises(ValueError, match="stt has no process of its own; legal here: none"):
        run_virtually(main())


def test_requests_wait_for_a_model_that_is_loaded_anew():
    async def main():
        agent, server = Agent(), ScriptedServer()
        agent.chaos.runs_in("llm", server)
        await agent.chaos.begin(request("stage.cold_start", stage="llm"))
        _, took_s = await agent.ask("llm")
        _, after_s = await agent.ask("llm")
        state = await agent.chaos.end("one")
        return took_s, after_s, server.told, state["touched"], state["counts"]["requests_waited"]

    assert run_virtually(main()) == (4.0, 0.0, ["kill", "start"], 1, 1)


def test_nobodys_requests_keep_a_stage_busy_and_then_leave_it():
    class OneAtATime(ScriptedStt):
        def __init__(self):
            super().__init__(["hello"])
            self.free = asyncio.Semaphore(1)

        async def transcribe(self, samples):
            async with self.free:
                await asyncio.sleep(1)
                return await super().transcribe(samples)

    async def main():
        agent = Agent()
        agent.stt = agent.chaos.stt(OneAtATime())
        await agent.chaos.begin(request("stage.saturation", stage="stt", jobs=4))
        await asyncio.sleep(0.5)
        _, busy_s = await agent.ask("stt")
        state = await agent.chaos.end("one")
        _, free_s = await agent.ask("stt")
        return busy_s, free_s, state["touched"]

    busy_s, free_s, touched = run_virtually(main())
    assert busy_s >= 4
    assert free_s == 1
    assert touched >= 4


def test_a_conversation_grows_by_turns_that_nobody_said():
    async def main():
        agent = Agent()
        history = [Message("system", "Ann calls."), Message("user", "Hello?")]
        await agent.chaos.begin(request("llm.context_overflow", tokens=480))
        enter_scope(CallScope("call-1", 1, 0))
        longer = agent.chaos.history(history)
        state = await agent.chaos.end("one")
        return longer, agent.chaos.history(history), state["touched"]

    longer, after, touched = run_virtually(main())
    assert (longer[0].role, longer[-1].text, len(longer)) == ("system", "Hello?", 22)
    assert (len(after), touched) == (2, 1)


def test_memory_is_taken_and_given_back():
    async def main():
        agent = Agent()
        await agent.chaos.begin(request("target.memory_growth", mib_per_s=40, most_mib=20))
        (fault,) = agent.chaos.of_kind(MemoryGrowth)
        await asyncio.sleep(3)
        held = len(fault._held)
        state = await agent.chaos.end("one")
        return held, state["touched"], len(fault._held)

    assert run_virtually(main()) == (20, 20, 0)


def test_the_harness_knows_each_kind_of_the_agent_and_the_agent_each_of_its():
    told = {name for name, kind in KINDS.items() if kind.where is Where.TARGET}
    assert told == set(Chaos().kinds)


@pytest.mark.parametrize("name", sorted(name for name, kind in KINDS.items() if kind.where is Where.TARGET))
def test_the_agent_takes_what_the_harness_says_is_legal(name, tmp_path):
    async def main():
        agent = Agent()
        agent.chaos.runs_in("stt", ScriptedServer())
        agent.chaos.parts.disk, agent.chaos.parts.database = Gate(), Gate()
        agent.chaos.parts.tls = tls_listener(tmp_path)
        parameters, problems = check_parameters(KINDS[name], example_of(KINDS[name]))
        assert not problems
        await agent.chaos.begin(request(name, **parameters))
        await agent.chaos.end("one")

    run_virtually(main())
