"""The main job on real parts: callers, speech, faster-whisper, a small model, Kokoro; heard is what was said."""

import os
import subprocess
import sys

import jiwer
import pytest
from product import ENVIRONMENT, Run, scenario, target_stack

from harness.measure.normaliser import normalise

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(420)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    pytest.importorskip("faster_whisper", reason="needs callquake[cpu]")
    pytest.importorskip("kokoro_onnx", reason="needs callquake[cpu]")
    folder = tmp_path_factory.mktemp("real")
    events = folder / "events.jsonl"
    with target_stack("--events", str(events)) as (origin, _):
        plan = scenario(
            f"{origin}/api/offer",
            calls=4,
            turns=3,
            load={"arrivals": {"distribution": "uniform", "rate_per_minute": 6, "calls": 4}},
            limits={"answer_timeout_s": 30, "greeting_timeout_s": 10, "call_timeout_s": 150},
            record="all",
            thresholds=["response_ratio >= 0.9", "wer < 0.35"],
        )
        finished = Run(folder, plan)
        finished.code = finished.end()
    finished.events = events
    return finished


def test_every_part_is_real_and_every_turn_is_answered(run):
    summary = run.json("summary.json")
    assert run.code == 0, run.text
    assert summary["calls"]["connected"] == 4
    assert summary["ttfb_ms"]["n"] >= 12
    assert summary["ttfb_ms"]["response_ratio"] >= 0.9
    assert run.json("run.json")["simulated"] == []
    assert len({t["utterance_id"] for t in run.rows("turns.jsonl")}) > 6


def test_wer_comes_from_the_agents_own_transcripts(run):
    turns = [t for t in run.rows("turns.jsonl") if not t["cut"]]
    summary = run.json("summary.json")["wer"]
    assert all(t["transcript_channel"] == "rtvi" for t in turns)
    reference = [normalise(t["reference"]) for t in turns]
    hypothesis = [normalise(t["hypothesis"] or "") for t in turns]
    assert summary["wer"] == pytest.approx(jiwer.wer(reference, hypothesis), abs=1e-4)
    assert summary["wer"] < 0.3
    assert {s["segment"] for s in summary["by_segment"]} >= {"accent", "noise", "native"}


def test_stages_add_up_to_the_ttfb_of_each_turn(run):
    summary = run.json("summary.json")["stages_ms"]
    assert {"stt", "llm", "tts", "network", "other"} <= set(summary)
    told = [t for t in run.rows("turns.jsonl") if t["ttfb_ms"] and t["stages"]]
    assert len(told) >= 12
    for turn in told:
        stages = turn["stages"]
        known = sum(stages[k] for k in ("endpointing_ms", "stt_ms", "llm_ms", "tts_ms", "playout_ms"))
        # The agent's own account, on its own clock, explains what the caller heard but for transport and framing.
        assert -80 < turn["ttfb_ms"] - known - (turn["network_ms"] or 0) < 250, turn


def test_wer_of_every_segment_is_jiwers(run):
    from harness.measure.segments import turn_tags
    from harness.report.store import read_run

    turns = [t for t in read_run(run.run_dir).turns if not t.cut]
    rows = [r for r in run.json("summary.json")["wer"]["by_segment"] if r["segment"] != "load"]
    assert {r["segment"] for r in rows} >= {"accent", "noise", "condition", "sentence_id"}
    for row in rows:
        chosen = [t for t in turns if turn_tags(t).get(row["segment"]) == row["value"]]
        expected = jiwer.wer([normalise(t.reference) for t in chosen], [normalise(t.hypothesis or "") for t in chosen])
        assert row["wer"] == pytest.approx(expected, abs=1e-6), row
        assert row["n_utterances"] == len(chosen), row


def test_the_agents_speech_as_the_callers_recorded_it_is_its_text(run):
    command = [
        sys.executable,
        "-m",
        "harness.cli",
        "intelligibility",
        str(run.run_dir),
        "--model",
        str(whisper_folder()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr
    told = run.json("summary.json")["intelligibility"]
    answers = run.json("intelligibility.json")["answers"]
    assert told["n"] == len(answers) >= 10
    expected = jiwer.wer([normalise(a["said"]) for a in answers], [normalise(a["heard"]) for a in answers])
    assert told["wer"] == pytest.approx(expected, abs=1e-6)
    assert expected <= 0.25, answers


def whisper_folder():
    from target_stack.models.catalogue import WHISPER
    from target_stack.models.store import ModelStore, default_cache

    return ModelStore(default_cache(os.environ)).load_path(WHISPER)


def test_the_recordings_analysed_give_the_live_ttfb_of_every_turn(run):
    from harness.analyze.analyse import Settings
    from harness.analyze.of_run import analyse_run

    _, calls = analyse_run(run.run_dir, Settings())
    answered = [pair for call in calls for pair in call.pairs if pair.live_ms is not None]
    assert len(answered) >= 10
    assert all(pair.agrees for pair in answered), [(p.live_ms, p.heard_ms) for p in answered]


def test_the_targets_own_events_join_the_callers_records(run):
    import json

    calls = {c["call_id"] for c in run.rows("calls.jsonl")}
    told = [json.loads(line) for line in run.events.read_text().splitlines()]
    finished = [e for e in told if e["event"] == "turn_finished" and e["outcome"] in ("answered", "fallback")]
    assert {e["call_id"] for e in finished} == calls
    assert len(finished) >= 12


def test_the_run_directory_holds_every_file(run):
    for name in ("run.json", "calls.jsonl", "turns.jsonl", "summary.json", "verdict.json", "junit.xml", "report.html"):
        assert (run.run_dir / name).stat().st_size > 0, name
    page = (run.run_dir / "report.html").read_text()
    assert "http://" not in page.replace("http://127.0.0.1", "").replace("http://www.w3.org", "")
