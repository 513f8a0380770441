import json

import pytest

from harness.model.errors import ScenarioError
from target_stack.__main__ import main, parser
from target_stack.config import config_from
from target_stack.frames import TurnTiming
from target_stack.loading import Loading
from target_stack.pipeline.turn import heard_text
from target_stack.telemetry.events import CallEnded, EventLog, TurnFinished
from target_stack.telemetry.stats import DurationHistogram

pytestmark = pytest.mark.unit


def parsed(*arguments, environment=None):
    environment = environment or {}
    return config_from(parser(environment).parse_args(["up", *arguments]), environment)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "gpu"], "--llm vllm: needs --vllm-model NAME"),
        (["--profile", "gpu", "--vllm-model", "m"], "--tts-engine torch: needs --tts-model FILE.pth"),
        (["--llm", "vllm", "--vllm-model", "m", "--media-servers", "2"], "--llm vllm with --media-servers"),
        (["--vllm-args", "'", "--llm", "vllm", "--vllm-model", "m"], "--vllm-args '"),
        (["--llm-context", "guess"], "--llm-context guess: legal: summarise, whole"),
        (["--llm-context-tokens", "7"], "--llm-context-tokens 7: must be 0 or 128 to 10000000"),
        (["--profile", "tpu"], "no such profile; legal: cpu"),
        (["--port", "70000"], "--port 70000: must be 0 to 65535"),
        (["--llm", "big"], "--llm big: legal: real, scripted, vllm"),
        (["--llm-url", "localhost:8000"], "must begin with http"),
        (["--llm", "scripted", "--llm-url", "http://h"], "exclude each other"),
        (["--voice", "nobody"], "--voice nobody: legal: af_heart"),
        (["--stop-ms", "10"], "--stop-ms 10: must be 100 to 5000"),
        (["--tts-workers", "0"], "--tts-workers 0: must be 1 to 64"),
        (["--tts-batch", "65"], "--tts-batch 65: must be 1 to 64"),
        (["--tts-engine", "torch"], "--tts-engine torch: needs --tts-model FILE.pth"),
        (["--tts-engine", "sapi"], "--tts-engine sapi: legal: onnx, torch"),
    ],
)
def test_a_wrong_option_is_named_with_its_legal_values(arguments, message, capsys):
    with pytest.raises(ScenarioError, match=message):
        parsed(*arguments)
    assert main(["up", *arguments]) == 104
    assert message in capsys.readouterr().err


def test_the_environment_stands_in_and_the_command_line_wins(tmp_path):
    environment = {"CALLQUAKE_PORT": "9000", "CALLQUAKE_NO_FETCH": "1", "CALLQUAKE_MODELS": str(tmp_path)}
    config = parsed(environment=environment)
    assert (config.port, config.models.may_fetch, config.models.cache) == (9000, False, tmp_path)
    assert parsed("--port", "1", environment=environment).port == 1


def test_a_servers_url_may_end_in_v1():
    assert parsed("--llm-url", "http://h:1/v1/").llm.url == "http://h:1"


def test_readiness_tells_which_stage_failed_and_notices_one_that_dies_later():
    import asyncio

    async def load(error=None):
        if error:
            raise error

    loading = Loading({"stt": "s", "llm": "l"})
    faults = []
    loading.watch("llm", lambda: "".join(faults))
    assert loading.snapshot().stages == {"stt": "loading", "llm": "loading"}
    with pytest.raises(OSError, match="no weights"):
        asyncio.run(loading.load("stt", load(OSError("no weights"))))
    assert loading.snapshot().stages["stt"] == "failed: no weights"
    asyncio.run(loading.load("stt", load()))
    asyncio.run(loading.load("llm", load()))
    assert loading.snapshot().ready
    faults.append("its process ended")
    assert not loading.snapshot().ready
    assert loading.snapshot().stages["llm"] == "failed: its process ended"


@pytest.mark.parametrize(
    ("played_s", "heard"),
    [(0, ""), (0.4, "One two"), (0.8, "One two three four"), (1.3, "One two three four Five"), (9, None)],
)
def test_what_was_heard_is_cut_in_proportion_to_time(played_s, heard):
    spoken = [("One two three four", 0.8), ("Five six", 1.0)]
    assert heard_text(spoken, played_s) == ("One two three four Five six" if heard is None else heard)


def test_events_are_on_disk_at_once_with_times_and_without_words(tmp_path):
    log = EventLog(tmp_path / "new" / "events.jsonl")
    log.open()
    timing = TurnTiming(1, 500.0, 400.0, 300.123456, 200.0, 10.0, 90.0, 5.0)
    log.write(TurnFinished("c1", 7, 1, "answered", timing, user_audio_ms=4000.0, transcript_words=9))
    log.write(CallEnded("c1", 9, 1))
    first, last = map(json.loads, (tmp_path / "new" / "events.jsonl").read_text().splitlines())
    assert first == {
        "event": "turn_finished",
        "call_id": "c1",
        "at_ns": 7,
        "turn": 1,
        "outcome": "answered",
        "endpointing_ms": 500.0,
        "stt_ms": 400.0,
        "llm_ms": 300.12,
        "tts_ms": 200.0,
        "playout_ms": 10.0,
        "llm_ttft_ms": 90.0,
        "queue_ms": 5.0,
        "user_audio_ms": 4000.0,
        "transcript_words": 9,
        "failed_stage": "",
    }
    assert last == {"event": "call_ended", "call_id": "c1", "at_ns": 9, "turns": 1}
    log.close()


def test_a_histogram_counts_its_bound_in():
    histogram = DurationHistogram((10, 20))
    for duration in (10, 10.1, 25):
        histogram.observe(duration)
    assert histogram.cumulative() == [(10, 1), (20, 2), (float("inf"), 3)]
