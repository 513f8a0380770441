"""Faults meet the calls that go on: one that ends while they are gone through takes no fault with it."""

import asyncio
import errno
from dataclasses import replace
from types import SimpleNamespace

import pytest
from test_caller_faults import PLAN

from harness.callers.call import Call
from harness.engine.engine import Engine
from harness.engine.fault_desk import FaultDesk
from harness.model.fault import Evidence, Fault, Where

pytestmark = pytest.mark.unit

LOSS = Fault("f", "network.loss", Where.NETWORK, parameters={"loss_ratio": 0.1, "direction": "both"})


class Desk:
    """A desk with calls that are up, `a` and `b`; they have no packets of their own."""

    def __init__(self):
        self.calls = {name: self._call(name) for name in ("a", "b")}
        self.told = []
        self.desk = FaultDesk(self.calls, lambda name, evidence, is_over: self.told.append((name, is_over)))

    @staticmethod
    def _call(name):
        call = Call.__new__(Call)
        call._plan, call._caller = (
            SimpleNamespace(call_id=name, caller="any", target=PLAN.target),
            SimpleNamespace(media=None),
        )
        return call

    def end(self, name):
        """Do what the engine does with a call that is over."""
        call = self.calls.pop(name)
        del call._caller
        self.desk.over(name)
        return call


class Busy:
    """A fault's work whose loop is always too busy."""

    def __init__(self):
        self.asked = []

    def begin(self, fault):
        pass

    def join(self, _name, call):
        self.asked.append(call.plan.call_id)
        return False

    leave = join

    def over(self, call_id):
        pass

    def evidence(self, _name):
        return Evidence()

    end = evidence


def test_a_call_whose_fault_names_audio_that_cannot_be_read_yet_begins_all_the_same():
    class Unreadable:
        def has(self, _utterance_id, _codec):
            return False

        def clip(self, utterance_id, _codec):
            raise OSError(errno.EMFILE, utterance_id)

    engine = Engine.__new__(Engine)
    engine._clips = Unreadable()
    varied = replace(PLAN, turns=PLAN.turns[:1])
    engine._faults = SimpleNamespace(vary=lambda _plan: varied)
    assert asyncio.run(engine._varied(PLAN, engine._clips)) is varied


def test_a_fault_is_put_on_though_a_call_ends_meanwhile():
    async def go():
        lab = Desk()
        lab.desk.begin(LOSS)
        # It has looked which calls there are, and lets the others have their turn.
        await asyncio.sleep(0)
        lab.end("a")
        await asyncio.wait(lab.desk._tasks)
        lab.desk.end("f")
        await asyncio.sleep(0)
        lab.end("b")
        await asyncio.wait(lab.desk._tasks)
        return lab.told

    assert asyncio.run(go()) == [("f", False), ("f", True)]


@pytest.mark.parametrize("side", ["at its set-up", "when the fault begins", "when it ends"])
def test_nobody_goes_on_asking_for_a_call_that_is_over(side):
    async def go():
        lab, busy = Desk(), Busy()
        lab.desk._works["network"] = busy
        lab.end("b")
        call = lab.calls["a"]
        if side == "at its set-up":
            lab.desk._faults["f"] = LOSS
            lab.desk.up(call)
        elif side == "when the fault begins":
            lab.desk.begin(LOSS)
        else:
            lab.desk._faults["f"] = LOSS
            lab.desk.end("f")
        await asyncio.sleep(0.02)
        assert len(busy.asked) > 1
        lab.end("a")
        asked = len(busy.asked)
        await asyncio.wait_for(asyncio.wait(lab.desk._tasks), 1)
        return asked, len(busy.asked), lab.desk._tasks

    before, after, left = asyncio.run(go())
    assert (before, left) == (after, set())
