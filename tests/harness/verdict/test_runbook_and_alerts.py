"""The runbook as users edit it, its alerts, and what a fault did to a run."""

import dataclasses
from importlib.resources import files
from typing import Any

import pytest
from run_records import MS, make_call, make_health, make_turn

from harness.measure.injections import Injection
from harness.measure.run import Measured, measure
from harness.model.errors import ScenarioError
from harness.model.fault import Direction, Evidence, Fault, Symptom, Unmoved, Where
from harness.model.records import CallRecord, Cause, Outcome, TurnRecord
from harness.model.target_sample import TargetSample
from harness.report.timeline_words import text_lines
from harness.verdict.alerts import alerts_of
from harness.verdict.runbook_file import parse_runbook
from harness.verdict.timeline import claims_broken, timelines_of

pytestmark = pytest.mark.unit

S = 1_000 * MS
SHIPPED = files("harness.verdict").joinpath("runbook.yaml").read_text(encoding="utf-8")
RULE = "triggers:\n  - {name: slow, when: ttfb_ms p95 > 400 sustained 30s over 10s, severity: P2, action: Scale}\n"

WHEN = "when: ttfb_ms p95 > 400 sustained 30s over 10s"


def turns(slow: tuple[int, int], of: int = 300) -> list[TurnRecord]:
    return [
        make_turn(f"c{i}", 1, 900.0 if slow[0] <= i < slow[1] else 300.0, speech_ended_at_ns=(1_000 + i) * S)
        for i in range(of)
    ]


def calls(lost: tuple[int, int] = (0, 0), of: int = 300) -> list[CallRecord]:
    """A call a second that lasts 20 s; those begun in the seconds of `lost` are dropped."""
    found = []
    for i in range(of):
        at = {"due_at_ns": (1_000 + i) * S, "started_at_ns": (1_000 + i) * S, "connected_at_ns": (1_000 + i) * S + MS}
        end = (Outcome.DROPPED, Cause.MEDIA_LOST) if lost[0] <= i < lost[1] else (Outcome.COMPLETED, Cause.NONE)
        found.append(make_call(f"c{i}", *end, ended_at_ns=(1_020 + i) * S, **at))
    return found


def run(slow: tuple[int, int] = (0, 0), lost: tuple[int, int] = (0, 0), **fields: Any) -> Measured:
    return measure(calls(lost), turns(slow), [make_health()], first_due_ns=1_000 * S, **fields)


def fault(begins_s: int = 100, **fields: Any) -> Injection:
    kind = Fault("tts", "stage.delay", Where.TARGET, **fields)
    return Injection(kind, (1_000 + begins_s) * S, 1_150 * S, Evidence(touched=9))


