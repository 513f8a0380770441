"""Faults of the network on an engine's calls: put on in the middle, on those they are for, and off again."""

from dataclasses import replace

import pytest
from engine_bench import bench_clips, engine, plan, responder, write_wav_corpus

from harness.faults.catalogue import KINDS
from harness.model.codec import to_json
from harness.model.fault import Fault, FaultFilter

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(400)]

PARAMETERS = {
    "network.loss": {"loss_ratio": 0.3},
    "network.burst_loss": {"p": 0.2, "r": 0.3, "loss_good": 0.0, "loss_bad": 1.0},
    "network.delay": {"delay_ms": 300.0},
    "network.jitter": {"jitter_ms": 30.0, "distribution": "uniform", "reorder": "kept"},
    "network.reorder": {"reorder_ratio": 0.3, "reorder_ms": 50.0},
    "network.duplicate": {"duplicate_ratio": 0.3},
    "network.bandwidth": {"kbps": 40.0, "queue_ms": 100.0},
    "network.partition": {},
}


def fault(kind, name, parameters=None, **chosen):
    said = PARAMETERS[kind] if parameters is None else parameters
    return Fault(name, kind, KINDS[kind].where, parameters={"direction": "both", **said}, filter=FaultFilter(**chosen))


def evidence_of(bench, name):
    """Return the last word on a fault, and whether it was its last."""
    told = [message for message in bench.of("fault") if message["name"] == name]
    return (told[-1]["evidence"], told[-1]["is_over"]) if told else ({"touched": 0}, False)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A call of each kind of fault, one that is spared, one that begins later; returns (evidence, calls, turns)."""
    run_dir = tmp_path_factory.mktemp("run")
    corpus = write_wav_corpus(tmp_path_factory.mktemp("corpus"), bench_clips())
    names = [*PARAMETERS, "spared"]
    with responder(run_dir / "truth", "--delay-ms", "300:300") as (_url, process), engine(run_dir, corpus) as bench:
        url = process.stdout.readline().strip()

        def place(name):
            call = plan(url, name, ["voiced-b"] * 3)
            target = replace(call.target, url=url, transport="rtp", codec="PCMU", srtp="off", source_ports="per_call")
            bench.place(replace(call, target=target, caller=name.removeprefix("late-")))

        for name in names:
            place(name)
        bench.until(lambda _: sum(m["name"] == "greeting" for m in bench.of("milestone")) == len(names))
        for kind in PARAMETERS:
            bench.send("fault", fault=to_json(fault(kind, kind, callers=(kind,))))
        bench.send("fault", fault=to_json(fault("network.delay", "nothing", {"delay_ms": 0.0})))
        bench.send("fault", fault=to_json(fault("network.loss", "nobody", share=0.0)))
        place("late-network.delay")
        bench.until(lambda _: all(evidence_of(bench, kind)[0]["touched"] >= 5 for kind in PARAMETERS))
        bench.until(lambda _: len(evidence_of(bench, "network.delay")[0]["calls"]) == 2)
        bench.until(lambda _: [t for t in bench.turns if t["call_id"] == "late-network.delay"])
        for kind in [*PARAMETERS, "nothing", "nobody"]:
            bench.send("end_fault", name=kind)
        bench.until(lambda _: all(evidence_of(bench, kind)[1] for kind in [*PARAMETERS, "nothing", "nobody"]))
        bench.drain()
        told = {kind: evidence_of(bench, kind)[0] for kind in [*PARAMETERS, "nothing", "nobody"]}
        assert bench.stop() == 0
    return told, bench.calls, bench.turns


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("network.loss", "packets_lost"),
        ("network.burst_loss", "packets_lost"),
        ("network.delay", "packets_delayed"),
        ("network.jitter", "packets_delayed"),
        ("network.reorder", "packets_reordered"),
        ("network.duplicate", "packets_duplicated"),
        ("network.partition", "packets_lost"),
    ],
)
def test_each_fault_does_its_own_to_its_own_calls(broken, kind, count):
    told, _calls, _turns = broken
    evidence = told[kind]
    assert evidence["touched"] == evidence["counts"][count] > 0
    assert [call for call in evidence["calls"] if not call.startswith("late-")] == [kind]
    others = {"packets_lost", "packets_delayed", "packets_reordered", "packets_duplicated", "packets_queue_lost"} - {
        count
    }
    if kind == "network.reorder":
        # Held back is late.
        others.discard("packets_delayed")
    assert {name: evidence["counts"][name] for name in others} == dict.fromkeys(others, 0)


def test_a_bottleneck_queues_and_then_loses(broken):
    counts = broken[0]["network.bandwidth"]["counts"]
    assert counts["packets_delayed"] > 0 < counts["packets_queue_lost"]


def test_what_does_nothing_or_is_for_nobody_touched_nothing(broken):
    told, calls, _turns = broken
    assert told["nothing"]["touched"] == told["nobody"]["touched"] == 0
    assert told["nobody"]["calls"] == []
    spared = calls["spared"]["media"]
    assert (spared["impaired_lost_outgoing"], spared["impaired_lost_incoming"], spared["packets_lost"]) == (0, 0, 0)


def test_a_delay_of_300_ms_each_way_is_in_the_ttfb_of_a_call_that_begins_meanwhile(broken):
    _told, _calls, turns = broken
    late = next(t for t in turns if t["call_id"] == "late-network.delay")
    spared = [t["ttfb_ms"] for t in turns if t["call_id"] == "spared"]
    assert late["ttfb_ms"] - min(spared) >= 250
