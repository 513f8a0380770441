"""The threshold grammar: what is read, and what is refused with which words."""

import pytest
from run_records import make_call, make_health, make_turn

from harness.measure.run import Measured, measure
from harness.model.errors import ScenarioError
from harness.model.records import Cause, Outcome, StageTimes
from harness.verdict.evaluate import evaluate
from harness.verdict.thresholds import ThresholdVerdict, parse, parse_entry

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "metric", "tags", "aggregation", "operator", "limit"),
    [
        ("ttfb_ms p95 < 800", "ttfb_ms", {}, "p95", "<", 800),
        ("  ttfb_ms{accent:british}p95<=800.5 ", "ttfb_ms", {"accent": "british"}, "p95", "<=", 800.5),
        ("wer{noise:babble, native:false} < 0.25", "wer", {"noise": "babble", "native": "false"}, "", "<", 0.25),
        ("stage_ms{stage:llm} mean > 1", "stage_ms", {"stage": "llm"}, "mean", ">", 1),
        ("response_ratio >= 0.95", "response_ratio", {}, "", ">=", 0.95),
        ("setup_ms p99.9 < 2000", "setup_ms", {}, "p99.9", "<", 2000),
        ("drop_off{patience:short} < 0.2", "drop_off", {"patience": "short"}, "", "<", 0.2),
        ("wer{length:0-4 s} < 0.2", "wer", {"length": "0-4 s"}, "", "<", 0.2),
        ("ttfb_ms{tag_window:during} p50 < 900", "ttfb_ms", {"tag_window": "during"}, "p50", "<", 900),
    ],
)
def test_what_is_read(
    text: str, metric: str, tags: dict[str, str], aggregation: str, operator: str, limit: float
) -> None:
    threshold = parse(text)
    assert (threshold.metric.name, threshold.tags, threshold.aggregation) == (metric, tags, aggregation)
    assert (threshold.operator, threshold.limit, threshold.expression) == (operator, limit, text.strip())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("expected: metric",)),
        ("ttfb_ms p95", ("expected: metric",)),
        ("latency p95 < 800", ("'latency'", "unknown metric", "ttfb_ms, stage_ms")),
        ("ttfb_ms < 800", ("needs an aggregation", "p50, p95, p99")),
        ("ttfb_ms p0 < 800", ("'p0'", "between 0 and 100")),
        ("ttfb_ms p100 < 800", ("'p100'", "between 0 and 100")),
        ("ttfb_ms avg < 800", ("'avg'", "min, max, mean", "character 9")),
        ("wer p95 < 0.1", ("'p95'", "takes no aggregation")),
        ("wer < 10", ("'10'", "wer is a ratio 0..n", "did you mean 0.10?")),
        ("drop_off < 15", ("drop_off is a ratio 0..1", "did you mean 0.15?")),
        ("response_ratio >= 95", ("did you mean 0.95?",)),
        ("wer < 10%", ("'10%'", "plain number", "0..1")),
        ("ttfb_ms p95 < 800ms", ("'800ms'", "in milliseconds")),
        ("ttfb_ms p95 < 0.8", ("did you mean 800?",)),
        ("ttfb_ms p95 < 0.8.1", ("plain number",)),
        ("ttfb_ms p95 == 800", ("'=='", "<=, >=, <, >")),
        ("ttfb_ms{mood:x} p95 < 800", ("'mood'", "unknown tag of ttfb_ms", "accent, native, noise")),
        ("drop_off{noise:babble} < 0.1", ("unknown tag of drop_off", "caller, accent, region")),
        ("entity_accuracy{entity:dates} > 0.9", ("'dates'", "one of: digits, names, mixed")),
        ("wer{entity:digits} < 0.1", ("unknown tag of wer",)),
        ("entity_accuracy p95 > 0.9", ("takes no aggregation",)),
        ("entity_accuracy > 95", ("0.95",)),
        ("ttfb_ms{accent} p95 < 800", ("{tag:value}",)),
        ("ttfb_ms{} p95 < 800", ("{tag:value}",)),
        ("ttfb_ms{accent:a,accent:b} p95 < 8000", ("twice",)),
        ("stage_ms p95 < 800", ("one of: endpointing, stt",)),
        ("stage_ms{stage:gpu} p95 < 800", ("'gpu'", "one of: endpointing, stt")),
        ("turns_answered >= 1.5", ("whole number",)),
    ],
)
def test_what_is_refused_and_how(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(text)
    for word in (*words, repr(text)):
        assert word in str(caught.value)


def test_an_entry_may_set_its_minimum_of_samples() -> None:
    assert parse_entry("ttfb_ms p95 < 800").min_samples == 5
    assert parse_entry("wer < 0.1").min_samples == 20
    assert parse_entry({"expr": "ttfb_ms p95 < 800", "min_samples": 100}).min_samples == 100


@pytest.mark.parametrize(
    "entry",
    [3, {"min_samples": 3}, {"expr": "wer < 0.1", "samples": 3}, {"expr": "wer < 0.1", "min_samples": "3"},
     {"expr": "wer < 0.1", "min_samples": True}, {"expr": "wer < 0.1", "min_samples": -1}],
)  # fmt: skip
def test_entries_that_are_refused(entry: object) -> None:
    with pytest.raises(ScenarioError):
        parse_entry(entry)


def _run(ttfbs: list[float | None]) -> Measured:
    turns = [make_turn(f"c{i}", ttfb_ms=v) for i, v in enumerate(ttfbs)]
    return measure([make_call(f"c{i}") for i in range(len(ttfbs))], turns, [make_health()])


@pytest.mark.parametrize(
    ("ttfbs", "text", "verdict", "value"),
    [
        ([100, 200, 300, 400, 500], "ttfb_ms p50 < 301", ThresholdVerdict.PASSED, 300),
        ([100, 200, 300, 400, 500], "ttfb_ms p50 < 300", ThresholdVerdict.FAILED, 300),
        ([100, 200, 300, 400, 500], "ttfb_ms p50 <= 300", ThresholdVerdict.PASSED, 300),
        ([100, 200, 300, 400], "ttfb_ms p50 < 1000", ThresholdVerdict.NO_DATA, 200),
        ([100, 200, 300, 400, None], "ttfb_ms p95 < 15000", ThresholdVerdict.FAILED, 15_000),
        # At least 15 s: below 20 s or not, nobody knows.
        ([100, 200, 300, 400, None], "ttfb_ms p95 < 20000", ThresholdVerdict.NO_DATA, 15_000),
        ([100, 200, 300, 400, None], "ttfb_ms p95 > 14000", ThresholdVerdict.PASSED, 15_000),
        # The median is not moved by the one that never came.
        ([100, 200, 300, 400, None], "ttfb_ms p50 < 301", ThresholdVerdict.PASSED, 300),
        ([100, 200, 300, 400, None], "ttfb_ms mean < 99999", ThresholdVerdict.NO_DATA, 3_200),
        ([100, 200, 300, 400, None], "response_ratio >= 0.9", ThresholdVerdict.FAILED, 0.8),
        ([None] * 6, "response_ratio >= 0.9", ThresholdVerdict.FAILED, 0.0),
        ([], "ttfb_ms p95 < 800", ThresholdVerdict.NO_DATA, None),
        ([], "drop_off < 0.1", ThresholdVerdict.NO_DATA, None),
        ([100] * 6, "wer < 0.1", ThresholdVerdict.NO_DATA, None),
        ([100] * 6, "ttfb_ms{accent:british} p95 < 800", ThresholdVerdict.NO_DATA, None),
        ([100] * 6, "turns_answered >= 7", ThresholdVerdict.FAILED, 6),
        ([100] * 6, "calls_completed >= 6", ThresholdVerdict.PASSED, 6),
        ([100] * 6, "setup_ms p95 < 500", ThresholdVerdict.PASSED, 400),
        ([100] * 6, "greeting_ms max < 900", ThresholdVerdict.FAILED, 900),
        ([100] * 6, "error_rate < 0.01", ThresholdVerdict.PASSED, 0),
    ],
)
def test_evaluation(ttfbs: list[float | None], text: str, verdict: ThresholdVerdict, value: float | None) -> None:
    result = evaluate(parse(text), _run(ttfbs))
    assert (result.verdict, result.value) == (verdict, value)


def test_a_filter_chooses_turns_by_tag() -> None:
    turns = [
        *(make_turn(f"b{i}", ttfb_ms=900.0, accent="british") for i in range(5)),
        *(make_turn(f"a{i}", ttfb_ms=100.0, stages=StageTimes(llm_ms=60), tags={"window": "during"}) for i in range(5)),
    ]
    run = measure([make_call()], turns, [make_health()])
    assert evaluate(parse("ttfb_ms{accent:british} p50 < 800"), run).verdict is ThresholdVerdict.FAILED
    assert evaluate(parse("ttfb_ms{tag_window:during} p50 < 800"), run).n == 5
    assert evaluate(parse("stage_ms{stage:llm} max <= 60"), run).verdict is ThresholdVerdict.PASSED
    assert evaluate(parse("stage_ms{stage:llm,accent:british} max <= 60"), run).verdict is ThresholdVerdict.NO_DATA


def test_a_wer_filter_counts_words() -> None:
    said = {"hypothesis": "book a table for", "transcript_channel": "rtvi"}
    turns = [make_turn(f"c{i}", noise="babble", **said) for i in range(4)] + [make_turn("z", hypothesis="x")]
    run = measure([make_call()], turns, [make_health()])
    result = evaluate(parse("wer{noise:babble} < 0.21"), run)
    assert (result.verdict, result.n, result.value) == (ThresholdVerdict.PASSED, 20, pytest.approx(0.2))


def test_drop_off_by_caller() -> None:
    calls = [make_call(f"p{i}", Outcome.DROPPED, Cause.PATIENCE_DEAD_AIR, caller="hasty") for i in range(3)]
    run = measure([*calls, *(make_call(f"q{i}") for i in range(9))], [], [make_health()])
    assert evaluate(parse("drop_off <= 0.25"), run).verdict is ThresholdVerdict.PASSED
    assert evaluate(parse("drop_off{caller:hasty} < 0.9"), run).value == 1.0
