"""`callquake run` with its real engine on the days when something dies: said, bounded, and no record lost."""

import json
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness" / "engine"))

from engine_bench import responder
from product import Run, scenario

pytestmark = pytest.mark.end_to_end

# Real utterances have pauses: the responder must not take one for their end.
REAL_SPEECH = ("--hangover-ms", "700", "--delay-ms", "800:1200")


def test_an_agent_that_never_answers_is_never_passed(tmp_path):
    with responder(tmp_path / "truth", "--mute") as (url, _):
        # With this seed someone has the patience to wait for a greeting and still speak.
        callers = [{"name": "all", "turns": 2, "patience": "impatient"}]
        run = Run(tmp_path, scenario(url, callers=callers, seed=1))
        code = run.end()
    assert code in (97, 99), run.text
    summary = run.json("summary.json")
    assert summary["verdict"] in ("FAILED", "NO DATA")
    assert summary["ttfb_ms"]["response_ratio"] == 0
    assert summary["calls"]["completed"] == 0
    turns = run.rows("turns.jsonl")
    assert turns
    assert all(t["censored"] and t["ttfb_ms"] is None for t in turns)
    assert all(c["cause"].startswith("patience_") or c["cause"] == "no_answer" for c in run.rows("calls.jsonl"))


def test_sigint_leaves_a_partial_report(tmp_path):
    with responder(tmp_path / "truth", *REAL_SPEECH) as (url, _):
        run = Run(tmp_path, scenario(url, turns=5))
        run.wait_for(lambda: len(run.rows("turns.jsonl")) >= 1)
        run.process.send_signal(signal.SIGINT)
        code = run.end()
    assert code == 105, run.text
    assert run.json("run.json")["status"] == "interrupted"
    assert (run.run_dir / "report.html").exists()
    assert {c["outcome"] for c in run.rows("calls.jsonl")} == {"interrupted"}


def test_an_engine_that_is_killed_voids_the_run_and_keeps_its_records(tmp_path):
    with responder(tmp_path / "truth", *REAL_SPEECH) as (url, _):
        run = Run(tmp_path, scenario(url, turns=5))
        run.wait_for(lambda: len(run.rows("turns.jsonl")) >= 2)
        kept = run.rows("turns.jsonl")
        run.engine().kill()
        code = run.end()
    assert code == 98, run.text
    assert run.json("summary.json")["verdict"] == "VOID"
    assert run.rows("turns.jsonl")[: len(kept)] == kept
    assert {c["cause"] for c in run.rows("calls.jsonl")} == {"engine_died"}
    assert "engine" in run.text


def test_a_target_that_is_killed_ends_the_calls_keeps_their_turns_and_is_said(tmp_path):
    changes = {
        "limits": {"answer_timeout_s": 5, "media_timeout_s": 2, "call_timeout_s": 60},
        "load": {"arrivals": {"distribution": "uniform", "rate_per_minute": 4, "calls": 2}},
    }
    with responder(tmp_path / "truth", *REAL_SPEECH) as (url, agent):
        run = Run(tmp_path, scenario(url, turns=5, **changes))
        run.wait_for(lambda: run.rows("turns.jsonl"))
        agent.kill()
        code = run.end()
    assert code in (97, 99), run.text
    assert {c["cause"] for c in run.rows("calls.jsonl")} == {"media_lost", "signalling_unreachable"}
    assert len(run.rows("turns.jsonl")) >= 1
    assert run.json("summary.json")["calls"]["by_cause"]
    assert "The target went away during the run" in run.text


@pytest.mark.slow
def test_the_same_seed_says_the_same_words_in_the_same_order(tmp_path):
    told = []
    with responder(tmp_path / "truth", *REAL_SPEECH) as (url, _):
        for name in ("first", "second"):
            run = Run(tmp_path / name, scenario(url, calls=3))
            assert run.end() == 0, run.text
            turns = [(t["call_id"], t["turn"], t["utterance_id"], t["reference"]) for t in run.rows("turns.jsonl")]
            calls = [(c["call_id"], c["caller"], json.dumps(c["persona"])) for c in run.rows("calls.jsonl")]
            told.append((sorted(turns), sorted(calls)))
        other = Run(tmp_path / "other", scenario(url, calls=3), "--seed", "8")
        assert other.end() == 0
    assert told[0] == told[1]
    assert sorted(t["utterance_id"] for t in other.rows("turns.jsonl")) != sorted(t[2] for t in told[0][0])
