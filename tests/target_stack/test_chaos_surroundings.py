"""What the agent needs beside its stages, broken: clock, disk, database, certificate, GPU; each comes back."""

import asyncio
import datetime as dt
import errno
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from target_stack.call_scope import CallScope, enter_scope
from target_stack.chaos.chaos import Chaos
from target_stack.chaos.expired import expired_pem
from target_stack.chaos.fault import FaultRequest
from target_stack.chaos.parts import AgentParts
from target_stack.compliance.database import StoreError
from target_stack.compliance.ledger import Ledger
from target_stack.emulation.life import Life
from target_stack.emulation.stages import EmulatedStt
from target_stack.emulation.work import Served
from target_stack.frames import INPUT_RATE
from target_stack.gate import Gate
from target_stack.routing.failures import ProviderError
from target_stack.stages.llm import LlmError, ScriptedLlm
from target_stack.stages.stt import ScriptedStt
from target_stack.stages.tts import ScriptedTts
from target_stack.telemetry.events import CallEnded, EventLog
from target_stack.wall_clock import WallClock
from tests.harness.faults.certificate_files import tls_listener, write_certificate
from tests.target_stack.scripted_server import ScriptedServer
from tests.target_stack.virtual_loop import now_ns, run_virtually

pytestmark = pytest.mark.unit
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def request(kind, fault_id="one", **parameters):
    return FaultRequest(fault_id, kind, parameters, 1.0, 7, 1_000.0)


def new_chaos(**parts):
    chaos = Chaos(now=now_ns)
    for name, part in parts.items():
        setattr(chaos.parts, name, part)
    return chaos


async def during(chaos, kind, act, **parameters):
    """Return what `act` gives while the fault is in force, its last state, and what `act` gives afterwards."""
    await chaos.begin(request(kind, **parameters))
    found = act()
    state = await chaos.end("one")
    return found, state, act()


@pytest.mark.parametrize("skew_s", [3_600.0, -86_400.0])
def test_a_clock_is_wrong_by_so_much_and_right_again(skew_s):
    clock = WallClock(lambda: NOON)
    found, state, after = run_virtually(during(new_chaos(clock=clock), "target.clock_skew", clock.now, skew_s=skew_s))
    assert found - NOON == dt.timedelta(seconds=skew_s)
    assert after == NOON
    assert (state["touched"], state["what"]) == (1, "readings of the wall clock")


def test_a_skew_of_nothing_touches_nothing():
    clock = WallClock(lambda: NOON)
    found, state, _ = run_virtually(during(new_chaos(clock=clock), "target.clock_skew", clock.now, skew_s=0))
    assert (found, state["touched"], state["counts"]["seen"]) == (NOON, 0, 1)


def test_a_full_disk_loses_lines_of_the_event_log_and_no_call(tmp_path):
    disk = Gate()
    log = EventLog(tmp_path / "events.jsonl", disk=disk)
    log.open()

    def write():
        log.write(CallEnded("call-1", 1, 1))
        return len((tmp_path / "events.jsonl").read_text().splitlines())

    found, state, after = run_virtually(during(new_chaos(disk=disk), "target.disk_full", write))
    log.close()
    assert (found, state["touched"], after) == (0, 1, 1)
    assert len(log.recent) == 2
    assert "callquake_lost_event_lines_total 1" in log.metrics()


def test_a_full_disk_is_told_in_the_systems_words():
    async def main():
        disk = Gate()
        await new_chaos(disk=disk).begin(request("target.disk_full"))
        disk.pass_through()

    with pytest.raises(OSError, match="No space left") as caught:
        run_virtually(main())
    assert caught.value.errno == errno.ENOSPC


def test_a_lost_database_answers_nobody_and_then_again():
    class Store:
        def close(self):
            pass

    async def main():
        ledger = Ledger(Store)
        await ledger.open()
        chaos = new_chaos(database=ledger.gate)
        await chaos.begin(request("target.database_loss"))
        with pytest.raises(StoreError, match="cannot be reached, by the fault one"):
            await ledger.ask(lambda store: "answer")
        state = await chaos.end("one")
        answer = await ledger.ask(lambda store: "answer")
        await ledger.aclose()
        return state["touched"], answer

    assert asyncio.run(main()) == (1, "answer")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("target.disk_full", "this agent writes nothing"),
        ("target.database_loss", "this agent keeps no database"),
        ("target.certificate_expiry", "this agent accepts no TLS itself"),
    ],
)
def test_what_an_agent_has_not_it_cannot_lose(kind, said):
    with pytest.raises(ValueError, match=said):
        run_virtually(new_chaos().begin(request(kind)))


