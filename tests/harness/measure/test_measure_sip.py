"""RFC 6076's figures of SIP calls, and what reports and thresholds make of them."""

from dataclasses import replace
from typing import Any

import pytest
from run_records import MS, make_call

from harness.measure import sip
from harness.measure.run import measure
from harness.model.codec import from_json, to_json
from harness.model.records import CallRecord, Cause, Outcome
from harness.model.sip_facts import Bye, Provisional, SipFacts, SipRegistration
from harness.report.causes import REMEDIES
from harness.report.record_lines import check_fields
from harness.report.sip_words import sip_json, text_lines
from harness.verdict.evaluate import evaluate
from harness.verdict.metrics import METRICS
from harness.verdict.thresholds import ThresholdVerdict, parse
from harness.verdict.verdict import RunStatus, VerdictKind, decide

pytestmark = pytest.mark.unit

UP = SipFacts(
    "udp",
    "id@host",
    200,
    "OK",
    provisionals=(Provisional(100, 1.0), Provisional(180, 20.0)),
    request_delay_ms=20.0,
    answer_delay_ms=300.0,
    session_ms=5_000.0,
    bye=Bye.ANSWERED,
    disconnect_delay_ms=8.0,
)


def call(name: str, status: int | None = 200, outcome: Outcome = Outcome.COMPLETED, **facts: Any) -> CallRecord:
    if status == 200:
        return make_call(name, outcome, transport="sip", sip=replace(UP, **facts))
    base = SipFacts("udp", f"{name}@host", status, request_delay_ms=None if status is None else 40.0)
    return make_call(name, Outcome.FAILED, Cause.SIP_REJECTED, transport="sip", sip=replace(base, **facts))


def test_ratios_count_session_requests_as_the_rfc_does() -> None:
    calls = [
        call("a"),
        call("b", bye=Bye.RECEIVED),
        call("c", bye=Bye.UNANSWERED),
        call("d", 302),
        call("e", 486),
        call("f", 503),
        call("g", 404),
        call("h", None),
        call("i", 408),
        # Held back, never sent, and ours: in no ratio.
        call("j", None, call_id="", held_back=True),
        call("k", None, call_id=""),
        make_call("l", Outcome.INTERRUPTED, Cause.OPERATOR, transport="sip", sip=UP),
    ]
    result = sip.measure(calls)
    assert result is not None
    assert (result.n, result.requests) == (12, 10)
    assert (result.ser.hits, result.ser.n) == (3, 8)
    assert (result.seer.hits, result.seer.n) == (4, 8)
    assert (result.isa.hits, result.isa.n) == (3, 9)
    assert (result.scr.hits, result.scr.n) == (2, 9)
    assert (result.ira.n, result.ira.value) == (0, None)
    assert (result.held_back, result.byes_unanswered) == (1, 1)
    assert result.statuses == {200: 4, 302: 1, 486: 1, 503: 1, 404: 1, None: 1, 408: 1}


def test_delays_keep_answered_refused_and_unanswered_apart() -> None:
    calls = [call("a"), call("b", request_delay_ms=60.0), call("c", 486), call("d", None)]
    calls.append(call("e", bye=Bye.UNANSWERED, disconnect_delay_ms=4_000.0))
    result = sip.measure(calls)
    assert result is not None
    # 2 s is how long the call without any answer was tried.
    assert (result.request_delay.observed, result.request_delay.censored) == ([20.0, 20.0, 60.0], [2_000.0])
    assert result.failed_request_delay.observed == [40.0]
    assert (result.disconnect_delay.observed, result.disconnect_delay.censored) == ([8.0, 8.0], [4_000.0])
    assert result.session.n == 2


def test_registrations_are_counted_where_they_were_told() -> None:
    calls = [call("a", registrations=(SipRegistration(200, 30.0), SipRegistration(403, 12.0))), call("b")]
    result = sip.measure(calls)
    assert result is not None
    assert (result.registration_delay.observed, result.ira.value) == ([30.0], 0.5)


