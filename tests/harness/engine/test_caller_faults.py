"""What faults of callers make of a plan, and of the SDP that a call says."""

from dataclasses import dataclass, replace

import pytest

from harness.callers import sabotage
from harness.engine.fault_callers import CallerFaults
from harness.engine.fault_desk import takes_in
from harness.faults.catalogue import KINDS
from harness.faults.check import check_parameters
from harness.model.fault import Fault, FaultFilter
from harness.model.plan import (
    CallLimits,
    CallPlan,
    IceServer,
    IceSpec,
    Misconduct,
    Patience,
    Persona,
    PlannedTurn,
    SipSpec,
    TargetSpec,
)

pytestmark = pytest.mark.unit

PLAN = CallPlan(
    call_id="call-1",
    index=1,
    due_ms=None,
    caller="any",
    persona=Persona("n", "p", "r", "a", "normal"),
    patience=Patience("normal", 1, 1, 1),
    turns=(PlannedTurn("short-us", 300.0), PlannedTurn("short-us", 300.0)),
    target=TargetSpec("http://127.0.0.1/offer"),
    limits=CallLimits(),
)
TURN = IceSpec("all", (IceServer(("turn:turn.test:3478",), "me", "right"), IceServer(("stun:stun.test",))))


@dataclass(frozen=True)
class Clip:
    accent: str
    duration_ms: float


CORPUS = {"short-us": Clip("us", 2_000), "long-us": Clip("us", 25_000), "long-in": Clip("indian", 25_000)}


def vary(kind, plan=PLAN, **parameters):
    found, problems = check_parameters(KINDS[kind], parameters)
    assert not problems, problems
    work = CallerFaults()
    work.utterances = CORPUS
    work.begin(Fault("f", kind, KINDS[kind].where, parameters=found))
    varied = work.vary("f", plan)
    return varied, work.end("f")


def test_a_silence_is_before_the_first_utterance_only():
    varied, told = vary("caller.silence", silence_ms=9_000)
    assert [turn.think_ms for turn in varied.turns] == [9_300, 300]
    assert (told.touched, told.calls, told.counts["seen"]) == (1, ("call-1",), 1)


def test_long_utterances_are_the_same_persons():
    varied, told = vary("caller.long_utterance", least_s=20)
    assert [turn.utterance_id for turn in varied.turns] == ["long-us", "long-us"]
    assert told.touched == 1


def test_keys_are_pressed_where_keys_can_be():
    sip = replace(PLAN, target=replace(PLAN.target, transport="sip"))
    varied, told = vary("caller.dtmf_flood", sip, digits="12#x", times=20)
    assert ["".join(action.dtmf for action in turn.actions) for turn in varied.turns] == ["12#" * 20] * 2
    assert max(len(action.dtmf) for turn in varied.turns for action in turn.actions) == 32
    assert told.touched == 1


@pytest.mark.parametrize(
    ("kind", "plan", "parameters"),
    [
        ("caller.silence", PLAN, {"silence_ms": 0}),
        ("caller.long_utterance", PLAN, {"least_s": 100}),
        ("caller.dtmf_flood", PLAN, {}),
        ("caller.dtmf_flood", replace(PLAN, target=replace(PLAN.target, transport="sip")), {"times": 0}),
        ("caller.ice_failure", PLAN, {"how": "dead_turn"}),
        ("caller.dtls_failure", replace(PLAN, target=replace(PLAN.target, transport="sip")), {}),
        ("caller.no_ack", PLAN, {}),
        ("caller.malformed_sip", PLAN, {}),
        ("caller.slow_signalling", PLAN, {"delay_ms": 0}),
        ("caller.barge_in", PLAN, {"times": 0, "after_ms": 0}),
        ("caller.malformed_sdp", replace(PLAN, target=replace(PLAN.target, transport="media_stream")), {}),
    ],
)
def test_what_cannot_change_a_call_touches_nothing(kind, plan, parameters):
    varied, told = vary(kind, plan, **parameters)
    assert varied == plan
    assert (told.touched, told.counts["seen"]) == (0, 1)


