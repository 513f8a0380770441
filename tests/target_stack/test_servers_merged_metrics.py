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


@pytest.mark.parametrize(
    ("family", "pages", "together"),
    [
        # Every server reads the one machine's GPUs.
        ("callquake_gpus", (2, 2, 2), 2),
        ("callquake_gpu_busy_seconds_total", (10, 11, 10), 11),
        ("callquake_gpu_memory_used_bytes", (5, 5, 6), 6),
        ("callquake_gpu_power_watts", (70, 71, 70), 71),
        ("callquake_gpu_utilisation_ratio", (0.5, 0.25, 0.5), 0.5),
        # One whose model is gone, or whose callers hear no disclosure, is not hidden by the others.
        ("callquake_llm_up", (1, 0, 1), 0),
        ("callquake_llm_counted_by_server", (1, 1, 1), 1),
        ("callquake_compliance_disclosure_ratio", (1, 0.5, 1), 0.5),
        ("callquake_llm_server_kv_cache_ratio", (0.5, 0.75, 0.5), 0.75),
        ("callquake_llm_check_seconds", (0.5, 2, 1), 2),
        ("callquake_active_calls", (1, 2, 3), 6),
        ("callquake_compliance_calls_total", (1, 2, 3), 6),
    ],
)
def test_each_family_is_put_together_as_what_it_says(family, pages, together):
    text = merged(f"# TYPE {family} gauge\n{family} {value}\n" for value in pages)
    assert text == f"# TYPE {family} gauge\n{family} {together}\n"