@pytest.fixture
def listener(tmp_path):
    return tls_listener(tmp_path)


def handshake(listener):
    """Return what a client that trusts the listener's certificate makes of a handshake: "" for nothing wrong."""
    trusting = ssl.create_default_context(cafile=str(listener.certificate))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = listener.context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    return "" if client.version() else "no handshake"


def test_a_certificate_has_run_out_for_who_checks_it_and_is_good_again(listener):
    found, state, after = run_virtually(
        during(new_chaos(tls=listener), "target.certificate_expiry", lambda: handshake(listener))
    )
    assert (found, after) == ("certificate has expired", "")
    assert state["touched"] == 1


def test_what_another_has_signed_is_not_forged(tmp_path):
    write_certificate(tmp_path)
    (tmp_path / "other").mkdir()
    write_certificate(tmp_path / "other")
    leaf = x509.load_pem_x509_certificate((tmp_path / "cert.pem").read_bytes())
    assert leaf.not_valid_after_utc > dt.datetime.now(dt.UTC)
    signed_by_other = (tmp_path / "other" / "cert.pem").read_bytes()
    made = expired_pem(signed_by_other, (tmp_path / "other" / "key.pem").read_bytes(), NOON)
    assert x509.load_pem_x509_certificate(made).not_valid_after_utc < NOON
    # The same certificate with one bit of its signature turned is signed by nobody that is known.
    der = bytearray(leaf.public_bytes(Encoding.DER))
    der[-1] ^= 1
    broken = x509.load_der_x509_certificate(bytes(der)).public_bytes(Encoding.PEM)
    with pytest.raises(ValueError, match="only a self-signed one can be made anew"):
        expired_pem(broken, (tmp_path / "key.pem").read_bytes(), NOON)


def test_of_two_expired_certificates_the_first_to_end_leaves_the_other(listener):
    async def main():
        chaos = new_chaos(tls=listener)
        for name in ("one", "two"):
            await chaos.begin(request("target.certificate_expiry", name))
        first = await chaos.end("one")
        found = handshake(listener)
        second = await chaos.end("two")
        return first["touched"], found, second["touched"], handshake(listener)

    assert run_virtually(main()) == (0, "certificate has expired", 1, "")


class SlowStt(ScriptedStt):
    """Takes a second, and counts how often it was loaded."""

    loads = 0

    async def load(self):
        self.loads += 1

    async def transcribe(self, samples):
        await asyncio.sleep(1)
        return await super().transcribe(samples)


def test_a_lost_gpu_takes_what_runs_on_it_and_models_load_anew():
    async def main():
        chaos, server = new_chaos(), ScriptedServer()
        own = SlowStt(["hello", "again", "more"])
        stt, llm = chaos.stt(own), chaos.llm(ScriptedLlm(["well met"]))
        chaos.tts(ScriptedTts())
        chaos.runs_in("llm", server)
        enter_scope(CallScope("call-1", 1, 0))
        under_way = asyncio.create_task(stt.transcribe([]))
        await asyncio.sleep(0.5)
        await chaos.begin(request("gpu.loss"))
        with pytest.raises(ProviderError, match="the GPU is lost") as lost:
            await under_way
        with pytest.raises(LlmError, match="the GPU is lost"):
            [piece async for piece in llm.stream([])]
        state = await chaos.end("one")
        return lost.value.status, state, server.told, own.loads, (await stt.transcribe([])).text

    status, state, told, loads, text = run_virtually(main())
    assert (status, told, loads) == (503, ["kill", "start"], 1)
    assert (state["touched"], state["counts"]["under_way"], state["counts"]["llm_load_ms"]) == (2, 1, 4_000)
    assert text


def test_a_lost_gpu_of_one_stage_leaves_the_others():
    async def main():
        chaos = new_chaos()
        stt, tts = chaos.stt(ScriptedStt(["hello"])), chaos.tts(ScriptedTts())
        enter_scope(CallScope("call-1", 1, 0))
        await chaos.begin(request("gpu.loss", stage="tts"))
        with pytest.raises(ProviderError):
            await tts.synthesise("hi")
        text = (await stt.transcribe([])).text
        await chaos.aclose()
        return text

    assert run_virtually(main()) == "hello"


