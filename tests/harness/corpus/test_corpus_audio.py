"""Clips decode to the sample; the shipped corpus is what its manifest says; the builder's parts do what they say."""

import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from harness.corpus.audio import decode_file, read_pcm, resample, write_opus
from harness.corpus.check import find_problems
from harness.corpus.derived_check import measure_shift_ms, measure_snr_db
from harness.corpus.levels import active_speech_level, rms_dbfs
from harness.corpus.manifest import default_corpus_dir, load_corpus
from harness.model.errors import ScenarioError

pytestmark = pytest.mark.unit

RATE = 48000


def chirp(count):
    time = np.arange(count) / RATE
    return np.round(8000 * np.sin(2 * np.pi * (200 * time + 300 * time**2))).astype(np.int16)


def lag_of(later, earlier):
    size = 2 * max(len(later), len(earlier))
    product = np.fft.rfft(later.astype(float), size) * np.conj(np.fft.rfft(earlier.astype(float), size))
    peak = int(np.argmax(np.fft.irfft(product, size)))
    return peak if peak < size // 2 else peak - size


@pytest.mark.parametrize("count", [960 * 50, 960 * 50 + 1, 960 * 50 + 959, 47777, 500])
def test_opus_comes_back_with_its_length_and_in_its_place(tmp_path, count):
    pcm = chirp(count)
    write_opus(tmp_path / "clip.opus", pcm, 56000)
    decoded = decode_file(tmp_path / "clip.opus", RATE)
    assert len(decoded) == count
    if count > RATE // 2:
        assert lag_of(decoded, pcm) == 0


def test_equal_samples_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write_opus(tmp_path / name, chirp(RATE), 56000)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
def test_resampling_keeps_length_and_place(rate):
    pcm = chirp(RATE + 7)
    there = resample(pcm, RATE, rate)
    assert len(there) == round(len(pcm) * rate / RATE)
    back = resample(there, rate, RATE)
    assert abs(lag_of(back, pcm)) <= 1


def test_every_shipped_clip_has_its_stated_length_at_every_rate():
    corpus = load_corpus()
    for clip in list(corpus.utterances.values())[::25]:
        assert len(read_pcm(clip)) == clip.samples == round(clip.duration_ms * 48)
        assert len(read_pcm(clip, 16000)) == round(clip.duration_ms * 16)


def test_file_of_another_length_is_refused(tmp_path):
    corpus = load_corpus()
    clip = next(iter(corpus.utterances.values()))
    target = tmp_path / clip.path
    target.parent.mkdir()
    write_opus(target, read_pcm(clip)[:-1], 56000)
    moved = replace(clip, root=tmp_path)
    with pytest.raises(ScenarioError, match=f"decodes to {clip.samples - 1} samples.*says {clip.samples}"):
        read_pcm(moved)


def test_file_that_is_no_audio_is_refused(tmp_path):
    (tmp_path / "clip.opus").write_bytes(b"not audio")
    with pytest.raises(ScenarioError, match=r"clip\.opus: cannot decode"):
        decode_file(tmp_path / "clip.opus", RATE)


def test_shipped_corpus_fits_into_git():
    shipped = sum(file.stat().st_size for file in default_corpus_dir().rglob("*") if file.is_file())
    assert shipped <= 25_000_000


def test_shipped_families_pass_the_check():
    """Hashes, edges, levels, shifts and SNRs of three families; tests/harness/corpus/test_corpus_rebuild.py has all."""
    corpus = load_corpus()
    bases = [clip for clip in corpus.utterances.values() if clip.is_clean][3::90]
    ids = {base.id for base in bases}
    some = {name: clip for name, clip in corpus.utterances.items() if clip.base_id in ids}
    problems = find_problems(type(corpus)(corpus.directory, corpus.sha256, some))
    assert [line for line in problems if not line.endswith("not in the manifest")] == []


