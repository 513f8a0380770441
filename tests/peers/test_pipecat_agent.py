"""Our WebRTC caller against an agent framework we did not write: real Pipecat, as its own runner serves it."""

import datetime as dt
import os
import re
import statistics
import time

import jiwer
import pytest
from fit_clips import callers
from pipecat_peer import pipecat_agent
from product import Run, scenario

from harness.corpus.manifest import load_corpus
from harness.measure.normaliser import normalise

# The first run also installs Pipecat, about a gigabyte.
pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]

CALLS, TURNS = 2, 2


def shortest_replies():
    """Three one-sentence clips (Pipecat speaks sentence by sentence), the greeting first."""
    clips = sorted((u for u in load_corpus().utterances.values() if u.is_clean), key=lambda u: u.duration_ms)
    one_sentence = [u for u in clips if sum(map(u.transcript.count, ".?!")) == 1]
    return [{"text": u.transcript, "path": str(u.file)} for u in one_sentence[:3]]


def whisper_folder():
    from target_stack.models.catalogue import WHISPER
    from target_stack.models.store import ModelStore, default_cache

    store = ModelStore(default_cache(os.environ))
    if store.wrong_files(WHISPER):
        pytest.skip("needs the Whisper model: callquake models fetch")
    return store.load_path(WHISPER)


def logged_at(line):
    """Unix seconds of a line of Pipecat's log, which is in local time."""
    return dt.datetime.fromisoformat(line[:23]).astimezone().timestamp()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipecat")
    replies = shortest_replies()
    with pipecat_agent(folder, whisper=whisper_folder(), replies=replies) as agent:
        plan = scenario(
            agent.url,
            calls=CALLS,
            callers=callers(TURNS),
            load={"arrivals": {"distribution": "uniform", "rate_per_minute": 4, "calls": CALLS}},
            limits={"answer_timeout_s": 20, "greeting_timeout_s": 20, "call_timeout_s": 120},
            thresholds=[{"expr": "response_ratio >= 1", "min_samples": CALLS * TURNS}],
        )
        finished = Run(folder, plan)
        finished.code = finished.end()
        finished.agent_said, finished.handed = agent.said, agent.request_data()
    finished.replies = [reply["text"] for reply in replies]
    return finished


def test_every_call_completes_and_outlives_pipecats_keep_alive(run):
    calls = run.rows("calls.jsonl")
    assert run.code == 0, run.text
    assert [(c["outcome"], c["detail"]) for c in calls] == [("completed", "")] * CALLS
    # Pipecat mutes itself three seconds after the last ping.
    assert all(c["ended_at_ns"] - c["connected_at_ns"] > 10e9 for c in calls)
    assert all(c["greeting_ms"] > 0 for c in calls)
    # No message of Pipecat's was malformed to us.
    assert "WARNING" not in (run.run_dir / "engine-local.log").read_text()


def test_every_turn_is_answered_within_a_plausible_time(run):
    turns = run.rows("turns.jsonl")
    assert len(turns) == CALLS * TURNS
    assert all(200 < t["ttfb_ms"] < 20_000 for t in turns), [t["ttfb_ms"] for t in turns]
    assert not [t for t in turns if t["censored"] or t["false_endpoint"] or t["attempt"]]


def test_onsets_are_where_pipecats_own_log_has_them(run):
    # Both are clocks of this host: the log's is the wall's, the records' is the monotonic one.
    apart_s = time.time() - time.monotonic()
    began = [logged_at(line) for line in run.agent_said.splitlines() if "Bot started speaking" in line]
    silences = [float(s) for s in re.findall(r"TTFA: .*\((\S+)s leading silence\)", run.agent_said)]
    assert len(began) == len(silences) == CALLS * (TURNS + 1)
    late = []
    for turn in run.rows("turns.jsonl"):
        onset = turn["onset_at_ns"] / 1e9 + apart_s
        # Pipecat says it speaks from a clip's first sample on; its callers hear the first voiced one.
        start, silence = max((b, s) for b, s in zip(began, silences, strict=True) if b <= onset)
        late.append(onset - (start + silence))
        # Where its host has kept it waiting, it catches up by sending that silence at once.
        assert -0.05 - silence < late[-1] < 0.3, turn
    assert statistics.median(late) > -0.05


def test_hypotheses_are_what_pipecats_whisper_heard(run):
    turns = run.rows("turns.jsonl")
    assert {t["transcript_channel"] for t in turns} == {"rtvi"}
    heard = [" ".join(text.split()) for text in re.findall(r"Transcription: \[(.*)\]", run.agent_said)]
    assert sorted(heard) == sorted(" ".join(t["hypothesis"].split()) for t in turns)
    wer = jiwer.wer([normalise(t["reference"]) for t in turns], [normalise(t["hypothesis"]) for t in turns])
    assert wer < 0.5
    assert run.json("summary.json")["wer"]["wer"] == pytest.approx(wer, abs=1e-4)


def test_stages_are_pipecats_own_figures_of_that_turn(run):
    turns = run.rows("turns.jsonl")
    for turn in turns:
        stages = turn["stages"]
        assert stages["source"] == "rtvi-metrics"
        for processor, stage in (("WhisperSTTService", "stt"), ("OpenAILLMService", "llm"), ("ClipTTSService", "tts")):
            if stages[f"{stage}_ms"] is None:
                continue
            told = f"{stages[f'{stage}_ms'] / 1e3:.3f}s"
            assert any(processor in line and f"TTFB: {told}" in line for line in run.agent_said.splitlines()), turn
        # All three lie between the end of the caller's speech and the answer it heard.
        assert (stages["stt_ms"] or 0) + stages["llm_ms"] + stages["tts_ms"] < turn["ttfb_ms"] + 50
    # Of a transcript that comes too late Pipecat does not tell the time.
    figures = re.findall(r"WhisperSTTService#\d+ TTFB: ", run.agent_said)
    assert sum(t["stages"]["stt_ms"] is not None for t in turns) == min(len(turns), len(figures))


def test_agent_text_is_the_reply_of_that_turn(run):
    turns = run.rows("turns.jsonl")
    # The first reply is the greeting.
    assert [t["agent_text"] for t in turns] == [run.replies[t["turn"]] for t in turns]


def test_no_packet_is_lost_and_audio_runs_all_the_time(run):
    for call in run.rows("calls.jsonl"):
        media, seconds = call["media"], (call["ended_at_ns"] - call["connected_at_ns"]) / 1e9
        assert media["packets_lost"] == media["packets_discarded"] == media["send_errors"] == 0
        assert media["packets_sent"] == pytest.approx(seconds * 50, rel=0.05)
        assert media["packets_received"] == pytest.approx(seconds * 50, rel=0.1)
    assert all(t["lost_packets"] == 0 for t in run.rows("turns.jsonl"))


def test_the_bot_is_handed_each_calls_id(run):
    assert sorted(h["call_id"] for h in run.handed) == [c["call_id"] for c in run.rows("calls.jsonl")]
