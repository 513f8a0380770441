"""A fault that cannot be undone is told as not undone, until it is; one that fails at its begin is undone."""

import asyncio
from dataclasses import replace

import pytest

from target_stack.call_scope import CallScope, enter_scope
from target_stack.chaos.chaos import Chaos, ConflictError, UnknownFaultError
from target_stack.chaos.fault import ChaosFault, FaultRequest
from target_stack.routing.http_speech import SpeechEndpoint
from target_stack.serving.remote import RemoteStt
from target_stack.stages.stt import ScriptedStt
from tests.target_stack.scripted_server import ScriptedServer
from tests.target_stack.virtual_loop import now_ns, run_virtually

pytestmark = pytest.mark.unit


def request(kind, lease_s=1_000.0, **parameters):
    return FaultRequest("one", kind, parameters, 1.0, 7, lease_s)


def new_chaos(**servers):
    chaos = Chaos(now=now_ns)
    for stage, server in servers.items():
        chaos.runs_in(stage, server)
    return chaos


@pytest.mark.parametrize(
    ("kind", "parameters", "told"),
    [
        ("stage.worker_kill", {"stage": "llm"}, "could not be undone: no memory left"),
        ("gpu.loss", {}, "could not be undone: llm: no memory left"),
        ("stage.cold_start", {"stage": "llm"}, "could not be undone: no memory left"),
    ],
)
def test_what_could_not_be_undone_is_told_and_tried_again(kind, parameters, told):
    async def main():
        server = ScriptedServer(starts=False, kill_s=1)
        chaos = new_chaos(llm=server)
        await chaos.begin(request(kind, **parameters))
        failed = await chaos.end("one")
        listed = [(state["id"], state["undone"]) for state in chaos.states()]
        with pytest.raises(ConflictError, match="could not be undone"):
            await chaos.begin(request(kind, **parameters))
        server.starts = True
        mended = await chaos.end("one")
        with pytest.raises(UnknownFaultError):
            await chaos.end("one")
        return failed, listed, mended, chaos.states()

    failed, listed, mended, left = run_virtually(main())
    assert (failed["undone"], failed["detail"]) == (False, told)
    assert listed == [("one", False)]
    assert (mended["undone"], mended["detail"], left) == (True, "undone at another try", [])


def test_a_lapsed_fault_that_could_not_be_undone_is_told_as_well():
    async def main():
        chaos = new_chaos(llm=ScriptedServer(starts=False, kill_s=1))
        await chaos.begin(request("stage.worker_kill", lease_s=1.0, stage="llm"))
        await asyncio.sleep(60)
        return [state["undone"] for state in chaos.states()]

    assert run_virtually(main()) == [False]


def test_who_ends_a_fault_that_is_being_undone_is_told_what_came_of_it():
    async def main():
        chaos = new_chaos(llm=ScriptedServer(starts=False, kill_s=1))
        await chaos.begin(request("stage.worker_kill", lease_s=1.0, stage="llm"))
        # Its lease has run out, and its process takes four seconds to fail.
        await asyncio.sleep(2)
        listed = [state["id"] for state in chaos.states()]
        with pytest.raises(ConflictError, match="is being undone"):
            await chaos.begin(request("stage.worker_kill", stage="llm"))
        told = await asyncio.gather(chaos.end("one"), chaos.end("one"))
        return listed, [state["undone"] for state in told], len(chaos.states())

    assert run_virtually(main()) == (["one"], [False, False], 1)


def test_an_end_that_is_cut_short_leaves_the_fault_told():
    async def main():
        chaos = new_chaos(llm=ScriptedServer(kill_s=1))
        await chaos.begin(request("stage.worker_kill", stage="llm"))
        ending = asyncio.create_task(chaos.end("one"))
        await asyncio.sleep(1)
        ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)
        listed = [(state["id"], state["undone"]) for state in chaos.states()]
        return listed, (await chaos.end("one"))["undone"]

    assert run_virtually(main()) == ([("one", False)], True)


def test_a_process_that_two_faults_have_killed_is_started_once():
    class Counted(ScriptedServer):
        pid = 1

        async def kill(self):
            self.pid = None
            await super().kill()

        async def start(self):
            found = await super().start()
            self.pid = 2
            return found

    async def main():
        server = Counted()
        chaos = new_chaos(llm=server)
        await chaos.begin(request("stage.worker_kill", stage="llm"))
        await chaos.begin(replace(request("gpu.loss", stage="llm"), id="two"))
        again = await chaos.begin(replace(request("stage.worker_kill", stage="llm"), id="three"))
        ended = await asyncio.gather(*(chaos.end(fault_id) for fault_id in ("one", "two", "three")))
        return again["touched"], [one["undone"] for one in ended], server.told

    assert run_virtually(main()) == (0, [True, True, True], ["kill", "start"])


