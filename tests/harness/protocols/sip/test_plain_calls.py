"""Plain calls beside the user agent's, in virtual time: the same messages at the same times, and the same records.

Every message of a call is lost, doubled and overtaken; agents do what is plain, and everything else.
"""

import random

import pytest
from plain_side import BEGIN, AgentSide, PlainSide, begin, link
from sip_link import ANSWER, HOLD, MS, S, answering, label

from harness.protocols.sip import events
from harness.protocols.sip.config import AgentConfig
from harness.protocols.sip.digest import Verifier
from harness.protocols.sip.message import serialise

pytestmark = pytest.mark.unit

# What each run does not have in common with the other.
_OWN = {"call_id"}


def ring_and_answer(made):
    answering(made)


def answer_at_once(made):
    answering(made, ring=False)


def ring_for_long(made):
    made.b.does[events.Incoming] = lambda event: event.call.ring(made.now)
    for number in range(3):
        at = made.now + (number + 1) * 700 * MS
        made.then(lambda at=at: made.now >= at and made.b.call, lambda: made.b.call.ring(made.now, 183, body=ANSWER))
    made.then(lambda: made.now >= BEGIN + 4 * S, lambda: made.b.call.accept(ANSWER, made.now))


def refuse(status, *headers):
    def script(made):
        made.b.does[events.Incoming] = lambda event: event.call.reject(status, made.now, headers=headers)

    return script


def redirect(made):
    refuse(302, ("Contact", "<sip:eve@192.0.2.9>"))(made)


def ring_reliably(made):
    answering(made, reliable=True)


def never_answer(made):
    made.b.does[events.Incoming] = lambda event: event.call.ring(made.now)


def agent_hangs_up(made):
    answering(made)
    made.then(lambda: made.b.told(events.Confirmed), lambda: made.b.call.hang_up(made.now))


def agent_offers(made):
    answering(made)
    made.then(lambda: made.b.told(events.Confirmed), lambda: made.b.call.reinvite(HOLD, made.now))


def agent_asks(made):
    answering(made)
    made.then(lambda: made.b.told(events.Confirmed), lambda: made.b.call.info(b"1", "text/plain", made.now))


def both_hang_up(made):
    """The agent's BYE crosses ours."""
    answering(made)
    made.then(
        lambda: any(label(message) == "BYE" for _, side, message in made.sent if side == "a"),
        lambda: made.b.call.hang_up(made.now),
    )


PLAIN = {"rings": ring_and_answer, "answers": answer_at_once, "rings long": ring_for_long}
NOT_PLAIN = {
    "busy": refuse(486),
    "overloaded": refuse(503, ("Retry-After", "7")),
    "unauthorised": refuse(401, ("WWW-Authenticate", 'Digest realm="r", nonce="n"')),
    "redirects": redirect,
    "reliable": ring_reliably,
    "never answers": never_answer,
    "hangs up": agent_hangs_up,
    "offers": agent_offers,
    "asks": agent_asks,
    "both hang up": both_hang_up,
}
FAULTS = ("lose", "double", "overtake")


def run(side, script, hold_ns, *, b=None, seconds=120, **settings):
    made = link(side, hold_ns=hold_ns, b=b, **settings)
    script(made)
    begin(made)
    while made.steps and made.now < 6 * S:
        # Steps are looked at when something happens.
        made.run(0.1)
        made.settle()
    made.run(seconds)
    return made


def both(script, hold_ns=0, **settings):
    """Run the call of the user agent and the plain one; their messages and records must be the same."""
    agent, plain = (run(side, script, hold_ns, **settings) for side in (AgentSide, PlainSide))
    assert said(plain) == said(agent)
    assert own(plain.a.facts()) == own(agent.a.facts())
    return agent, plain


def said(made):
    return [(when, side, label(message)) for when, side, message in made.sent]


def own(facts):
    return {name: value for name, value in facts.items() if name not in _OWN}


@pytest.mark.parametrize("hold_ms", [0, 900])
@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_call_is_the_user_agents_to_the_message(name, hold_ms):
    agent, plain = both(PLAIN[name], hold_ms * MS)
    assert plain.a.begun is None
    [record] = plain.a.records
    assert record["outcome"] == "completed"
    assert record["sip"]["bye"] == "answered"
    last = {"rings": [180], "answers": [100], "rings long": [183]}[name]
    assert [heard["status"] for heard in record["sip"]["provisionals"]][-1:] == last
    # Byte for byte, but for what is random.
    for (_, _, ours), (_, side, theirs) in zip(plain.sent, agent.sent, strict=True):
        if side == "a":
            assert [n for n, _ in ours.headers] == [n for n, _ in theirs.headers]
            assert ours.body == theirs.body
            assert ours.get("to").partition("tag=")[0] == theirs.get("to").partition("tag=")[0]
            assert ours.uri_text == theirs.uri_text


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("hold_ms", [0, 900])
def test_every_message_may_be_lost_doubled_and_overtaken(number, fault, hold_ms):
    _, plain = both(ring_and_answer, hold_ms * MS, faults={number: fault})
    assert plain.a.begun is None
    plain.assert_nothing_left()


@pytest.mark.parametrize("name", NOT_PLAIN)
@pytest.mark.parametrize("hold_ms", [0, 900])
def test_what_is_not_plain_is_handed_over_as_it_stands(name, hold_ms):
    _, plain = both(NOT_PLAIN[name], hold_ms * MS, seconds=400)
    # Where the agent has a say only after the call is up, one that is hung up at once has left.
    has_left = hold_ms == 0 and name in ("hangs up", "offers", "asks", "both hang up")
    assert has_left or plain.a.begun is not None
    plain.assert_nothing_left()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["busy", "reliable", "hangs up", "offers", "both hang up"])
