import random
from dataclasses import replace

import pytest

from harness.engine import wire
from harness.model.codec import from_json
from harness.model.errors import LocalProtocolError
from harness.model.impairment import Impairment
from harness.model.plan import CallLimits, CallPlan, Patience, Persona, PlannedTurn, SipSpec, TargetSpec

pytestmark = pytest.mark.unit

MESSAGES = [("hello", {"protocol": 1}), ("place", {"plan": {"x": "ü" * 500}, "due_at_ns": None}), ("stop", {})]


def test_whole_and_in_pieces():
    data = b"".join(wire.encode(kind, **fields) for kind, fields in MESSAGES)
    expected = [{"t": kind, **fields} for kind, fields in MESSAGES]
    assert wire.Decoder().feed(data) == expected
    decoder = wire.Decoder()
    assert [m for i in range(len(data)) for m in decoder.feed(data[i : i + 1])] == expected
    rng = random.Random(1)
    decoder, got, rest = wire.Decoder(), [], data
    while rest:
        size = rng.randrange(1, 90)
        got += decoder.feed(rest[:size])
        rest = rest[size:]
    assert got == expected


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", (2).to_bytes(4, "big") + b"[]", (2).to_bytes(4, "big") + b"{}"])
def test_a_foreign_peer_is_refused(data):
    with pytest.raises(LocalProtocolError):
        wire.Decoder().feed(data)


def test_nan_never_crosses():
    with pytest.raises(ValueError, match="not JSON compliant"):
        wire.encode("turn", value=float("nan"))


def alike_plans():
    target = TargetSpec("sip:a@127.0.0.1", transport="sip", dialect="", codec="PCMU", sip=SipSpec(media=False))
    persona, patience = Persona("n", "1", "r", "a", "p"), Patience("p", 1.0, 1.0, 1)
    return CallPlan("c", 0, 1.5, "caller", persona, patience, (PlannedTurn("u", 0.0),), target, CallLimits())


def test_calls_that_are_alike_cross_as_rows():
    one = alike_plans()
    writer, decoder = wire.AlikeWriter(), wire.Decoder()
    calls = [(replace(one, call_id=f"c{i}", index=i, seed=i), 7 * i) for i in range(600)]
    other = replace(one, caller="other")
    messages = decoder.feed(writer.write([*calls, (other, None)]))
    assert [m["t"] for m in messages] == ["alike", "alike", "rows", "rows", "rows", "rows"]
    said = from_json(CallPlan, messages[0]["plan"])
    assert said == replace(one, call_id="", turns=())
    rows = [row for m in messages[2:5] for row in m["calls"]]
    assert [row[0] for row in rows] == [f"c{i}" for i in range(600)]
    assert rows[3] == ["c3", 3, 1.5, 21, ["n", "1", "r", "a", "p"], 3, None]
    assert messages[5]["calls"][0][3] is None
    # A plan is said once.
    assert [m["t"] for m in decoder.feed(writer.write(calls[:1]))] == ["rows"]


def test_calls_with_audio_or_a_bad_network_are_no_rows():
    one, writer = alike_plans(), wire.AlikeWriter()
    assert writer.is_alike(one)
    assert not writer.is_alike(replace(one, target=replace(one.target, sip=SipSpec())))
    assert not writer.is_alike(replace(one, target=TargetSpec("http://x")))
    assert not writer.is_alike(replace(one, impair_incoming=Impairment()))
