"""Media servers' metrics as one page."""

import pytest

from target_stack.servers.merged_metrics import merged

pytestmark = pytest.mark.unit

ONE = """# HELP callquake_turns_total Turns by outcome.
# TYPE callquake_turns_total counter
callquake_turns_total{outcome="answered"} 3
callquake_turns_total{outcome="failed"} 1
# HELP callquake_wait_seconds Waits.
# TYPE callquake_wait_seconds histogram
callquake_wait_seconds_bucket{queue="stt",le="0.5"} 1
callquake_wait_seconds_sum{queue="stt"} 0.25
# HELP callquake_budget_p95_ms P95.
# TYPE callquake_budget_p95_ms gauge
callquake_budget_p95_ms{stage="stt"} 180.5
"""
OTHER = """# HELP callquake_turns_total Turns by outcome.
# TYPE callquake_turns_total counter
callquake_turns_total{outcome="answered"} 4
callquake_turns_total{outcome="a \\"b\\" c"} 1
# HELP callquake_wait_seconds Waits.
# TYPE callquake_wait_seconds histogram
callquake_wait_seconds_bucket{queue="stt",le="0.5"} 2
callquake_wait_seconds_sum{queue="stt"} 0.5
# HELP callquake_budget_p95_ms P95.
# TYPE callquake_budget_p95_ms gauge
callquake_budget_p95_ms{stage="stt"} 190
nonsense
"""


def test_counts_add_up_and_percentiles_are_the_worst():
    assert (
        merged([ONE, OTHER])
        == """# HELP callquake_turns_total Turns by outcome.
# TYPE callquake_turns_total counter
callquake_turns_total{outcome="answered"} 7
callquake_turns_total{outcome="failed"} 1
callquake_turns_total{outcome="a \\"b\\" c"} 1
# HELP callquake_wait_seconds Waits.
# TYPE callquake_wait_seconds histogram
callquake_wait_seconds_bucket{queue="stt",le="0.5"} 3
callquake_wait_seconds_sum{queue="stt"} 0.75
# HELP callquake_budget_p95_ms P95.
# TYPE callquake_budget_p95_ms gauge
callquake_budget_p95_ms{stage="stt"} 190
"""
    )


def test_one_page_alone_stays_as_it_is_and_none_is_none():
    assert merged([ONE]) == ONE
    assert merged(["", ""]) == ""


def test_what_is_no_number_does_not_break_the_page():
    pages = ["# TYPE a gauge\na NaN\na_inf +Inf\n", "# TYPE a gauge\na 3\na_inf 1\n"]
    assert merged(pages) == "# TYPE a gauge\na NaN\na_inf +Inf\n"
    worst = ["# TYPE wait_p95_ms gauge\nwait_p95_ms NaN\n", "# TYPE wait_p95_ms gauge\nwait_p95_ms 3\n"]
    assert merged(worst) == merged(reversed(worst)) == "# TYPE wait_p95_ms gauge\nwait_p95_ms 3\n"
