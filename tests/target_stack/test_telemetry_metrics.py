from pathlib import Path

import pytest

from target_stack.edge.counts import EdgeCounts
from target_stack.routing.routing_stats import RoutingStats
from target_stack.telemetry.metrics import render_edge, render_stats
from target_stack.telemetry.service_metrics import render_service
from target_stack.telemetry.stats import Stats

pytestmark = pytest.mark.unit


def test_counters_gauges_and_labels():
    counts = EdgeCounts(active_calls=2)
    counts.offers[200] += 3
    counts.calls_ended['a"b\\c\n'] += 1
    assert render_edge(counts) == (
        "# HELP callquake_active_calls Calls now.\n"
        "# TYPE callquake_active_calls gauge\n"
        "callquake_active_calls 2\n"
        "# HELP callquake_offers_total Offers by HTTP status.\n"
        "# TYPE callquake_offers_total counter\n"
        'callquake_offers_total{status="200"} 3\n'
        "# HELP callquake_calls_ended_total Ended calls by reason.\n"
        "# TYPE callquake_calls_ended_total counter\n"
        'callquake_calls_ended_total{reason="a\\"b\\\\c\\n"} 1\n'
    )


def test_durations_are_a_histogram_in_seconds():
    stats = Stats()
    for ms in (4.0, 200.0, 99_000.0):
        stats.durations["llm"].observe(ms)
    lines = [x for x in render_stats(stats).splitlines() if 'stage="llm"' in x]
    assert lines[0] == 'callquake_turn_stage_seconds_bucket{stage="llm",le="0.005"} 1'
    assert 'callquake_turn_stage_seconds_bucket{stage="llm",le="0.2"} 2' in lines
    assert lines[-3:] == [
        'callquake_turn_stage_seconds_bucket{stage="llm",le="+Inf"} 3',
        'callquake_turn_stage_seconds_sum{stage="llm"} 99.204',
        'callquake_turn_stage_seconds_count{stage="llm"} 3',
    ]


def test_every_family_is_announced_once():
    text = render_stats(Stats()) + render_edge(EdgeCounts())
    names = [x.split()[2] for x in text.splitlines() if x.startswith("# TYPE")]
    assert len(names) == len(set(names))
    assert text.endswith("\n")


def test_ttfb_is_told_with_the_runbooks_marks():
    stats = Stats()
    for ms in (300.0, 300.1, 801.0, 60_000.0):
        stats.ttfb.observe(ms)
    text = render_service(stats, {"sip": 3}, {"sip": 24}, RoutingStats())
    bounds = [line.split('"')[1] for line in text.splitlines() if line.startswith("callquake_ttfb_seconds_bucket")]
    assert {"0.3", "0.4", "0.5", "0.6", "0.8"} < set(bounds)
    assert 'callquake_ttfb_seconds_bucket{le="0.3"} 1' in text
    assert 'callquake_ttfb_seconds_bucket{le="0.8"} 2' in text
    assert "callquake_ttfb_seconds_count 4" in text
    assert 'callquake_calls{edge="sip"} 3' in text
    assert 'callquake_call_capacity{edge="sip"} 24' in text


def test_rate_limits_are_told_by_provider_and_nothing_else_is():
    routing = RoutingStats()
    routing.endings["tts", "flash", "limited"] += 4
    routing.endings["tts", "flash", "ok"] += 9
    lines = render_service(Stats(), {}, {}, routing).splitlines()
    assert [line for line in lines if line.startswith("callquake_rate_limited_total")] == [
        'callquake_rate_limited_total{stage="tts",provider="flash"} 4'
    ]


def test_the_page_on_the_stack_lists_what_an_operator_looks_at():
    page = (Path(__file__).parents[2] / "docs" / "target-stack.md").read_text(encoding="utf-8")
    section = page.partition("## Metrics\n")[2].partition("\n## ")[0]
    text = render_stats(Stats()) + render_service(Stats(), {}, {}, RoutingStats())
    families = [line.split()[2].removeprefix("callquake_") for line in text.splitlines() if line.startswith("# TYPE")]
    assert [family for family in families if f"`{family}`" not in section] == []