def test_a_fault_that_ends_while_another_holds_a_request_does_nothing_to_it():
    async def main():
        chaos = new_chaos()
        stt = chaos.stt(ScriptedStt(["hello"]))
        await chaos.begin(request("stage.stall", stage="stt"))
        await chaos.begin(replace(request("stage.error", stage="stt"), id="two"))
        enter_scope(CallScope("call", 1, 0))
        asked = asyncio.create_task(stt.transcribe([]))
        await asyncio.sleep(1)
        error = await chaos.end("two")
        await chaos.end("one")
        return (await asked).text, error["touched"]

    assert run_virtually(main()) == ("hello", 0)


def test_of_a_lost_gpu_only_what_failed_to_load_is_loaded_again():
    async def main():
        llm, tts = ScriptedServer(kill_s=1), ScriptedServer(starts=False, kill_s=1)
        chaos = new_chaos(llm=llm, tts=tts)
        await chaos.begin(request("gpu.loss"))
        failed = await chaos.end("one")
        tts.starts = True
        mended = await chaos.end("one")
        return failed, mended, llm.told, tts.told

    failed, mended, llm, tts = run_virtually(main())
    assert (failed["undone"], failed["detail"]) == (False, "could not be undone: tts: no memory left")
    assert mended["undone"]
    assert (llm, tts) == (["kill", "start"], ["kill", "start", "start"])


def test_what_fails_at_its_begin_is_undone():
    async def main():
        llm, tts = ScriptedServer(kill_s=1), ScriptedServer(dies=False, kill_s=1)
        chaos = new_chaos(llm=llm, tts=tts)
        with pytest.raises(ProcessLookupError):
            await chaos.begin(request("gpu.loss"))
        return llm.told, tts.told, chaos.states()

    assert run_virtually(main()) == (["kill", "start"], ["kill", "start"], [])


def test_a_fault_that_is_still_beginning_is_there_and_ends_after_its_begin():
    order = []

    class Slow(ChaosFault):
        async def begin(self):
            await asyncio.sleep(5)
            order.append("begun")

        async def end(self):
            order.append("ended")

    async def main():
        chaos = Chaos({"slow": Slow}, now=now_ns)
        beginning = asyncio.create_task(chaos.begin(request("slow")))
        await asyncio.sleep(1)
        there = [state["id"] for state in chaos.states()]
        await chaos.end("one")
        await beginning
        return there, chaos.states()

    assert run_virtually(main()) == (["one"], [])
    assert order == ["begun", "ended"]


def test_one_that_is_ended_while_its_begin_fails_is_undone_once():
    order = []

    class Failing(ChaosFault):
        async def begin(self):
            await asyncio.sleep(5)
            raise ProcessLookupError("gone")

        async def end(self):
            order.append("ended")
            await asyncio.sleep(1)

    async def main():
        chaos = Chaos({"failing": Failing}, now=now_ns)
        beginning = asyncio.create_task(chaos.begin(request("failing")))
        await asyncio.sleep(1)
        ended = await chaos.end("one")
        with pytest.raises(ProcessLookupError, match="gone"):
            await beginning
        return ended["undone"], chaos.states()

    assert run_virtually(main()) == (True, [])
    assert order == ["ended"]


def test_a_model_on_somebody_elses_server_is_not_loaded_anew():
    async def main():
        chaos = new_chaos()
        remote = RemoteStt(SpeechEndpoint("http://127.0.0.1:9"))
        chaos.stt(remote)
        with pytest.raises(ValueError, match="stt of this agent has no model of ours to load"):
            await chaos.begin(request("stage.cold_start", stage="stt"))
        await chaos.begin(request("gpu.loss", stage="stt"))
        state = await chaos.end("one")
        chaos.stt(ScriptedStt(["hello"]))
        await chaos.begin(request("stage.cold_start", stage="stt"))
        await chaos.aclose()
        await remote.aclose()
        return state["undone"], "stt_load_ms" in state["counts"]

    assert run_virtually(main()) == (True, False)
