"""A run target by target: each row from its own records, nothing from a target that has none, pairs by story."""

import pytest
from run_records import make_call, make_turn

from harness.measure import by_target
from harness.measure.calls import greeting_sample
from harness.measure.run import find_expects_greeting, measure
from harness.model.records import Cause, MediaStats, Outcome, SetupTimes
from harness.model.sip_facts import Bye, SipFacts
from harness.verdict.evaluate import evaluate
from harness.verdict.thresholds import ThresholdVerdict, parse

pytestmark = pytest.mark.unit

SIP = SipFacts("udp", "x@h", 200, request_delay_ms=9.0, session_ms=1.0, bye=Bye.ANSWERED, disconnect_delay_ms=2.0)


def records(stories=8, slower_ms=200.0):
    """As many calls to web as to phone; the phone has no transcripts, and its turns take longer."""
    calls, turns = [], []
    for story in range(stories):
        for name, more in (("web", 0.0), ("phone", slower_ms)):
            is_web = name == "web"
            call_id = f"{name}-{story}"
            setup = SetupTimes(signalling_ms=10.0, ice_ms=20.0, dtls_ms=30.0, total_ms=60.0)
            calls.append(
                make_call(
                    call_id,
                    target=name,
                    story=story,
                    transport="webrtc" if is_web else "sip",
                    codec="opus" if is_web else "PCMU",
                    setup=setup if is_web else SetupTimes(signalling_ms=12.0, total_ms=12.0),
                    sip=None if is_web else SIP,
                    media=MediaStats(packets_received=99, packets_lost=1 if is_web else 0, jitter_ms=2.0),
                )
            )
            said = {"target": name, "transport": calls[-1].transport}
            if is_web:
                said |= {"hypothesis": "book a table for you", "transcript_channel": "rtvi"}
            turns += [make_turn(call_id, n, 500.0 + 100 * story + more + n, **said) for n in (1, 2)]
    return calls, turns


def measured(calls, turns, names=("web", "phone"), **more):
    return measure(calls, turns, [], targets=names, **more)


def test_each_row_is_of_its_own_records():
    found = measured(*records()).by_target
    web, phone = found.targets
    assert (web.name, web.transports, web.codecs) == ("web", ("webrtc",), ("opus",))
    assert (phone.name, phone.transports, phone.codecs) == ("phone", ("sip",), ("PCMU",))
    assert web.counts.placed == phone.counts.placed == 8
    assert (web.ttfb.percentiles["p50"].value, phone.ttfb.percentiles["p50"].value) == (802.0, 1_002.0)
    assert (web.steps["ice"].n, phone.steps["ice"].n) == (8, 0)
    assert (web.sip, phone.sip.request_delay.n) == (None, 8)
    assert (web.media.loss_ratio, phone.media.loss_ratio) == (0.01, 0.0)
    assert web.wer.wer == pytest.approx(0.2)
    assert (phone.wer, phone.why_no_wer) == (None, "the target has no transcript channel")


def test_the_difference_is_of_pairs():
    (comparison,) = measured(*records()).by_target.comparisons
    assert (comparison.first, comparison.second) == ("web", "phone")
    p50 = comparison.times["TTFB p50"]
    # Stories differ by 700 ms among themselves, and by 200 from one target to the other.
    assert (p50.value, p50.low, p50.high) == (200.0, 200.0, 200.0)
    assert comparison.times["Set-up p50"].value == -48.0
    assert comparison.shares["WER"].value is None
    assert comparison.shares["Turns answered"].value == 0
    assert "at least 72 are needed" in comparison.times["TTFB p95"].why


def test_calls_that_say_no_story_are_compared_all_the_same():
    calls, turns = records()
    from dataclasses import replace

    (comparison,) = measured([replace(c, story=None) for c in calls], turns).by_target.comparisons
    p50 = comparison.times["TTFB p50"]
    assert p50.value == 200.0
    assert p50.low < 0 < p50.high


def test_one_target_has_no_rows():
    calls, turns = records()
    only = [c for c in calls if c.target == "phone"], [t for t in turns if t.target == "phone"]
    assert measured(*only, names=()).by_target is None
    assert measured(*only, names=("phone",)).by_target is None
    assert measured([make_call()], [make_turn()], names=()).by_target is None
    # One that was never reached is told of.
    web, phone = measured(*only).by_target.targets
    assert (web.counts.placed, phone.counts.placed, web.why_no_wer) == (0, 8, "no turn was spoken to its end")
    assert all(d.value is None for d in measured(*only).by_target.comparisons[0].times.values())


def test_a_target_without_transcripts_is_no_target_that_understood_nothing():
    calls, turns = records()
    from dataclasses import replace

    # Its channel was there, and nothing came over it.
    silent = [replace(t, transcript_channel="rtvi") if t.target == "phone" else t for t in turns]
    run = measured(calls, silent)
    assert run.wer.overall.wer == pytest.approx(0.2)
    assert run.wer.n_unscored == 0
    assert "no transcript came over it" in run.by_target.targets[1].why_no_wer


def test_thresholds_by_target_and_by_transport():
    run = measured(*records())

    def value(text):
        result = evaluate(parse(text), run)
        return result.value, result.n, result.verdict

    assert value("ttfb_ms{target:phone} p50 < 900") == (1_002.0, 16, ThresholdVerdict.FAILED)
    assert value("ttfb_ms{transport:webrtc} p50 < 900") == (802.0, 16, ThresholdVerdict.PASSED)
    assert value("setup_ms{target:web} p95 < 100") == (60.0, 8, ThresholdVerdict.PASSED)
    assert value("setup_ms{transport:sip} p95 < 100") == (12.0, 8, ThresholdVerdict.PASSED)
    assert value("drop_off{target:phone} < 0.1")[1:] == (8, ThresholdVerdict.PASSED)
    assert value("wer{target:phone} < 0.9") == (None, 0, ThresholdVerdict.NO_DATA)
    assert value("wer{target:web} < 0.9")[2] is ThresholdVerdict.PASSED


def test_segments_by_target_only_where_there_are_several():
    calls, turns = records()
    of_both = measured(calls, [*turns, make_turn("x", target="phone", transport="sip", hypothesis="book a table")])
    assert {(key, value) for key, value, _ in of_both.wer.by_segment if key in ("target", "transport")} == {
        ("target", "web"), ("target", "phone"), ("transport", "webrtc"), ("transport", "sip")
    }  # fmt: skip
    one = measured([make_call()], [make_turn(hypothesis="a", transcript_channel="rtvi")], names=())
    assert not {"target", "transport"} & {key for key, _, _ in one.wer.by_segment}


def test_greetings_are_awaited_of_those_that_greet():
    scenario = {"targets": {"web": {"expect_greeting": True}, "phone": {"expect_greeting": False}}}
    expects = find_expects_greeting(scenario)
    assert expects == {"web": True, "phone": False}
    calls = [
        make_call("a", target="web", greeting_ms=None),
        make_call("b", target="phone", greeting_ms=None),
        make_call("c", Outcome.DROPPED, Cause.NO_GREETING, target="phone", greeting_ms=None),
    ]
    assert len(greeting_sample(calls, [], expects).censored) == 2
    assert find_expects_greeting({"targets": None, "target": {"expect_greeting": False}}) is False
    assert find_expects_greeting({}) is None


def test_names_in_the_records_that_nobody_announced_are_told_last():
    calls, turns = records()
    found = by_target.measure(["phone"], calls, turns, [])
    assert [target.name for target in found.targets] == ["phone", "web"]
