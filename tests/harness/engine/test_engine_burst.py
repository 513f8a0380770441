"""Many calls due at one moment: all of them connect, and what they waited for is told as ours."""

import time
from dataclasses import replace

import pytest
from engine_bench import bench_clips, engine, plan, responder, write_wav_corpus

from harness.media.hot.jit import INTERPRETED

# The interpreted loop carries fewer calls.
CALLS = 100 if INTERPRETED else 500
pytestmark = [pytest.mark.loopback, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("burst")
    corpus = write_wav_corpus(folder / "corpus", bench_clips())
    with responder(folder / "truth", "--mute") as (url, _), engine(folder, corpus) as bench:
        bench.until(lambda b: b.of("ready"))
        due = time.monotonic_ns() + 1_000_000_000
        for i in range(CALLS):
            # The greeting never comes: a call stays until all of them have been set up.
            call = plan(
                url, f"c{i}", ["voiced-b"], dialect="json", connect_timeout_ms=60_000, greeting_timeout_ms=20_000
            )
            bench.place(replace(call, index=i), due_at_ns=due)
        bench.drain()
        assert bench.stop() == 0
    return due, bench.calls


def test_all_of_a_burst_connect(records):
    _, calls = records
    assert len(calls) == CALLS
    assert {(c["outcome"], c["cause"]) for c in calls.values()} == {("dropped", "no_answer")}


def test_waiting_for_a_place_is_told_and_counts_from_the_due_time(records):
    due, calls = records
    for call in calls.values():
        setup = call["setup"]
        assert call["due_at_ns"] == due
        assert setup["queue_ms"] >= 0
        assert setup["total_ms"] == pytest.approx((call["connected_at_ns"] - due) / 1e6, abs=0.001)
        # Every ms from the due time on is in one step or another, but for what the event loop took to get there.
        assert setup["total_ms"] >= setup["queue_ms"] + setup["signalling_ms"] + setup["ice_ms"] + setup["dtls_ms"]
        assert call["arrival_lateness_ms"] <= setup["total_ms"]
    assert max(c["setup"]["queue_ms"] for c in calls.values()) > 0
