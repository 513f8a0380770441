"""Every way into the reference responder, called by a real engine: its truth names the call and agrees with it."""

import asyncio

import pytest

from harness.calibrate.children import EngineProcess, ResponderProcess
from harness.calibrate.climb import responder_words
from harness.calibrate.plans import call_plans
from harness.calibrate.truth_file import TruthFile
from harness.calibrate.utterances import write_corpus
from harness.measure.calibration import Conditions, pair
from harness.media.codecs import codec_named
from harness.model.codec import from_json, to_json
from harness.model.records import TurnRecord

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(600)]

CALLS = 3
TURNS = 2


async def call(folder, conditions, *, is_static=False, words=()):
    """Hold a few calls to the responder; return the outcomes, the turns and the truth."""
    utterances = write_corpus(folder / "corpus", codec_named(conditions.codec))
    every_cpu = set(range(1024))
    responder = ResponderProcess([*responder_words(conditions, folder / "truth"), *words], every_cpu, folder)
    messages, ended = [], asyncio.Event()

    def take(kind, message):
        messages.append((kind, message))
        if sum(k == "call" for k, _ in messages) == CALLS:
            ended.set()

    engine = EngineProcess(folder, folder / "corpus", every_cpu, take)
    try:
        await responder.start()
        await engine.start()
        url = responder.rtp_url if is_static else responder.address(conditions.transport)
        for plan in call_plans("door", CALLS, url, utterances, conditions):
            engine.send("place", plan=to_json(plan), due_at_ns=None)
        await engine.wait(ended, 90, "did not end its calls")
        stats = await responder.stats()
    finally:
        await engine.stop()
        await responder.stop()
    turns = [from_json(TurnRecord, m["record"]) for kind, m in messages if kind == "turn"]
    outcomes = [(m["record"]["outcome"], m["record"]["detail"]) for kind, m in messages if kind == "call"]
    return outcomes, turns, TruthFile(folder / "truth").read(), stats


@pytest.mark.parametrize(
    ("transport", "codec", "is_static", "callers_ports", "words"),
    [
        ("webrtc", "opus", False, "auto", ["--source-ports", "shared"]),
        pytest.param("rtp", "G722", False, "shared", ["--source-ports", "shared"], marks=pytest.mark.slow),
        ("rtp", "opus", False, "per_call", []),
        pytest.param("rtp", "PCMA", True, "shared", [], marks=pytest.mark.slow),
        ("rtp", "opus", True, "per_call", []),
        pytest.param("sip", "PCMU", False, "shared", ["--source-ports", "shared"], marks=pytest.mark.slow),
        ("sip", "opus", False, "per_call", []),
    ],
    ids=[
        "webrtc behind one port",
        "SDP, all ports shared",
        "SDP, a port each",
        "rtp:// shared",
        "rtp:// a port each",
        "SIP, all ports shared",
        "SIP, a port each",
    ],
)
def test_a_call_through_this_door_is_answered_and_named(tmp_path, transport, codec, is_static, callers_ports, words):
    conditions = Conditions(transport=transport, codec=codec, turns=TURNS, source_ports=callers_ports)
    outcomes, turns, truth, stats = asyncio.run(call(tmp_path, conditions, is_static=is_static, words=words))
    assert outcomes == [("completed", "")] * CALLS
    assert {t.call for t in truth} == {f"door-{i:04d}" for i in range(CALLS)}
    paired = pair(turns, truth)
    assert len(paired.errors) == CALLS * TURNS, paired
    # Whose answer is heard is told by milliseconds; one of another call would be off by hundreds.
    assert sorted(abs(e.error_ms) for e in paired.errors)[CALLS * TURNS // 2] <= 20
    assert stats["taken"] == CALLS