def test_a_run_without_sip_has_none() -> None:
    assert sip.measure([make_call()]) is None
    assert (text_lines(None), sip_json(None)) == ([], None)


@pytest.mark.parametrize(
    ("expression", "verdict", "value"),
    [
        ("sip_srd_ms p50 < 30", ThresholdVerdict.PASSED, 20.0),
        ("sip_sdd_ms max < 5", ThresholdVerdict.FAILED, 8.0),
        ("sip_sdt_ms mean >= 5000", ThresholdVerdict.PASSED, 5_000.0),
        ("sip_ser >= 0.75", ThresholdVerdict.PASSED, 0.75),
        ("sip_seer >= 0.9", ThresholdVerdict.FAILED, 0.75),
        ("sip_isa < 0.1", ThresholdVerdict.FAILED, 0.25),
        ("sip_scr{caller:regular} >= 0.75", ThresholdVerdict.PASSED, 0.75),
        ("sip_rrd_ms p95 < 100", ThresholdVerdict.NO_DATA, None),
        ("sip_ira < 0.1", ThresholdVerdict.NO_DATA, None),
    ],
)
def test_thresholds_name_every_figure(expression: str, verdict: ThresholdVerdict, value: float | None) -> None:
    run = measure([call("a"), call("b"), call("c"), call("d", 503)], [], [])
    result = evaluate(parse(expression), run)
    assert (result.verdict, result.value) == (verdict, value)
    assert parse(expression).metric.name in METRICS


def test_what_reports_say_is_what_was_measured() -> None:
    result = sip.measure([call("a", challenges=1, retransmissions=2), call("b", None), call("c", hops=3)])
    written = sip_json(result)
    assert written is not None
    assert written["srd_ms"] == {"n": 3, "n_censored": 1, "p50": 20.0, "p95": 2_000.0, "p99": 2_000.0}
    assert (written["ser"], written["ira"]["ratio"]) == ({"ratio": 0.666667, "hits": 2, "n": 3}, None)
    assert written["statuses"] == {"200": 2, "none": 1}
    text = "\n".join(text_lines(result))
    assert "SRD           p50 20 ms" in text
    assert "p95 ≥ 2,000 ms" in text
    assert "SER           66.7% (2 of 3)" in text
    assert "2 of our requests sent again" in text
    assert "RRD" not in text, "nothing registered: no row"
    assert all(len(line) <= 96 for line in text.splitlines())


def test_facts_survive_the_file() -> None:
    record = call("a", registrations=(SipRegistration(None, None),))
    assert from_json(CallRecord, to_json(record)) == record
    check_fields(record)
    with pytest.raises(TypeError, match=r"CallRecord\.sip\.provisionals"):
        check_fields(replace(record, sip=replace(UP, provisionals=(Provisional("180", 1.0),))))  # type: ignore[arg-type]
    assert from_json(CallRecord, to_json(make_call())).sip is None


def test_every_sip_cause_has_a_remedy() -> None:
    assert {cause for cause in Cause if cause.value.startswith("sip_")} <= set(REMEDIES)


def test_times_of_a_call_that_never_was_answered_are_bounds() -> None:
    ended = 7_000 * MS
    one = replace(call("a", None), ended_at_ns=ended)
    assert sip.request_delay([one]).censored == [6_000.0]


def test_a_run_without_audio_is_judged_by_its_signalling() -> None:
    silent = [call(name, media=False) for name in "abc"]
    run = measure(silent, [], [], expects_greeting=True)
    assert run.greeting.n == 0
    threshold = evaluate(parse("sip_ser >= 0.9"), run)
    run = replace(run, health=replace(run.health, void_reasons=[]))
    assert decide(run, [threshold], RunStatus.FINISHED).kind is VerdictKind.PASSED
    with_audio = replace(measure([call("a"), *silent], [], []), health=run.health)
    assert decide(with_audio, [threshold], RunStatus.FINISHED).kind is VerdictKind.NO_DATA
    refused = replace(measure([call("a", 503, media=False)], [], []), health=run.health)
    assert "none of 1 calls was answered" in decide(refused, [], RunStatus.FINISHED).reasons