@pytest.mark.parametrize("number", [1, 3, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 2, 4, 5, 6, 7, 8))])
def test_handing_over_survives_faults(name, fault, number):
    both(NOT_PLAIN[name], 900 * MS, faults={number: fault}, seconds=400)


def test_an_agent_that_vanishes_before_any_answer():
    def vanish(made):
        made.cut.add("b")

    _, plain = both(vanish, seconds=60)
    # Nobody ever heard of it, so it is never cancelled, and is sent until Timer B.
    assert plain.times_ms("a INVITE") == [10, 510, 1510, 3510, 7510, 15510, 31510]
    assert plain.a.begun is not None


@pytest.mark.parametrize("at", ["200 INVITE", "100 INVITE", "180 INVITE"])
def test_an_agent_that_vanishes_after(at):
    def vanish(made):
        answering(made)
        made.then(
            lambda: any(side == "b" and label(message) == at for _, side, message in made.sent),
            lambda: made.cut.add("b"),
        )

    _, plain = both(vanish, 900 * MS, seconds=400)
    if at == "200 INVITE":
        # The BYE goes on to Timer F; its record was out after 4 s.
        [record] = plain.a.records
        assert (record["sip"]["bye"], record["sip"]["disconnect_delay_ms"]) == ("unanswered", 4000.0)
        assert record["sip"]["retransmissions"] == 3
        assert len(plain.times_ms("a BYE")) == 11


def test_a_call_of_a_challenging_agent_is_refused_the_same_way():
    verifier = Verifier("r", {"alice": "secret"}, secret=b"k")
    agents = [AgentConfig(verifier=verifier) for _ in range(2)]
    runs = [
        run(side, ring_and_answer, 0, b=config) for side, config in zip((AgentSide, PlainSide), agents, strict=True)
    ]
    assert said(runs[0]) == said(runs[1])
    assert runs[1].a.facts()["status"] == 401


def test_a_peer_that_wants_a_session_timer_gets_one():
    def with_timer(made):
        made.b.does[events.Incoming] = lambda event: event.call.accept(
            ANSWER, made.now, headers=(("Session-Expires", "90;refresher=uac"), ("Require", "timer"))
        )

    agent, plain = both(with_timer, 100 * S, seconds=300)
    assert plain.a.begun is not None
    assert "a UPDATE" in plain.lines() or plain.lines().count("a INVITE") > 1
    assert agent.lines() == plain.lines()


@pytest.mark.parametrize("seed", [*range(12), *(pytest.param(n, marks=pytest.mark.slow) for n in range(12, 60))])
def test_at_random(seed):
    """Losses and delays of each message by chance; the callee does what it does by the same chances."""

    def script(made):
        draw = random.Random(seed)
        rates = draw.choice([0.1, 0.3])
        # Drawn by the order of the messages, so that both runs have the same luck as long as they say the same.
        made.drop = lambda side, message: draw.random() < rates
        made.faults = {n: draw.choice(["double", "overtake"]) for n in draw.sample(range(40), 8)}
        draw.choice([ring_and_answer, answer_at_once, ring_for_long, agent_hangs_up, agent_offers, ring_reliably])(made)

    both(script, random.Random(-seed).choice([0, 900, 5000]) * MS, seconds=600)[1].assert_nothing_left()


def test_a_long_call_and_one_after_a_long_silence():
    made = run(PlainSide, ring_and_answer, 600 * S, seconds=700)
    assert made.a.records[0]["sip"]["session_ms"] == 600_000.0
    assert made.a.held == 0
    made.now += 1000 * S
    due = made.now + 3 * S
    made.a.place("call-2", due, index=1)
    made.run(700)
    [_, record] = made.a.records
    assert (record["call_id"], record["index"], record["due_at_ns"]) == ("call-2", 1, due)
    assert (record["started_at_ns"], record["arrival_lateness_ms"]) == (due, 0.0)
    made.assert_nothing_left()


def test_rows_are_used_again_and_old_numbers_are_nobodys():
    made = run(PlainSide, ring_and_answer, 0, seconds=60, rows=1)
    old = next(message for _, side, message in made.sent if side == "b" and label(message) == "200 INVITE")
    assert made.a.place("call-2", made.now + 10 * MS) == []
    # There is one row, and it is taken.
    assert len(made.a.place("call-3", made.now + 10 * MS)) == 1
    made.run(0.02)
    before = made.a.agent.counts.strays
    made.a.receive(serialise(old), made.flow_a, made.now)
    assert made.a.agent.counts.strays == before + 1
    made.run(100)
    assert [record["call_id"] for record in made.a.records] == ["call-1", "call-2"]
    first, second = (record["sip"]["call_id"] for record in made.a.records)
    assert first != second
    made.assert_nothing_left()


def test_a_call_that_cannot_be_handed_over_is_recorded_as_lost(monkeypatch):
    def fail(_history):
        raise RuntimeError("broken on purpose")

    made = link(PlainSide)
    refuse(486)(made)
    monkeypatch.setattr(made.a.agent, "resume", fail)
    begin(made)
    made.run(40)
    [record] = made.a.records
    assert (record["outcome"], record["cause"]) == ("lost", "generator_error")
    assert "broken on purpose" in record["detail"]
    assert record["sip"]["call_id"] == ""
    assert made.a.desk.held == 0
