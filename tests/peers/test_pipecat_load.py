"""A shipped scenario against a whole Pipecat agent on this host's models: only its target block is another."""

import difflib
import re
from pathlib import Path

import jiwer
import pytest
import yaml
from fit_clips import callers
from pipecat_local import local_agent, missing_models
from product import Run

from harness.measure.normaliser import normalise

# The first run also installs Pipecat, about a gigabyte.
pytestmark = [pytest.mark.peer, pytest.mark.timeout(1200)]

SMOKE = Path(__file__).parents[2] / "scenarios" / "smoke.yaml"
SHIPPED_URL = yaml.safe_load(SMOKE.read_text())["target"]["url"]
PROCESSORS = {"stt": "WhisperSTTService", "llm": "OpenAILLMService", "tts": "KokoroTTSService"}


class LongRun(Run):
    """Recogniser and synthesiser on two cores take their time."""

    deadline_s = 480


def smoke(agent, folder, calls):
    """Run the shipped scenario against `agent`, its target's address changed and nothing else."""
    return LongRun(folder, SMOKE.read_text().replace(SHIPPED_URL, agent.url), "--calls", str(calls))


@pytest.fixture(autouse=True, scope="module")
def models():
    if missing := missing_models():
        pytest.skip(f"needs {', '.join(missing)}: callquake models fetch")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    with local_agent(folder) as agent:
        # Three calls are the fewest of which a drop-off is judged.
        finished = smoke(agent, folder, calls=3)
        finished.code = finished.end()
        finished.agent_said = agent.said
        finished.url = agent.url
    return finished


def answered(run):
    """The turns that have an exact TTFB."""
    turns = [t for t in run.rows("turns.jsonl") if t["ttfb_ms"] is not None]
    return [t for t in turns if not (t["censored"] or t["false_endpoint"] or t["out_of_step"])]


def test_only_the_target_block_differs_from_the_shipped_scenario(run):
    ran = (run.run_dir.parent / "scenario.yaml").read_text()
    changed = [d for d in difflib.ndiff(SMOKE.read_text().splitlines(), ran.splitlines()) if d[0] in "+-"]
    assert changed == [f"-   url: {SHIPPED_URL}", f"+   url: {run.url}"]
    shipped, there = yaml.safe_load(SMOKE.read_text()), yaml.safe_load(ran)
    assert shipped.pop("target") != there.pop("target")
    assert shipped == there


def test_the_run_is_judged_by_what_was_measured(run):
    # Whether so slow an agent passes is not ours to say; that nothing was void or missing is.
    assert run.code in (0, 99), run.text
    thresholds = run.json("summary.json")["thresholds"]
    assert len(thresholds) == 4
    assert {t["verdict"] for t in thresholds} <= {"PASSED", "FAILED"}, thresholds
    # No message of Pipecat's was malformed to us.
    assert "WARNING" not in (run.run_dir / "engine-local.log").read_text()


def test_ttfb_is_measured(run):
    ttfb = run.json("summary.json")["ttfb_ms"]
    turns = answered(run)
    assert len(turns) >= 3, run.text
    assert all(200 < t["ttfb_ms"] < 30_000 for t in turns)
    assert ttfb["n_answered"] == len(turns)
    assert ttfb["p50"] is not None
    assert all(c["greeting_ms"] > 0 for c in run.rows("calls.jsonl") if c["outcome"] == "completed")


def test_wer_is_that_of_pipecats_whisper(run):
    wer = run.json("summary.json")["wer"]
    assert wer["not_measured"] is None
    assert wer["n_words"] >= 50
    assert 0 < wer["wer"] < 0.8
    heard = [" ".join(text.split()) for text in re.findall(r"Transcription: \[(.*)\]", run.agent_said)]
    for turn in run.rows("turns.jsonl"):
        assert turn["transcript_channel"] == "rtvi"
        left = " ".join((turn["hypothesis"] or "").split())
        for text in sorted(heard, key=len, reverse=True):
            left = left.replace(text, "")
        assert not left.strip(), (turn["hypothesis"], heard)