SIP = replace(PLAN, target=TargetSpec("sip:a@127.0.0.1", "sip", "", codec="PCMU", sip=SipSpec()))


@pytest.mark.parametrize(
    ("kind", "plan", "parameters", "expected"),
    [
        ("caller.no_ack", SIP, {}, Misconduct(never_acks=True)),
        ("caller.malformed_sip", SIP, {"ratio": 0.25}, Misconduct(malformed_ratio=0.25)),
        ("caller.slow_signalling", PLAN, {"delay_ms": 700}, Misconduct(signalling_delay_ms=700)),
        ("caller.slow_signalling", SIP, {"delay_ms": 700}, Misconduct(signalling_delay_ms=700)),
        ("caller.barge_in", PLAN, {"after_ms": 300, "times": 2}, Misconduct(barge_in_after_ms=300, barge_ins=2)),
    ],
)
def test_misconduct_is_in_the_plan_and_counted_by_the_call_itself(kind, plan, parameters, expected):
    varied, told = vary(kind, plan, **parameters)
    assert varied.misconduct == expected
    # No call of it has done anything yet.
    assert (told.touched, told.calls) == (0, ())


def test_misconduct_adds_up():
    once, _told = vary("caller.slow_signalling", SIP, delay_ms=500)
    twice, _told = vary("caller.no_ack", once)
    assert twice.misconduct == Misconduct(signalling_delay_ms=500, never_acks=True)


@pytest.mark.parametrize("plan", [PLAN, SIP])
def test_an_offer_that_is_no_sdp_is_in_the_plan(plan):
    varied, told = vary("caller.malformed_sdp", plan)
    assert (varied.sabotage, told.touched) == ("malformed", 1)


@pytest.mark.parametrize(
    ("how", "servers"),
    [
        ("wrong_credentials", [("turn:turn.test:3478", "not the password"), ("stun:stun.test", None)]),
        ("dead_turn", [("turn:127.0.0.1:9?transport=udp", "right"), ("stun:stun.test", None)]),
    ],
)
def test_a_relay_that_does_not_work_is_the_only_way(how, servers):
    varied, _told = vary("caller.ice_failure", replace(PLAN, target=replace(PLAN.target, ice=TURN)), how=how)
    assert [(server.urls[0], server.credential) for server in varied.target.ice.servers] == servers
    assert varied.target.ice.policy == "relay"


SDP = "v=0\r\na=candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host\r\na=fingerprint:sha-256 00:AB\r\n"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("", SDP),
        ("blocked_udp", SDP.replace("127.0.0.1 5000", "127.0.0.1 9")),
        ("wrong_fingerprint", SDP.replace("00:AB", "FF:54")),
    ],
)
def test_an_offer_is_made_wrong_in_one_thing(how, said):
    assert sabotage.offered(SDP, how) == said
    assert sabotage.answered(SDP, how) == (said if how == "blocked_udp" else SDP)


def test_candidates_become_names_of_the_local_network():
    line = sabotage.offered(SDP, "mdns_only").splitlines()[1]
    assert line.endswith(".local 5000 typ host")
    assert "127.0.0.1" not in line


@pytest.mark.parametrize(
    ("chosen", "is_meant"),
    [
        (FaultFilter(), True),
        (FaultFilter(callers=("any",)), True),
        (FaultFilter(callers=("other",)), False),
        (FaultFilter(targets=("b",)), False),
        (FaultFilter(share=0), False),
    ],
)
def test_a_filter_chooses_calls(chosen, is_meant):
    assert takes_in(Fault("f", "caller.silence", KINDS["caller.silence"].where, filter=chosen), PLAN) == is_meant


def test_a_herd_has_an_end():
    assert KINDS["caller.herd"].needs_end
