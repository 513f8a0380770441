"""A fault of the network is credited with what it did itself, not with what else befell its calls' packets."""

from types import SimpleNamespace

import pytest

from harness.engine.fault_network import NetworkFaults
from harness.faults.catalogue import KINDS
from harness.faults.check import check_parameters
from harness.faults.families.network import credits_of
from harness.media.call_counts import Impaired
from harness.model.fault import Fault, Where
from harness.model.impairment import Bandwidth, Impairment, Jitter

pytestmark = pytest.mark.unit


def fault(kind, name="one", **said):
    parameters, problems = check_parameters(KINDS[f"network.{kind}"], said)
    assert not problems
    return Fault(name, f"network.{kind}", Where.NETWORK, parameters=parameters)


LOSSY, LATE = Impairment(loss_ratio=0.1), Impairment(delay_ms=20)
NARROW = Impairment(bandwidth=Bandwidth(50))


@pytest.mark.parametrize(
    ("one", "others", "credits_"),
    [
        (fault("loss", loss_ratio=0.1), {}, {"lost": 1.0}),
        (fault("loss", loss_ratio=0.1), {"outgoing": [LOSSY], "incoming": [LOSSY]}, {"lost": 0.1 / 0.19}),
        (fault("loss", loss_ratio=0.1), {"outgoing": [LATE]}, {"lost": 1.0}),
        (fault("loss", loss_ratio=0.1, direction="outgoing"), {"incoming": [LOSSY]}, {"lost": 0.5}),
        (fault("loss", loss_ratio=0), {"outgoing": [LOSSY]}, {"lost": 0.0}),
        (fault("partition"), {"outgoing": [LOSSY], "incoming": [LOSSY]}, {"lost": 1.0}),
        (fault("delay", delay_ms=5), {"outgoing": [LATE], "incoming": [LATE]}, {"delayed": 1.0}),
        (fault("delay", delay_ms=0), {"outgoing": [LATE], "incoming": [LATE]}, {"delayed": 0.0}),
        (fault("jitter", jitter_ms=5, direction="incoming"), {"outgoing": [LATE]}, {"delayed": 0.5}),
        (fault("duplicate", duplicate_ratio=0.2), {"outgoing": [LOSSY]}, {"duplicated": 1.0}),
        (fault("bandwidth", kbps=64), {}, {"queue_lost": 1.0, "delayed": 1.0}),
        (fault("bandwidth", kbps=64), {"outgoing": [LATE]}, {"queue_lost": 1.0, "delayed": 0.0}),
        (fault("bandwidth", kbps=64), {"outgoing": [NARROW]}, {"queue_lost": 0.0, "delayed": 0.0}),
        (fault("bandwidth", kbps=40), {"outgoing": [NARROW]}, {"queue_lost": 1.0, "delayed": 1.0}),
        (
            fault("bandwidth", kbps=40),
            {"incoming": [Impairment(jitter=Jitter(5))]},
            {"queue_lost": 1.0, "delayed": 0.0},
        ),
    ],
)
def test_each_network_is_credited_with_its_share(one, others, credits_):
    assert credits_of(one, others) == pytest.approx(credits_)


class Call:
    """A call whose network counts as it is told."""

    def __init__(self, outgoing=None, incoming=None):
        self.plan = SimpleNamespace(call_id="call", seed=1, impair_outgoing=outgoing, impair_incoming=incoming)
        self.media, self.counted = self, Impaired()

    def impair(self, _direction, _impairment):
        return True

    def impaired(self):
        return self.counted

    def count(self, **more):
        said = {name: getattr(self.counted, name) + value for name, value in more.items()}
        self.counted = self.counted._replace(**said)


def test_what_the_scenario_loses_is_not_the_faults():
    faults, call = NetworkFaults(), Call(LOSSY, LOSSY)
    faults.begin(fault("loss", loss_ratio=1e-5))
    assert faults.join("one", call)
    call.count(packets=1_000, lost=100)
    found = faults.evidence("one")
    assert (found.touched, found.counts["packets_lost"]) == (0, 100)


def test_a_packet_lost_in_a_queue_was_not_lost_at_random():
    faults, call = NetworkFaults(), Call(NARROW)
    faults.begin(fault("loss", loss_ratio=0.1))
    faults.join("one", call)
    call.count(packets=100, lost=30, queue_lost=20)
    assert faults.evidence("one").touched == 10


def test_faults_that_come_and_go_beside_each_other_are_credited_apart():
    faults, call = NetworkFaults(), Call()
    faults.begin(fault("loss", loss_ratio=0.1))
    faults.join("one", call)
    call.count(packets=100, lost=10)
    faults.begin(fault("partition", "two"))
    faults.join("two", call)
    call.count(packets=100, lost=100)
    # Of what a partition takes, a loss of 10 % takes its tenth as well.
    assert [faults.evidence(name).touched for name in ("one", "two")] == [20, 100]
    assert faults.leave("two", call)
    call.count(packets=100, lost=10)
    faults.over("call")
    assert [faults.end(name).touched for name in ("one", "two")] == [30, 100]
