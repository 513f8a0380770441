"""The main job on real parts: callers, speech, faster-whisper, a small model, Kokoro; heard is what was said."""

import os

import av
import jiwer
import numpy as np
import pytest
from product import Run, scenario, target_stack

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


def test_the_agents_speech_as_the_callers_recorded_it_is_its_text(run):
    from faster_whisper import WhisperModel

    model = WhisperModel(str(whisper_folder()), device="cpu", compute_type="int8", cpu_threads=2)
    calls = {c["call_id"]: c for c in run.rows("calls.jsonl")}
    reference, heard = [], []
    for turn in run.rows("turns.jsonl"):
        call = calls[turn["call_id"]]
        if not turn["agent_text"] or turn["agent_speech_ended_at_ns"] is None:
            continue
        agent = read_agent(run.run_dir / call["recording"])
        start = int((turn["onset_at_ns"] - call["connected_at_ns"]) / 1e9 * 16_000) - 3200
        end = int((turn["agent_speech_ended_at_ns"] - call["connected_at_ns"]) / 1e9 * 16_000) + 4800
        segments, _ = model.transcribe(agent[max(0, start) : end], language="en", beam_size=1)
        reference.append(normalise(turn["agent_text"]))
        heard.append(normalise(" ".join(s.text for s in segments)))
    assert len(reference) >= 10
    assert jiwer.wer(reference, heard) <= 0.25, list(zip(reference, heard, strict=True))


def whisper_folder():
    from target_stack.models.catalogue import WHISPER
    from target_stack.models.store import ModelStore, default_cache

    return ModelStore(default_cache(os.environ)).load_path(WHISPER)


def read_agent(path):
    """The right channel of a recording, as float32 at 16 kHz."""
    with av.open(str(path)) as container:
        assert container.streams.audio[0].rate == 16_000
        frames = [f.to_ndarray().reshape(-1, 2)[:, 1] for f in container.decode(audio=0)]
    return np.concatenate(frames).astype(np.float32) / 32768


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
