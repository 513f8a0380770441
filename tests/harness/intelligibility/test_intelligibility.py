"""The agent's own speech: the right audio is heard, what cannot be is counted, and reports tell what was found."""

import json

import numpy as np
import pytest
from run_records import MS, make_call, make_health, make_turn
from sample_run import write_records, write_run

from harness.cli import main
from harness.commands.intelligibility import score
from harness.corpus.offline_stt import RATE, SttIdentity
from harness.exit_codes import ExitCode
from harness.intelligibility.answers import NO_END, NO_TEXT, NOT_RECORDED, answers_of
from harness.media.clips import encode_clip
from harness.media.codecs import PCMU
from harness.media.recorder import Recorder
from harness.report.finish import finish_run
from harness.report.store import read_run

pytestmark = pytest.mark.unit

S = 1_000_000_000
BEGAN = 500 * S
# Tones that answers are made of, and what the fake recogniser calls them.
TONES = {400: "four hundred", 800: "eight hundred", 1_600: "sixteen hundred"}


def tone(hertz, ms):
    return (8_000 * np.sin(2 * np.pi * hertz * np.arange(8 * ms) / 8_000)).astype(np.int16)


def record_call(path, answers):
    """A recording as a caller makes it: an utterance, then an answer, and so on; returns the times of each turn."""
    recorder = Recorder(BEGAN, PCMU)
    at_ms, times = 300, []
    for i, hertz in enumerate(answers):
        said = encode_clip(f"u{i}", tone(250, 1_000), 100.0, 900.0, PCMU)
        recorder.clip_started(said, BEGAN + at_ms * MS)
        ended = BEGAN + (at_ms + 900) * MS
        onset_ms = at_ms + 1_900
        spoken = encode_clip("agent", tone(hertz, 800), 0.0, 800.0, PCMU)
        for n, payload in enumerate(spoken.payloads):
            recorder.agent_payload(payload, (onset_ms + 20 * n) * 8, BEGAN + (onset_ms + 20 * n) * MS)
        times.append((ended, BEGAN + onset_ms * MS, BEGAN + (onset_ms + 800) * MS))
        at_ms = onset_ms + 2_500
    recorder.write(path)
    return times


class ToneStt:
    """Names the tone it hears, and keeps how long the audio was."""

    identity = SttIdentity("tones", "a" * 64, "int8", "fake 1")

    def __init__(self):
        self.lengths_ms = []

    def transcribe(self, samples):
        self.lengths_ms.append(1000 * len(samples) / RATE)
        spectrum = np.abs(np.fft.rfft(samples.astype(float)))
        loudest = float(np.fft.rfftfreq(len(samples), 1 / RATE)[int(spectrum.argmax())])
        return TONES[min(TONES, key=lambda hertz: abs(hertz - loudest))]


@pytest.fixture
def run_dir(tmp_path):
    """Two recorded calls; the second answer of the first is not what the agent meant to say."""
    write_run(tmp_path)
    turns, calls = [], []
    for name, tones in (("c1", [400, 800]), ("c2", [1_600, 400, 800])):
        times = record_call(tmp_path / "audio" / f"{name}.flac", tones)
        calls.append(make_call(name, recording=f"audio/{name}.flac", connected_at_ns=BEGAN))
        for i, (hertz, (ended, onset, stopped)) in enumerate(zip(tones, times, strict=True)):
            meant = "nine hundred" if (name, i) == ("c1", 1) else TONES[hertz]
            turns.append(
                make_turn(name, i + 1, utterance_id=f"u{i}", speech_ended_at_ns=ended, onset_at_ns=onset,
                          agent_speech_ended_at_ns=stopped, agent_text=meant)
            )  # fmt: skip
    write_records(tmp_path, calls, turns, [make_health()])
    return tmp_path


def test_each_answer_is_cut_out_of_its_recording_and_scored(run_dir, capsys):
    stt = ToneStt()
    assert score(read_run(run_dir), 1, 200, lambda: stt) == ExitCode.PASSED
    # 0.8 s of tone, and what is taken along, as far as the file goes.
    assert len(stt.lengths_ms) == 5
    assert all(1_000 < length <= 1_325 for length in stt.lengths_ms)
    told = json.loads((run_dir / "summary.json").read_text())["intelligibility"]
    # "eight hundred" for "nine hundred": one digit of the fifteen or so.
    assert told["n"] == told["n_eligible"] == 5
    assert told["wer"] == pytest.approx(1 / told["n_words"])
    assert told["worst"] == [{"call_id": "c1", "turn": 2, "said": "nine hundred", "heard": "eight hundred"}]
    assert "WER of the agent's speech" in capsys.readouterr().out
    page = (run_dir / "report.html").read_text()
    assert "fake 1, tones" in page
    assert "4 of" not in page.split("own speech</h3>")[1].split("</section>")[0]


