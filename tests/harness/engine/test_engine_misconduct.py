"""Callers that misbehave, on the wire: what leaves, what is counted, what the call's record says, and who is spared."""

from dataclasses import replace

import pytest
from engine_bench import bench_clips, engine, plan, responder, write_wav_corpus

from harness.faults.catalogue import KINDS
from harness.faults.check import check_parameters
from harness.model.clock import monotonic_ns
from harness.model.codec import to_json
from harness.model.fault import Fault, FaultFilter
from harness.model.plan import SipSpec, TargetSpec

pytestmark = [pytest.mark.loopback, pytest.mark.slow, pytest.mark.timeout(400)]

SIP, HTTP, RTP = "sip", "webrtc", "rtp"
# Name of the call and its fault: kind, parameters, transport, changes of the plan's limits.
CALLS = {
    "slow-sip": ("caller.slow_signalling", {"delay_ms": 300}, SIP, {}),
    "slow-webrtc": ("caller.slow_signalling", {"delay_ms": 300}, HTTP, {}),
    "no-ack": ("caller.no_ack", {}, SIP, {"greeting_timeout_ms": 1_200, "answer_timeout_ms": 800}),
    "gone-sip": ("caller.half_open", {"after_ms": 300}, SIP, {"media_timeout_ms": 1_500}),
    "gone-webrtc": ("caller.half_open", {"after_ms": 300}, HTTP, {"media_timeout_ms": 1_500}),
    "bad-sip": ("caller.malformed_sip", {"ratio": 1.0}, SIP, {"connect_timeout_ms": 1_800}),
    "bad-sdp-sip": ("caller.malformed_sdp", {}, SIP, {}),
    "bad-sdp-webrtc": ("caller.malformed_sdp", {}, HTTP, {}),
    "bad-sdp-rtp": ("caller.malformed_sdp", {}, RTP, {}),
    "junk-sip": ("caller.malformed_rtp", {"per_s": 100}, SIP, {}),
    "junk-webrtc": ("caller.malformed_rtp", {"per_s": 100}, HTTP, {}),
    "storm": ("caller.barge_in", {"after_ms": 200}, HTTP, {}),
}
# What does nothing: a delay of 0, a share of 0, no datagrams, no times; a kind for another transport.
NOTHING = {
    "no-delay": ("caller.slow_signalling", {"delay_ms": 0}, SIP),
    "no-share": ("caller.malformed_sip", {"ratio": 0.0}, SIP),
    "no-datagrams": ("caller.malformed_rtp", {"per_s": 0}, HTTP),
    "no-times": ("caller.barge_in", {"times": 0}, HTTP),
    "no-sip": ("caller.no_ack", {}, HTTP),
}


def fault(name, kind, parameters):
    said, problems = check_parameters(KINDS[kind], parameters)
    assert not problems
    return Fault(name, kind, KINDS[kind].where, parameters=said, filter=FaultFilter(callers=(name,)))


def target(transport, url, sip):
    if transport == SIP:
        return TargetSpec(sip, transport=SIP, dialect="", codec="PCMU", sip=SipSpec())
    if transport == RTP:
        return TargetSpec(url.replace("/api/offer", "/offer"), transport=RTP, dialect="", codec="PCMU")
    return TargetSpec(url)


