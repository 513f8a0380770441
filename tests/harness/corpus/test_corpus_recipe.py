"""Recipes are refused with their place, accents and noise do what they say, missing weights say how to get them."""

# ruff: noqa: RUF001  phonemes are meant

import numpy as np
import pytest
import yaml

from harness.corpus.__main__ import main
from harness.corpus.levels import rms_dbfs
from harness.corpus.manifest import default_corpus_dir, load_corpus
from harness.corpus.recipe import load_recipe
from harness.corpus.weights import find_model, find_voices, pack_voices
from harness.exit_codes import ExitCode
from harness.model.errors import ScenarioError

pytestmark = pytest.mark.unit

RECIPE = default_corpus_dir() / "recipe.yaml"


def test_shipped_corpus_is_what_its_recipe_lists():
    recipe, corpus = load_recipe(RECIPE), load_corpus()
    conditions = 1 + sum(len(noise.snr_db) for noise in recipe.noises.values())
    assert len(corpus.utterances) == conditions * len(recipe.utterances)
    for spec in recipe.utterances:
        clip = corpus.utterances[spec.id]
        assert (clip.transcript, clip.accent, clip.speaker) == (spec.text, spec.accent, spec.speaker)
        assert clip.speech_level_dbfs == pytest.approx(recipe.speech.level_dbfs, abs=0.5)


def test_babble_talkers_are_never_callers():
    recipe = load_recipe(RECIPE)
    assert not set(recipe.noises["babble"].talkers) & {spec.speaker for spec in recipe.utterances}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.update(seeds=1), "seeds"),
        (lambda r: r["utterances"][0].update(accent="martian"), "'martian'; legal: american"),
        (lambda r: r["utterances"].append(r["utterances"][0]), "stands twice"),
        (lambda r: r["speech"].update(lead_ms=900), "speech.lead_ms"),
        (lambda r: r["noises"]["street"].update(kind="rain"), "noises.street"),
        (lambda r: r["noises"]["babble"].update(talkers=["af_nova"]), "noises.babble.babble.talkers"),
        (lambda r: r["accents"]["american"].update(substitutions=[["(", "a"]]), "not a regular expression"),
        (lambda r: r["accents"]["american"].update(substitutions=[["a", "\\2"]]), "not a regular expression"),
    ],
)
def test_wrong_recipe_is_refused_with_its_place(tmp_path, change, said):
    document = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    change(document)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(ScenarioError) as refused:
        load_recipe(path)
    assert str(path) in str(refused.value)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("accent", "native", "foreign"),
    [
        ("spanish-l1", "ðɪs vˈɛɹi stɹˈiːt ɪz", "dis bˈɛɾi estɾˈit is"),
        ("italian-l1", "hˈaʊs ɹˈʌnz ðˈat", "ˈaus rˈanz dˈatə"),
        ("hindi-l1", "wˈɒt vˈeɪn θˈɪŋ", "ʋˈɒʈ ʋˈeːn tʰˈɪŋ"),
        ("chinese-l1", "ðˈæt bˈæd vˈɛɹi", "dˈɛt bˈɛt wˈɛɹi"),
    ],
)
def test_accents_substitute_the_sounds_they_claim(accent, native, foreign):
    from harness.corpus.speech import with_accent

    assert with_accent(native, load_recipe(RECIPE).accents[accent].substitutions) == foreign


def test_street_bed_depends_on_its_seed_only_and_has_its_level():
    pytest.importorskip("pydub")
    from harness.corpus.noise import BED_DBFS, street_bed

    beds = [street_bed(3000, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(beds[0], beds[1])
    assert not np.array_equal(beds[0], beds[2])
    assert len(beds[0]) == 3 * 48000
    assert rms_dbfs(beds[0]) == pytest.approx(BED_DBFS, abs=0.1)


def test_babble_holds_every_talker():
    pytest.importorskip("pydub")
    from harness.corpus.noise import babble_bed

    time = np.arange(48000 * 2) / 48000
    tones = [np.round(3000 * np.sin(2 * np.pi * hz * time)).astype(np.int16) for hz in (300, 500, 700, 900, 1100, 1300)]
    bed = babble_bed(tones, 4000, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(bed))
    peaks = [spectrum[round(hz * len(bed) / 48000)] for hz in (300, 500, 700, 900, 1100, 1300)]
    assert max(peaks) / min(peaks) < 1.1
    assert len(bed) == 4 * 48000


def test_voices_are_packed_from_raw_files(tmp_path):
    voice = np.arange(2 * 256, dtype=np.float32)
    voice.tofile(tmp_path / "af_test.bin")
    with np.load(pack_voices(tmp_path, tmp_path / "voices.npz")) as packed:
        assert np.array_equal(packed["af_test"], voice.reshape(2, 1, 256))


def test_missing_weights_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ScenarioError, match=r"--fetch-voices.*npm pack kokoro-js@1\.2\.1"):
        find_voices(None)
    with pytest.raises(ScenarioError, match="no voice"):
        find_voices(tmp_path)
    with pytest.raises(ScenarioError, match="callquake models fetch"):
        find_model(tmp_path / "absent.onnx")


def test_build_of_a_wrong_recipe_exits_104(tmp_path, capsys):
    assert main(["build", "--recipe", str(tmp_path / "none.yaml"), "--out", str(tmp_path)]) == ExitCode.BAD_SCENARIO
    assert "cannot read the recipe" in capsys.readouterr().err