def test_the_recordings_own_log_places_answers_where_the_call_does_not(run_dir):
    run = read_run(run_dir)
    for call in run.calls:
        # Early media: the recording began long before the call was connected.
        object.__setattr__(call, "connected_at_ns", BEGAN + 3 * S)
    assert score(run, 1, 200, ToneStt) == ExitCode.PASSED
    assert json.loads((run_dir / "summary.json").read_text())["intelligibility"]["worst"][0]["call_id"] == "c1"


def test_a_sample_is_seeded_and_says_of_how_many(run_dir, capsys):
    chosen = []
    for seed in (1, 1, 2, 3, 4):
        assert score(read_run(run_dir), seed, 2, ToneStt) == ExitCode.PASSED
        assert "2 of 5 answers" in capsys.readouterr().out
        told = json.loads((run_dir / "intelligibility.json").read_text())["answers"]
        chosen.append([(answer["call_id"], answer["turn"]) for answer in told])
    assert chosen[0] == chosen[1]
    assert any(one != chosen[0] for one in chosen[2:])


def test_what_cannot_be_scored_is_counted_by_reason():
    calls = [make_call("c1", recording="audio/c1.flac"), make_call("c2")]
    ended = {"agent_speech_ended_at_ns": 12_000 * MS}
    turns = [
        make_turn("c1", 1, agent_text="yes", **ended),
        make_turn("c1", 2, agent_text=None, **ended),
        make_turn("c1", 3, agent_text="cut off"),
        make_turn("c2", 1, agent_text="yes", **ended),
        make_turn("c1", 4, None),
    ]
    answers, skipped = answers_of(turns, calls)
    assert [(a.call_id, a.turn, a.text) for a in answers] == [("c1", 1, "yes")]
    assert skipped == {NO_TEXT: 1, NO_END: 1, NOT_RECORDED: 1}


def test_a_damaged_recording_stops_nothing_and_is_counted(run_dir, capsys):
    (run_dir / "audio" / "c1.flac").write_bytes(b"no audio at all")
    assert score(read_run(run_dir), 1, 200, ToneStt) == ExitCode.PASSED
    told = json.loads((run_dir / "summary.json").read_text())["intelligibility"]
    assert (told["n"], told["skipped"]) == (3, {"their recording could not be read": 2})
    assert "c1: its answers are not heard" in capsys.readouterr().err


def test_a_recording_outside_of_the_run_is_not_read(run_dir, capsys):
    run = read_run(run_dir)
    for call in run.calls:
        object.__setattr__(call, "recording", "../secret.flac")
    assert score(run, 1, 200, ToneStt) == ExitCode.NO_DATA
    assert "not inside the run's directory" in capsys.readouterr().err


def test_without_answers_to_score_no_model_is_asked_for(tmp_path, capsys):
    run_dir = write_run(tmp_path)
    assert main(["intelligibility", str(run_dir), "--model", str(tmp_path / "none")]) == ExitCode.NO_DATA
    assert "46: their calls were not recorded" in capsys.readouterr().err
    finish_run(run_dir)
    assert "agent's own speech: not measured" in capsys.readouterr().out
    assert json.loads((run_dir / "summary.json").read_text())["intelligibility"] is None
    assert "Not measured. <code>callquake intelligibility" in (run_dir / "report.html").read_text()


WHOLE = {"call_id": "c", "turn": 1, "attempt": 0, "said": "a", "heard": "b"}
HEAD = {"schema_version": 1, "recogniser": "x", "seed": 1, "n_eligible": 1, "skipped": {}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        json.dumps({"schema_version": 1}),
        json.dumps(HEAD | {"answers": [WHOLE], "schema_version": 2}),
        json.dumps(HEAD | {"answers": [WHOLE | {"turn": "1"}]}),
        json.dumps(HEAD | {"answers": [WHOLE | {"said": "\ud800"}]}),
        json.dumps(HEAD | {"answers": [WHOLE], "n_eligible": -1}),
        json.dumps(HEAD | {"answers": WHOLE}),
    ],
)
def test_a_damaged_result_is_told_and_breaks_no_report(tmp_path, text):
    run_dir = write_run(tmp_path)
    (run_dir / "intelligibility.json").write_text(text)
    result = finish_run(run_dir, print_report=False)
    assert result.summary["intelligibility"] is None
    assert any("intelligibility.json could not be read" in note for note in result.summary["notes"])