def test_drop_off_is_computed_of_the_calls(run):
    calls = run.rows("calls.jsonl")
    assert len(calls) == 3
    lost = sum(c["outcome"] in ("dropped", "failed") for c in calls)
    assert run.json("summary.json")["drop_off"]["ratio"] == pytest.approx(lost / 3, abs=1e-4)


def test_stage_times_are_pipecats_own_of_that_turn(run):
    told = dict.fromkeys(PROCESSORS, 0)
    for turn in answered(run):
        stages = turn["stages"]
        assert stages["source"] == "rtvi-metrics"
        for stage, processor in PROCESSORS.items():
            value = stages[f"{stage}_ms"]
            if value is None:
                continue
            told[stage] += 1
            lines = [line for line in run.agent_said.splitlines() if f"TTFB: {value / 1e3:.3f}s" in line]
            assert any(processor in line for line in lines), turn
        # The answer was synthesised between the end of the caller's speech and its onset.
        assert stages["tts_ms"] < turn["ttfb_ms"]
    # The language model and the voice are told of every answer; Pipecat leaves Whisper's figure out where its text came
    # too early or too late.
    assert told["llm"] == told["tts"] == len(answered(run))
    figures = re.findall(r"WhisperSTTService#\d+ TTFB: ", run.agent_said)
    assert told["stt"] <= len(figures)
    assert told["stt"] >= 1 or len(figures) < len(answered(run))
    # The parts and the rest that nobody explains are the whole.
    everything = run.json("summary.json")["stage_means_ms"][0]
    assert everything["n"] == len(answered(run))
    assert everything["ttfb_ms"] == pytest.approx(sum(everything["parts"].values()), abs=0.01)


def test_a_bot_that_is_killed_is_counted_by_cause(tmp_path):
    with local_agent(tmp_path) as agent:
        run = smoke(agent, tmp_path, calls=4)
        # Two calls talk, two have yet to come.
        run.wait_for(lambda: agent.said.count("client is ready") == 2)
        agent.process.kill()
        code = run.end()
    calls = sorted(run.rows("calls.jsonl"), key=lambda call: call["index"])
    assert code == 99, run.text
    assert [(c["outcome"], c["cause"]) for c in calls] == [
        ("dropped", "media_lost"),
        ("dropped", "media_lost"),
        ("failed", "signalling_unreachable"),
        ("failed", "signalling_unreachable"),
    ]
    summary = run.json("summary.json")
    assert summary["calls"]["by_cause"] == {"media_lost": 2, "signalling_unreachable": 2}
    assert summary["drop_off"]["ratio"] == 1


@pytest.mark.parametrize(
    ("switches", "channel"),
    [({"BOT_RTVI": "0"}, None), ({"BOT_METRICS": "0"}, "rtvi")],
    ids=["without RTVI", "without metrics"],
)
def test_what_a_bot_does_not_tell_is_not_measured(tmp_path, switches, channel):
    with local_agent(tmp_path, **switches) as agent:
        plan = {**yaml.safe_load(SMOKE.read_text()), "callers": callers(turns=3)}
        run = LongRun(tmp_path, {**plan, "target": {**plan["target"], "url": agent.url}}, "--calls", "1")
        code = run.end()
    # One call is too few for the drop-off's threshold; the point is that it is no pass.
    assert code in (97, 99), run.text
    turns, summary = run.rows("turns.jsonl"), run.json("summary.json")
    assert answered(run), run.text
    assert {t["transcript_channel"] for t in turns} == {channel}
    assert [t["stages"] for t in turns] == [None] * len(turns)
    assert "Stages not measured" in run.text
    if channel is None:
        assert summary["wer"]["wer"] is None
        assert summary["wer"]["not_measured"]
        assert "WER not measured" in " ".join(run.text.split())
    else:
        # None may be wrong in three easy clips; that words were told and compared is the point.
        assert all(t["hypothesis"] for t in turns)
        wer = jiwer.wer([normalise(t["reference"]) for t in turns], [normalise(t["hypothesis"]) for t in turns])
        assert summary["wer"]["wer"] == pytest.approx(wer, abs=1e-4)
        assert wer < 0.5
