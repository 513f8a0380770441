"""A set-up or a goodbye that hangs is cut, whatever it hangs in, and its call leaves a row that blames nobody else."""

import asyncio
from types import SimpleNamespace

import pytest
from rtp_bench import plan

from harness.callers import backstop, call
from harness.callers.backstop import CutShort, bounded
from harness.callers.call import Call, CallContext
from harness.callers.setup_queue import SetupQueue
from harness.engine.engine import Engine
from harness.model.errors import GeneratorError
from harness.model.plan import CallLimits
from harness.model.records import Cause, Outcome, SetupTimes

pytestmark = pytest.mark.unit


class Hanging:
    """A caller whose every step hangs."""

    def __init__(self):
        self.setup, self.media, self.recorder, self.candidate_types = SetupTimes(), None, None, None

    async def connect(self, _turn):
        await asyncio.get_running_loop().create_future()

    async def close(self):
        await asyncio.get_running_loop().create_future()


def context(tmp_path, clip=lambda *_: None):
    said = SimpleNamespace(transcript="x", accent="a", native=True)
    nothing = lambda *_: None  # noqa: E731 - one for both
    return CallContext(
        worker="w", run_dir=tmp_path, http=None, media_loop=None, peers=None,
        source_ports=SimpleNamespace(new_ssrc=lambda: 1), setup_queue=SetupQueue(), timers=None,
        utterances={"u": said}, clip=clip, on_turn=nothing, on_milestone=nothing,
    )  # fmt: skip


def short_plan():
    short = plan("rtp://127.0.0.1:9", codec="PCMU")
    object.__setattr__(short, "limits", CallLimits(connect_timeout_ms=10))
    return short


def test_a_call_whose_set_up_and_goodbye_hang_ends_with_a_row(tmp_path, monkeypatch):
    async def main():
        monkeypatch.setattr(call, "GRACE_S", 0.01)
        monkeypatch.setattr(call, "_CLOSE_LIMIT_S", 0.01)
        monkeypatch.setattr(call, "_caller_of", lambda *_: Hanging())
        shared = context(tmp_path)
        row = await asyncio.wait_for(Call(short_plan(), None, shared).run(), 30)
        assert (row.outcome, row.cause) == (Outcome.FAILED, Cause.GENERATOR_ERROR)
        assert "the set-up before an answer hung: cut after 0.02 s" in row.detail
        # Its place is free again.
        assert shared.setup_queue._free == SetupQueue()._free

    asyncio.run(main())


def test_work_that_does_not_heed_its_cancellation_is_left_behind(monkeypatch):
    async def main():
        monkeypatch.setattr(backstop, "_CANCEL_S", 0.01)
        release = asyncio.Event()

        async def deaf():
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        with pytest.raises(GeneratorError, match="it hung"):
            await asyncio.wait_for(bounded(deaf(), 0.01, lambda: "it"), 30)
        release.set()

    asyncio.run(main())


def test_waiting_for_a_place_is_no_part_of_the_limit():
    async def main():
        waited = [0, 10**12]
        told = iter(waited)

        async def work():
            await asyncio.sleep(0.02)
            return "done"

        assert await bounded(work(), 0.001, lambda: "it", lambda: next(told, waited[-1])) == "done"

    asyncio.run(main())


def test_a_call_whose_audio_cannot_be_read_leaves_a_row(tmp_path):
    def no_descriptor(*_):
        raise OSError(24, "Too many open files")

    async def main():
        sent = []
        engine = Engine.__new__(Engine)
        engine._context = context(tmp_path, no_descriptor)

        async def held(_plan, due_at_ns):
            return due_at_ns

        engine._calls, engine._tasks = {}, {"call-1": None}
        engine._clips = SimpleNamespace(has=lambda *_: False, clip=no_descriptor)
        engine._faults = SimpleNamespace(hold=held, vary=lambda plan: plan, begun=lambda _: None, over=lambda _: None)
        engine._send = lambda kind, **fields: sent.append((kind, fields))
        await engine._run_call(short_plan(), None)
        ((kind, fields),) = sent
        assert kind == "call"
        assert (fields["record"]["outcome"], fields["record"]["cause"]) == ("failed", "generator_error")
        assert "the audio of 'u' cannot be read: OSError(24" in fields["record"]["detail"]
        assert not engine._tasks

    asyncio.run(main())


def test_a_bell_cuts_work_short_and_cancels_it():
    async def main():
        bell, was_cancelled = asyncio.get_running_loop().create_future(), []

        async def work():
            bell.set_result(None)
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                was_cancelled.append(True)
                raise

        with pytest.raises(CutShort):
            await asyncio.wait_for(bounded(work(), 30, lambda: "it", bell=bell), 30)
        assert was_cancelled

    asyncio.run(main())


def test_work_that_is_done_when_the_bell_rings_counts():
    async def main():
        bell = asyncio.get_running_loop().create_future()

        async def work():
            bell.set_result(None)
            return "done"

        assert await asyncio.wait_for(bounded(work(), 30, lambda: "it", bell=bell), 30) == "done"

    asyncio.run(main())
