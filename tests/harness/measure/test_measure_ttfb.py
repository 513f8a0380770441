"""How turns enter the TTFB distribution, and the runbook's bands."""

import pytest
from run_records import make_turn

from harness.measure.bands import DROP_OFF, TTFB_MS, WER, Band, band_of
from harness.measure.ttfb import Entry, entry_of, measure
from harness.model.records import TurnRecord

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("turn", "entry"),
    [
        (make_turn(), Entry.ANSWERED),
        (make_turn(ttfb_ms=None), Entry.CENSORED),
        # Hung up in mid-wait: not marked censored, yet never answered.
        (make_turn(ttfb_ms=None, censored=False, waited_ms=3_000.0), Entry.CENSORED),
        (make_turn(cut=True), Entry.CUT),
        (make_turn(ttfb_ms=None, cut=True), Entry.CUT),
        (make_turn(ttfb_ms=-400.0, false_endpoint=True), Entry.FALSE_ENDPOINT),
        (make_turn(ttfb_ms=None, speech_ended_at_ns=None, waited_ms=0.0), Entry.UNSPOKEN),
        # Cut in, fell silent, never answered: unanswered like any other.
        (make_turn(ttfb_ms=None, censored=True, false_endpoint=True), Entry.CENSORED),
        # Cut in and spoke on: answered, at no time that could be a TTFB.
        (make_turn(ttfb_ms=None, censored=False, false_endpoint=True), Entry.FALSE_ENDPOINT),
        (make_turn(out_of_step=True), Entry.OUT_OF_STEP),
        (make_turn(ttfb_ms=None, censored=True, out_of_step=True), Entry.CENSORED),
    ],
)
def test_entry_of_a_turn(turn: TurnRecord, entry: Entry) -> None:
    assert entry_of(turn) is entry


def test_what_was_heard_is_measured_beside_what_arrived_and_of_the_same_turns() -> None:
    turns = [
        make_turn(ttfb_ms=500.0, heard_ttfb_ms=800.0),
        make_turn(ttfb_ms=600.0, heard_ttfb_ms=600.0),
        make_turn(ttfb_ms=None, censored=True, waited_ms=4_000.0),
        make_turn(ttfb_ms=-400.0, heard_ttfb_ms=100.0, false_endpoint=True),
    ]
    result = measure(turns)
    assert (result.sample.observed, result.sample.censored) == ([500.0, 600.0], [4_000.0])
    assert result.heard is not None
    assert (result.heard.observed, result.heard.censored) == ([600.0, 800.0], [4_000.0])
    assert measure([make_turn()]).heard is None


def test_counts_are_of_every_turn_and_the_ratio_of_those_that_awaited_an_answer() -> None:
    turns = [
        *(make_turn(ttfb_ms=v) for v in (100.0, 200.0, 300.0)),
        make_turn(ttfb_ms=None),
        make_turn(cut=True, ttfb_ms=1.0),
        make_turn(false_endpoint=True, ttfb_ms=-50.0),
    ]
    result = measure(turns)
    assert (result.n_answered, result.n_censored, result.n_cut, result.n_false_endpoints) == (3, 1, 1, 1)
    assert result.sample.response_ratio == 0.75
    assert result.false_endpoint_ratio == 0.2
    assert result.percentiles["p50"] is not None
    assert result.percentiles["p50"].value == 200.0
    p95 = result.percentiles["p95"]
    assert p95 is not None
    assert (p95.value, p95.is_lower_bound) == (15_000.0, True)


def test_talking_over_half_the_turns_and_never_answering_them_is_half_unanswered() -> None:
    over = [make_turn(ttfb_ms=None, censored=True, false_endpoint=True, waited_ms=4_000.0) for _ in range(5)]
    result = measure([*(make_turn(ttfb_ms=300.0) for _ in range(5)), *over])
    assert result.sample.response_ratio == 0.5
    assert (result.n_false_endpoints, result.n_false_endpoints_unanswered) == (5, 5)
    assert result.false_endpoint_ratio == 0.5


def test_late_answers_heard_in_later_turns_flatter_nobody() -> None:
    result = measure([make_turn(ttfb_ms=None, waited_ms=4_000.0), *(make_turn(ttfb_ms=416.0, out_of_step=True),) * 3])
    assert result.sample.response_ratio == 0.0
    assert result.n_out_of_step == 3
    assert result.percentiles["p50"] is not None
    assert result.percentiles["p50"].is_lower_bound


def test_bands_count_a_censored_turn_only_where_it_is_certain() -> None:
    waits = [make_turn(ttfb_ms=None, waited_ms=w) for w in (700.0, 900.0)]
    result = measure([make_turn(ttfb_ms=250.0), make_turn(ttfb_ms=500.0), *waits])
    assert result.bands == {"gold": 1, "target": 1, "lag": 0, "critical": 1, "undecided": 1}


@pytest.mark.parametrize(
    ("bands", "value", "name"),
    [
        (TTFB_MS, 299.9, "gold"),
        (TTFB_MS, 300.0, "target"),
        (TTFB_MS, 500.0, "target"),
        (TTFB_MS, 800.0, "lag"),
        (TTFB_MS, 800.1, "critical"),
        (WER, 0.049, "excellent"),
        (WER, 0.05, "good"),
        (WER, 0.2, "fair"),
        (WER, 0.21, "poor"),
        (DROP_OFF, 0.0, "healthy"),
        (DROP_OFF, 0.10, "warning"),
        (DROP_OFF, 0.201, "critical"),
    ],
)
def test_band_edges(bands: tuple[Band, ...], value: float, name: str) -> None:
    assert band_of(bands, value).name == name


def test_no_turns_at_all() -> None:
    result = measure([])
    assert result.percentiles == {"p50": None, "p95": None, "p99": None}
    assert result.sample.response_ratio is None
    assert result.false_endpoint_ratio is None
