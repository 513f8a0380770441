"""Prometheus text read back: what a line says, and which lines say nothing."""

import math

import pytest

from harness.model.prometheus_text import sample_of, samples_of, total_of

pytestmark = pytest.mark.unit


def test_a_page_gives_its_samples_in_order():
    page = """# HELP calls_total Calls.
# TYPE calls_total counter
calls_total{edge="sip"} 3
calls_total{edge="rtp",} 4 1700000000000
up 1

nonsense
calls_total{edge="sip" 3
calls_total three
"""
    assert [(s.name, s.labels, s.value) for s in samples_of(page)] == [
        ("calls_total", {"edge": "sip"}, 3),
        ("calls_total", {"edge": "rtp"}, 4),
        ("up", {}, 1),
    ]


def test_labels_are_read_without_their_escapes_and_kept_as_written():
    text = r'path="C:\\new",said="a \"b\"\nc",odd="}, x=\"1\" {"'
    sample = sample_of(f"one{{{text}}} 2\r")
    assert sample.labels == {"path": "C:\\new", "said": 'a "b"\nc', "odd": '}, x="1" {'}
    assert sample.label_text == text
    assert sample.series == f"one{{{text}}}"
    assert sample_of("one{} 2").series == sample_of("one 2").series == "one"


def test_a_line_ends_at_a_newline_only():
    assert [s.labels for s in samples_of('one{said="a\u2028b\x0bc"} 1\ntwo 2')] == [{"said": "a\u2028b\x0bc"}, {}]


@pytest.mark.parametrize(("text", "value"), [("+Inf", math.inf), ("-Inf", -math.inf), ("1.5e-3", 0.0015), ("-0", 0)])
def test_values_beyond_plain_numbers(text, value):
    assert sample_of(f"one {text}").value == value


def test_nan_is_a_value():
    assert math.isnan(sample_of("one NaN").value)


def test_a_line_with_an_exemplar_is_not_of_this_format_and_never_misread():
    assert sample_of('wait_bucket{le="0.5"} 3 # {trace_id="7"} 0.4') is None
    assert sample_of('wait_bucket{le="0.5"} 3').value == 3


def test_a_metric_is_summed_over_its_labels_and_none_is_not_zero():
    samples = samples_of('one{a="1"} 2\none{a="2"} 3\nones 7')
    assert total_of(samples, "one") == 5
    assert total_of(samples, "two") is None