def test_the_shipped_runbook_has_the_seeds_triggers_bands_and_stages() -> None:
    book = parse_runbook(SHIPPED)
    assert {r.name: (r.when.metric.name, r.above, r.when.operator) for r in book.triggers} == {
        "ttfb_p95": ("ttfb_ms", 400, ">"), "gpu_utilisation": ("gpu_utilisation", 0.75, ">"),
        "connections": ("connection_ratio", 0.8, ">"), "error_rate": ("error_rate", 0.01, ">"),
        "drop_off": ("drop_off", 0.15, ">"), "rate_limit_hits": ("rate_limit_hits", 0, ">"),
    }  # fmt: skip
    assert book.triggers[1].when.clauses.sustained_ms == 300_000
    assert {s.title: [(b.name, b.upper) for b in s.bands] for s in book.bands} == {
        "TTFB P95": [("gold", 300), ("target", 500), ("lag", 800), ("critical", None)],
        "Word error rate": [("excellent", 0.05), ("good", 0.1), ("fair", 0.2), ("poor", None)],
        "Drop-off rate": [("healthy", 0.1), ("warning", 0.2), ("critical", None)],
    }
    assert {r.name: r.above for r in book.stages} == {
        "stt_slow": 200, "llm_slow": 350, "tts_slow": 200, "total_slow": 500,
    }  # fmt: skip
    assert all(rule.when.clauses.window_ms for rule in book.rules)
    assert [b.name for b in (book.bands[0].band_of(v) for v in (299, 300, 500, 501, 800, 801))] == [
        "gold", "target", "target", "lag", "lag", "critical",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("triggers: [", "runbook.yaml:1: not YAML"),
        ("- a", "a runbook is a mapping with the keys triggers, bands, stages, budget"),
        ("trigers: []", "runbook.yaml:1: trigers: unknown key; legal: triggers"),
        (RULE.replace("ttfb_ms", "tftb_ms"), "runbook.yaml:2: triggers[0].when: threshold 'tftb_ms"),
        (
            RULE.replace(WHEN, "when: 'ttfb_ms{mood:x} p95 > 4'"),
            "unknown tag of ttfb_ms; legal: accent",
        ),
        (RULE.replace("over 10s", "during fault:llm"), "legal: fault:tts"),
        (RULE.replace("P2", "P9"), "triggers[0].severity: got 'P9'; legal: P1, P2, P3"),
        (RULE.replace("action", "acton"), "triggers[0].acton: unknown key; legal: name, title, when"),
        (RULE + RULE.split("\n")[1], "the name 'slow' stands twice"),
        (RULE.replace("severity", "min_samples: 0, severity"), "min_samples: got 0; legal: a whole number"),
        (
            "bands:\n  - measure: wer\n    bands: [{name: a, to: 2, meaning: x}, {name: b, to: 1, meaning: y}]",
            "runbook.yaml:3: bands[0].bands: expected rising values",
        ),
        ("budget: {total_p95_ms: 8, parts: [{title: x, p95_ms: 1, stage: gpu}]}", "legal: endpointing, stt"),
    ],
)
def test_what_is_wrong_with_a_runbook_is_told_with_its_place(text: str, words: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_runbook(text, windows={"fault": ["tts"], "phase": []})
    assert words in str(caught.value)


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_runbook(SHIPPED.replace("ttfb_ms p95 > 400", "ttfb p95 > 400").replace("P1\n", "P0\n"))
    assert len(str(caught.value).splitlines()) == 3


def test_an_alert_fires_once_its_condition_has_held_long_enough() -> None:
    (alert,) = alerts_of(parse_runbook(RULE).rules, run((100, 160)))
    began, fired = (alert.began_ns / S - 1_000, alert.fired_ns / S - 1_000)
    assert began == pytest.approx(100, abs=4)
    assert fired == pytest.approx(began + 30, abs=2)
    assert alert.ended_ns is not None
    assert alert.ended_ns / S - 1_000 == pytest.approx(169, abs=4)
    assert (alert.worst.value, alert.rule.severity) == (900, "P2")
    assert alerts_of(parse_runbook(RULE).rules, run((100, 110))) == []


def test_an_alert_that_goes_on_has_no_end() -> None:
    (alert,) = alerts_of(parse_runbook(RULE).rules, run((200, 300)))
    assert alert.ended_ns is None


def test_an_unanswered_turn_is_known_of_at_its_time_out() -> None:
    text = "triggers:\n  - {name: mute, when: response_ratio < 0.5 over 10s, severity: P1, action: Look}\n"
    silent = [
        make_turn(f"c{i}", 1, None if i >= 100 else 300.0, speech_ended_at_ns=(1_000 + i) * S) for i in range(200)
    ]
    (alert,) = alerts_of(parse_runbook(text).rules, measure(calls(), silent, [make_health()]))
    assert alert.began_ns / S - 1_000 >= 100 + 15 - 2


def test_rate_limit_hits_and_gpus_alert_on_what_the_target_told() -> None:
    samples = [TargetSample((1_000 + i) * S, "gpu_utilisation", 0.9) for i in range(400)]
    samples += [TargetSample((1_000 + i) * S, "rate_limit_hits", float(i == 50)) for i in range(0, 400, 5)]
    names = {alert.rule.name for alert in alerts_of(parse_runbook(SHIPPED).rules, run(target_samples=samples))}
    assert names == {"gpu_utilisation", "rate_limit_hits"}


SYMPTOM = Symptom("ttfb_ms p95", Direction.UP, 400)


def test_a_fault_s_onset_detection_recovery_and_blast_radius() -> None:
    injected = fault(symptoms=(SYMPTOM,), unmoved=(Unmoved("error_rate", 0.01),), recovers_within_ms=30_000)
    measured = run((105, 160), faults=[injected], lost=(90, 110))
    (one,) = timelines_of(measured, alerts_of(parse_runbook(RULE).rules, measured))
    assert one.onset_s == pytest.approx(5, abs=3)
    assert (one.onset_by, one.detected_by) == ("ttfb_ms p95", "slow")
    assert one.detected_s == pytest.approx(35, abs=4)
    assert one.recovered_s == pytest.approx(19, abs=3)
    steady = {row.measure.words: row for row in one.steady}
    assert [steady["ttfb_ms p50"].before.n, steady["ttfb_ms p50"].during.n] == [100, 50]
    # What the fault claims to need to heal is no steady state yet.
    assert steady["ttfb_ms p95"].after.estimate is not None
    assert steady["ttfb_ms p95"].after.estimate.value == 300
    assert [(g.n, g.n_lost) for g in one.blast] == [(20, 10), (50, 10), (230, 0)]
    kept = {claim.kind: claim.is_kept for claim in one.claims}
    assert kept == {"symptom": True, "unmoved": False, "recovery": True}
    (broken,) = claims_broken([one])
    assert broken.startswith("fault tts: error_rate stays within 0.01: 0 before, ")
    assert (one.over_during, one.over_after) == ((), ("ttfb_ms p95",))


def test_a_turn_that_the_fault_met_unanswered_is_neither_before_it_nor_during_it() -> None:
    met = make_turn("c299", 1, 2_500.0, speech_ended_at_ns=1_099 * S + 500 * MS)
    said = [*turns((0, 0)), met]
    measured = measure(calls(), said, [make_health()], first_due_ns=1_000 * S, faults=[fault()])
    (one,) = timelines_of(measured, [])
    row = next(row for row in one.steady if row.measure.words == "ttfb_ms p95")
    assert (row.before.n, row.during.n) == (100, 50)
    assert row.before.estimate is not None
    assert row.before.estimate.value == 300


@pytest.mark.parametrize("begins_s", range(100, 110))
def test_a_fault_is_detected_wherever_it_begins_in_a_stretch_of_its_rule(begins_s: int) -> None:
    # A window of 60 s moves by 10 s; calls end 20 s after they begin.
    rule = "triggers:\n  - {name: errors, when: error_rate > 0.01 over 60s, severity: P1, action: Page}\n"
    measured = run(faults=[fault(begins_s)], lost=(begins_s - 19, begins_s))
    (one,) = timelines_of(measured, alerts_of(parse_runbook(rule).rules, measured))
    assert one.detected_by == "errors"
    assert one.detected_s is not None
    assert 0 <= one.detected_s <= 10


def test_an_alert_from_before_a_fault_is_not_of_it() -> None:
    rule = "triggers:\n  - {name: errors, when: error_rate > 0.01 over 60s, severity: P1, action: Page}\n"
    measured = run(faults=[fault(125)], lost=(80, 120))
    (one,) = timelines_of(measured, alerts_of(parse_runbook(rule).rules, measured))
    assert one.detected_s is None


def test_what_showed_while_a_fault_did_nothing_is_not_its_own() -> None:
    """Whatever else went wrong meanwhile: a fault that touched nothing neither showed, nor healed too late."""
    claims = {"symptoms": (SYMPTOM,), "unmoved": (Unmoved("error_rate", 0.01),), "recovers_within_ms": 1_000}
    for kind in (fault(**claims), fault(recovers_within_ms=1_000)):
        idle = dataclasses.replace(kind, evidence=Evidence(0, "requests delayed"))
        measured = run((105, 160), faults=[idle], lost=(90, 110))
        (one,) = timelines_of(measured, alerts_of(parse_runbook(RULE).rules, measured))
        assert (one.onset_s, one.detected_s, one.recovered_s, one.is_unrecovered) == (None, None, None, False)
        assert {(claim.is_kept, claim.why) for claim in one.claims} == {(None, "the fault was not injected")}
        assert claims_broken([one]) == []
        assert text_lines([one])[1:] == ["  not injected    it started, but requests delayed: 0"]


def test_a_fault_that_does_not_show_says_so_and_breaks_nothing() -> None:
    measured = run(faults=[fault(symptoms=(SYMPTOM,), recovers_within_ms=1_000)])
    (one,) = timelines_of(measured, [])
    assert (one.onset_s, one.detected_s, one.recovered_s, one.is_unrecovered) == (None, None, None, False)
    assert {claim.kind: claim.is_kept for claim in one.claims} == {"symptom": False, "recovery": None}
    assert claims_broken([one]) == []


def test_what_never_heals_breaks_its_claim() -> None:
    measured = run((105, 300), faults=[fault(symptoms=(SYMPTOM,), recovers_within_ms=30_000)])
    (one,) = timelines_of(measured, [])
    assert (one.is_unrecovered, one.recovered_s) == (True, None)
    assert claims_broken([one]) == ["fault tts: recovers within 30 s: it still showed at the end of the run"]


def test_a_claim_on_what_nobody_measured_is_not_told() -> None:
    measured = run((105, 160), faults=[fault(unmoved=(Unmoved("wer", 0.05),))])
    (one,) = timelines_of(measured, [])
    (claim,) = one.claims
    assert claim.is_kept is None
    assert "not measured" in claim.why