@pytest.fixture
def shifted(tmp_path):
    """A copy of the smallest possible corpus, whose one noisy clip was spoilt: quieter noise, 30 ms late."""
    corpus = load_corpus()
    noisy = corpus.select(condition=["street-5db"])[0]
    clean = corpus.clean_of(noisy)
    for path in (clean.path, noisy.path, f"noise/{noisy.noise}.opus"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(default_corpus_dir() / path, tmp_path / path)
    speech, mixed = read_pcm(clean).astype(float), read_pcm(noisy).astype(float)
    spoilt = np.roll(speech + 0.5 * (mixed - speech), RATE * 30 // 1000)
    write_opus(tmp_path / noisy.path, np.round(spoilt).astype(np.int16), 56000)
    return type(corpus)(
        tmp_path,
        corpus.sha256,
        {u.id: replace(u, root=tmp_path) for u in (clean, noisy)},
    ), noisy


def test_check_finds_a_spoilt_clip(shifted):
    corpus, noisy = shifted
    problems = find_problems(corpus)
    assert len(problems) == 1
    assert problems[0].startswith(str(corpus.directory))
    assert f"{noisy.id}.sha256" in problems[0]
    assert measure_shift_ms(corpus, corpus.utterances[noisy.id]) == pytest.approx(30, abs=0.1)


def test_check_finds_a_manifest_that_states_what_is_not_so():
    corpus = load_corpus()
    noisy = corpus.select(condition=["street-5db"])[0]
    clean = corpus.clean_of(noisy)
    wrong = {
        clean.id: replace(
            clean, speech_end_ms=clean.speech_end_ms - 100, speech_level_dbfs=clean.speech_level_dbfs + 1
        ),
        noisy.id: replace(noisy, snr_db=noisy.snr_db + 3),
    }
    problems = find_problems(type(corpus)(corpus.directory, corpus.sha256, wrong))
    named = [line.split(":")[0] for line in problems if "not in the manifest" not in line]
    assert named == [f"{clean.id}.speech_end_ms", f"{clean.id}.speech_level_dbfs", f"{noisy.id}.snr_db"]


def test_snr_is_measured_from_the_file_not_read_from_the_manifest(shifted, tmp_path):
    corpus, noisy = shifted
    clean = corpus.clean_of(noisy)
    bed = decode_file(tmp_path / f"noise/{noisy.noise}.opus", RATE)
    offset = int(next(tag.split(":")[1] for tag in noisy.tags if tag.startswith("noise-offset-ms:"))) * 48
    cut, speech = bed[offset : offset + clean.samples].astype(float), read_pcm(clean)
    level = active_speech_level(speech, RATE).active_dbfs
    for snr_db in (-5.0, 12.0):
        gain = 10 ** ((level - snr_db - rms_dbfs(cut / 32768)) / 20)
        write_opus(tmp_path / noisy.path, np.round(speech + gain * cut).astype(np.int16), 56000)
        assert measure_snr_db(corpus, corpus.utterances[noisy.id]) == pytest.approx(snr_db, abs=0.5)


def test_check_command_exits_1_with_a_line_per_problem(tmp_path):
    shutil.copytree(default_corpus_dir(), tmp_path / "corpus")
    clip = load_corpus().select(condition=["clean"])[0]
    (tmp_path / "corpus" / clip.path).unlink()
    keep = {clip.id} | {u.id for u in load_corpus().utterances.values() if u.base_id == clip.id}
    _keep_only(tmp_path / "corpus", keep)
    done = subprocess.run(
        [sys.executable, "-m", "harness.corpus", "check", "--corpus", str(tmp_path / "corpus")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert f"{clip.id}.path: cannot read" in done.stdout


def _keep_only(folder, ids):
    import json

    manifest = folder / "manifest.json"
    document = json.loads(manifest.read_text())
    document["utterances"] = [u for u in document["utterances"] if u["id"] in ids]
    manifest.write_text(json.dumps(document))