class Recogniser:
    """Emulated servers that take no time."""

    async def recognise(self, job):
        return Served(0.0, 0.0)


def test_an_empty_answer_of_the_emulated_recogniser_is_no_transcript_either():
    async def main():
        chaos = new_chaos()
        stt = chaos.stt(EmulatedStt(Recogniser(), "emulated", Life("stt", lambda: 0.0)))
        enter_scope(CallScope("call-1", 1, 0))
        samples = [0] * INPUT_RATE
        usual = await stt.transcribe(samples)
        await chaos.begin(request("stage.empty", stage="stt"))
        empty = await stt.transcribe(samples)
        real = new_chaos()
        own = real.stt(ScriptedStt(["hello"]))
        await real.begin(request("stage.empty", stage="stt"))
        return usual, empty, await own.transcribe(samples)

    usual, empty, real = run_virtually(main())
    assert usual.text
    assert usual.is_emulated
    assert (empty.text, empty.is_emulated) == ("", True)
    # A real recogniser that hears nothing says so: that is a transcript, and a wrong one.
    assert (real.text, real.is_emulated) == ("", False)


class Writer:
    """A language model whose words come at their own times, whether or not anybody has read the last one."""

    description = "writer"

    def __init__(self, times_s=(1.0, 1.5, 2.0, 5.0)):
        self._times_s = times_s

    async def stream(self, history):
        begun_s = asyncio.get_running_loop().time()
        for number, at_s in enumerate(self._times_s):
            await asyncio.sleep(max(0, begun_s + at_s - asyncio.get_running_loop().time()))
            yield f"word{number} "


async def heard_at_s(llm):
    """Return when each piece of a reply came."""
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    return [round(loop.time() - begun_s, 3) async for _ in llm.stream([])]


def test_slow_work_slows_every_word_of_a_reply():
    async def main():
        chaos = new_chaos()
        llm = chaos.llm(Writer())
        enter_scope(CallScope("call-1", 1, 0))
        before = await heard_at_s(llm)
        await chaos.begin(request("stage.slow", stage="llm", factor=3))
        slowed = await heard_at_s(llm)
        state = await chaos.end("one")
        return before, slowed, await heard_at_s(llm), state

    before, slowed, after, state = run_virtually(main())
    assert before == after == [1.0, 1.5, 2.0, 5.0]
    assert slowed == [3.0, 4.5, 6.0, 15.0]
    assert (state["touched"], state["counts"]["delay_ms"]) == (1, 10_000)


def test_the_rest_of_a_reply_comes_at_once_when_slow_work_is_over():
    async def main():
        chaos = new_chaos()
        llm = chaos.llm(Writer())
        enter_scope(CallScope("call-1", 1, 0))
        await chaos.begin(request("stage.slow", stage="llm", factor=10))
        hearing = asyncio.create_task(heard_at_s(llm))
        await asyncio.sleep(12)
        await chaos.end("one")
        return await hearing

    assert run_virtually(main()) == [10.0, 12.0, 12.0, 12.0]


def test_a_reply_that_fails_under_way_fails_when_it_is_slow_too():
    class Failing(Writer):
        async def stream(self, history):
            async for piece in super().stream(history):
                yield piece
                raise LlmError("gone", status=500)

    async def main():
        chaos = new_chaos()
        llm = chaos.llm(Failing())
        enter_scope(CallScope("call-1", 1, 0))
        await chaos.begin(request("stage.slow", stage="llm", factor=2))
        stream = llm.stream([])
        first = await anext(stream)
        with pytest.raises(LlmError, match="gone"):
            await anext(stream)
        return first

    assert run_virtually(main()) == "word0 "


def test_who_stops_reading_a_slow_reply_leaves_no_task():
    async def main():
        chaos = new_chaos()
        llm = chaos.llm(Writer())
        enter_scope(CallScope("call-1", 1, 0))
        await chaos.begin(request("stage.slow", stage="llm", factor=2))
        stream = llm.stream([])
        await anext(stream)
        await stream.aclose()
        await chaos.end("one")
        return len(asyncio.all_tasks())

    assert run_virtually(main()) == 1


def test_parts_are_nothing_until_the_agent_has_them():
    parts = AgentParts()
    assert (parts.disk, parts.database, parts.tls) == (None, None, None)