def evidence_of(bench, name):
    told = [message for message in bench.of("fault") if message["name"] == name]
    return told[-1]["evidence"] if told else {"touched": 0, "calls": [], "counts": {}}


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Every call with its fault, and one that is spared; returns (evidence by name, calls, turns)."""
    run_dir = tmp_path_factory.mktemp("run")
    corpus = write_wav_corpus(tmp_path_factory.mktemp("corpus"), bench_clips())
    faults = {**{name: said[:3] for name, said in CALLS.items()}, **NOTHING}
    options = ("--delay-ms", "300:300", "--answer-ms", "900", "--sip-port", "0")
    with responder(run_dir / "truth", *options) as (url, process), engine(run_dir, corpus) as bench:
        _fixed, sip = (process.stdout.readline().strip() for _ in range(2))

        def place(name, transport, **limits):
            call = plan(url, name, ["voiced-b"] * 2, **limits)
            bench.place(replace(call, target=target(transport, url, sip), caller=name))

        for name, (kind, parameters, _transport) in faults.items():
            bench.send("fault", fault=to_json(fault(name, kind, parameters)))
        place("spared-sip", SIP)
        place("spared-webrtc", HTTP)
        for name, (_kind, _parameters, transport, limits) in CALLS.items():
            place(name, transport, **limits)
        for name, (_kind, _parameters, transport) in NOTHING.items():
            place(name, transport)
        bench.drain()
        for name in faults:
            bench.send("end_fault", name=name)
        bench.until(lambda _: sum(message["is_over"] for message in bench.of("fault")) == len(faults))
        told = {name: evidence_of(bench, name) for name in faults}
        assert bench.stop() == 0
    return told, bench.calls, bench.turns


def test_what_is_spared_or_does_nothing_is_as_ever_and_is_not_injected(broken):
    told, calls, turns = broken
    for name in ("spared-sip", "spared-webrtc", *NOTHING):
        assert (calls[name]["outcome"], calls[name]["turns_answered"]) == ("completed", 2), calls[name]
        assert not [turn for turn in turns if turn["call_id"] == name and turn["is_barge_in"]]
    assert {name: (told[name]["touched"], told[name]["calls"]) for name in NOTHING} == dict.fromkeys(NOTHING, (0, []))


@pytest.mark.parametrize("name", list(CALLS))
def test_each_is_counted_on_its_own_call(broken, name):
    evidence = broken[0][name]
    assert evidence["touched"] > 0
    assert evidence["calls"] == [name]


def test_slow_signalling_is_in_the_set_up_and_nowhere_else(broken):
    told, calls, _turns = broken
    assert told["slow-sip"]["counts"]["calls"] == 1
    # INVITE, ACK, BYE.
    assert told["slow-sip"]["touched"] >= 3
    for slow, other in (("slow-sip", "spared-sip"), ("slow-webrtc", "spared-webrtc")):
        assert calls[slow]["setup"]["signalling_ms"] >= 300
        assert calls[slow]["setup"]["total_ms"] > calls[other]["setup"]["total_ms"]
        assert calls[slow]["outcome"] == "completed"


def test_an_answer_that_is_never_acknowledged_is_said_again(broken):
    told, calls, _turns = broken
    # Once for each time that the agent says it.
    assert told["no-ack"]["touched"] >= 2
    assert calls["no-ack"]["outcome"] == "dropped"


@pytest.mark.parametrize("name", ["gone-sip", "gone-webrtc"])
def test_who_vanishes_says_no_goodbye_and_is_in_no_ratio(broken, name):
    told, calls, _turns = broken
    call, counts = calls[name], told[name]["counts"]
    assert (call["outcome"], call["cause"]) == ("interrupted", "operator")
    assert "vanished on purpose" in call["detail"]
    assert counts["packets_withheld"] > 20
    if name == "gone-sip":
        # The BYE, and that once more for want of an answer.
        assert counts["messages_withheld"] >= 1
        assert call["sip"]["bye"] == "none"


@pytest.mark.parametrize(
    ("name", "causes"),
    [
        ("bad-sip", {"sip_timeout", "sip_rejected", "signalling_unreachable", "sip_server_error"}),
        ("bad-sdp-sip", {"sip_rejected"}),
        ("bad-sdp-webrtc", {"signalling_refused"}),
        ("bad-sdp-rtp", {"signalling_refused"}),
    ],
)
def test_what_is_malformed_is_refused(broken, name, causes):
    call = broken[1][name]
    assert call["outcome"] == "failed"
    assert call["cause"] in causes


@pytest.mark.parametrize("name", ["junk-sip", "junk-webrtc"])
def test_an_agent_that_drops_malformed_datagrams_goes_on(broken, name):
    told, calls, _turns = broken
    assert told[name]["touched"] >= 100
    assert (calls[name]["outcome"], calls[name]["turns_answered"]) == ("completed", 2)


def test_a_storm_speaks_over_every_answer(broken):
    told, calls, turns = broken
    spoken = [turn for turn in turns if turn["call_id"] == "storm" and turn["attempt"] == 0]
    assert [turn["is_barge_in"] for turn in spoken] == [True, True]
    assert told["storm"]["touched"] == 2
    assert calls["storm"]["connected_at_ns"] is not None


def test_a_herd_calls_at_one_instant(tmp_path):
    corpus = write_wav_corpus(tmp_path / "corpus", bench_clips())
    options = ("--delay-ms", "300:300")
    with responder(tmp_path / "truth", *options) as (url, _process), engine(tmp_path, corpus) as bench:
        bench.send("fault", fault=to_json(fault("herd", "caller.herd", {})))
        now = monotonic_ns()
        for n in range(4):
            call = replace(plan(url, f"one-{n}", ["voiced-b"]), caller="herd")
            bench.place(call, due_at_ns=now + n * 200_000_000)
        bench.place(plan(url, "other", ["voiced-b"]))
        bench.until(lambda _: "other" in bench.calls)
        # As long as they wait nothing was done to the agent.
        assert evidence_of(bench, "herd")["touched"] == 0
        bench.send("end_fault", name="herd")
        bench.drain()
        evidence = evidence_of(bench, "herd")
        assert bench.stop() == 0
    herd = [bench.calls[f"one-{n}"] for n in range(4)]
    assert evidence["touched"] == 4
    assert len({call["due_at_ns"] for call in herd}) == 1
    assert all(call["started_at_ns"] > bench.calls["other"]["ended_at_ns"] for call in herd)
    assert {call["outcome"] for call in herd} == {"completed"}


def test_a_herd_that_is_never_let_go_does_not_call_at_the_end(tmp_path):
    corpus = write_wav_corpus(tmp_path / "corpus", bench_clips())
    with responder(tmp_path / "truth") as (url, _process), engine(tmp_path, corpus) as bench:
        bench.send("fault", fault=to_json(fault("herd", "caller.herd", {})))
        bench.place(replace(plan(url, "one", ["voiced-b"]), caller="herd"))
        bench.send("end_fault", name="nobody")
        bench.place(plan(url, "other", ["voiced-b"]))
        bench.until(lambda _: "other" in bench.calls)
        assert bench.stop() == 0
    assert "one" not in bench.calls
    assert evidence_of(bench, "herd")["touched"] == 0
