"""`callquake corpus list | stats | play`: what is shown of a corpus, and how clips are chosen."""

import json
import subprocess
import sys
import wave

import numpy as np
import pytest

from harness.corpus.__main__ import main
from harness.corpus.audio import read_pcm
from harness.corpus.commands import play
from harness.corpus.commands.table import aligned
from harness.corpus.manifest import load_corpus
from harness.exit_codes import ExitCode

pytestmark = pytest.mark.unit


@pytest.fixture
def said(capsys):
    """A function that runs a command and returns exit code, standard output and standard error."""

    def run(*words):
        code = main(words)
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


def test_columns_line_up_in_any_script():
    lines = aligned(["id", "n", "text"], [["a", "10", "x"], ["日本", "5", "é"]], right=["n"])
    assert lines == ["id     n  text", "a     10  x", "日本   5  é"]


def test_list_shows_what_matches_and_counts_it(said):
    code, out, _ = said("list", "--accent", "british", "--condition", "clean")
    lines = out.splitlines()
    clips = load_corpus(verify=False).select(accent=["british"], condition=["clean"])
    assert code == 0
    assert len(lines) == len(clips) + 2
    assert lines[0].split() == ["id", "accent", "speaker", "condition", "domain", "seconds", "dBFS", "transcript"]
    assert lines[1].startswith(f"{clips[0].id} ")
    assert lines[1].endswith(clips[0].transcript)
    assert lines[-1].startswith(f"{len(clips)} clips, ")


def test_list_as_json_is_the_manifests_entries(said):
    corpus = load_corpus(verify=False)
    _, out, _ = said("list", "--native", "no", "--snr-db", "none", "--json")
    listed = json.loads(out)
    assert [entry["id"] for entry in listed] == [clip.id for clip in corpus.select(native=[False], snr_db=[None])]
    assert listed[0] == corpus.utterances[listed[0]["id"]].to_json()


def test_list_by_words_and_tags(said):
    clip = next(iter(load_corpus(verify=False).utterances.values()))
    words = " ".join(clip.transcript.split()[:4]).upper()
    _, out, _ = said("list", "--match", words, "--json")
    assert clip.id in [entry["id"] for entry in json.loads(out)]
    _, out, _ = said("list", "--tag", *clip.tags[:2], "--json")
    assert all(set(clip.tags[:2]) <= set(entry["tags"]) for entry in json.loads(out))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["list", "--accent", "martian"], "unknown value 'martian' for accent; legal: "),
        (["list", "--match", "no such words"], "no clip has --match no such words"),
        (["list", "--corpus", "/nonexistent"], "cannot read the corpus manifest"),
        (["play", "no-such-id"], "unknown value 'no-such-id' for ids; legal: "),
        (["play", "--first", "0"], "--first 0: legal: 1 or more"),
        (["play", "--wav", "x.wav"], "takes one clip, "),
    ],
)
def test_wrong_requests_are_named(said, words, message):
    code, _, err = said(*words)
    assert code == ExitCode.BAD_SCENARIO
    assert message in err


def test_stats_count_the_corpus(said):
    clips = load_corpus(verify=False).utterances.values()
    code, out, _ = said("stats", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["clips"] == len(clips)
    assert found["clean_clips"] == sum(clip.is_clean for clip in clips)
    assert found["seconds"] == pytest.approx(sum(clip.duration_ms for clip in clips) / 1000, abs=0.1)
    assert found["bytes"] == sum(clip.file.stat().st_size for clip in clips)
    assert found["missing_files"] == 0
    assert sum(row["clips"] for row in found["rows"]) == len(clips)
    assert {row["accent"] for row in found["rows"]} == {clip.accent for clip in clips}


@pytest.mark.parametrize("by", ["accent", "domain", "native", "licence"])
def test_stats_table_adds_up(said, by):
    _, out, _ = said("stats", "--by", by)
    table = out.split("\n\n")[0].splitlines()
    totals = [int(line.split("(")[-2].split()[-1]) for line in table[1:]]
    assert totals[-1] == sum(totals[:-1]) == len(load_corpus(verify=False).utterances)


def test_play_goes_through_the_first_player_there_is(said, monkeypatch, tmp_path):
    clip = next(iter(load_corpus(verify=False).utterances.values()))
    heard = tmp_path / "heard.wav"
    monkeypatch.setattr(play, "_PLAYERS", (("no-such-player",), ("cp", "-T")))
    monkeypatch.setattr(play, "_failure", lambda command: subprocess.run([*command, heard], check=True) and None)
    code, out, err = said("play", clip.id)
    assert (code, err) == (0, "")
    assert out == f"{clip.id} ({clip.accent}, {clip.condition}): {clip.transcript}\n"
    with wave.open(str(heard)) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
        assert (sound.getframerate(), sound.getnchannels()) == (clip.sample_rate, 1)
    assert np.array_equal(samples, read_pcm(clip, clip.sample_rate))


@pytest.mark.parametrize("players", [(), ((sys.executable, "-c", "raise SystemExit('no sound card')"),)])
def test_where_nothing_plays_the_clip_is_written_and_its_place_said(said, monkeypatch, tmp_path, players):
    clip = next(iter(load_corpus(verify=False).utterances.values()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(play, "_PLAYERS", players)
    code, _, err = said("play", clip.id)
    assert code == 0
    assert f"written to {tmp_path / clip.id}.wav" in err
    assert ("no sound card" if players else "no player is installed") in err
    assert (tmp_path / f"{clip.id}.wav").is_file()


def test_play_writes_one_clip_or_its_speech_alone(said, tmp_path):
    clip = next(iter(load_corpus(verify=False).utterances.values()))
    said("play", clip.id, "--wav", str(tmp_path / "all.wav"))
    said("play", clip.id, "--wav", str(tmp_path / "speech.wav"), "--speech-only")
    lengths = {}
    for name in ("all", "speech"):
        with wave.open(str(tmp_path / f"{name}.wav")) as sound:
            lengths[name] = sound.getnframes() * 1000 / sound.getframerate()
    assert lengths["all"] == pytest.approx(clip.duration_ms, abs=0.1)
    assert lengths["speech"] == pytest.approx(clip.speech_end_ms - clip.speech_start_ms, abs=0.1)
    code, _, err = said("play", clip.id, "--wav", str(tmp_path / "nowhere/x.wav"))
    assert code == ExitCode.BAD_SCENARIO
    assert "cannot write" in err


def test_every_command_teaches(capsys):
    for name in ("build", "import", "list", "play", "check", "stats", "wer"):
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0
        text = capsys.readouterr().out
        assert "examples:\n" in text
        assert f"callquake corpus {name}" in text.split("examples:")[1]


def test_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m harness.corpus list | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
