"""Recipes are refused with their place; the shipped one has what it promises; missing weights say how to get them."""

from collections import Counter

import numpy as np
import pytest
import yaml
from scripted_voice import small_recipe

from harness.corpus.__main__ import main
from harness.corpus.choice import choose
from harness.corpus.manifest import default_corpus_dir, load_corpus
from harness.corpus.recipe import load_recipe
from harness.corpus.weights import find_model, find_voices, pack_voices
from harness.exit_codes import ExitCode
from harness.model.errors import ScenarioError

pytestmark = pytest.mark.unit

RECIPE = default_corpus_dir() / "recipe.yaml"
DOMAINS = {
    *("orders", "addresses", "dates", "numbers", "names", "medical", "legal", "banking", "support", "yes-no"),
    *("correction", "hesitation", "backchannel", "long", "pause"),
}


@pytest.fixture(scope="module")
def recipe():
    return load_recipe(RECIPE)


def test_shipped_corpus_is_what_its_recipe_lists(recipe):
    corpus = load_corpus()
    families = choose(recipe)
    assert list(corpus.utterances) == [clip_id for family in families for clip_id in family.clip_ids]
    for family in families:
        clip = corpus.utterances[family.base_id]
        said = (clip.transcript, clip.accent, clip.speaker, clip.domain, clip.entities)
        sentence = family.sentence
        assert said == (sentence.transcript, family.accent, family.speaker, sentence.domain, sentence.entities)
        assert [round(end - start) for start, end in clip.pauses_ms] == list(sentence.silences_ms)
        # Opus at the recipe's rate takes some tenths of a dB.
        assert clip.speech_level_dbfs == pytest.approx(recipe.speech.level_dbfs, abs=0.8)
        for condition in family.conditions:
            assert corpus.utterances[family.clip_id(condition)].condition == condition.name


def test_sentences_are_many_and_of_every_kind(recipe):
    kinds = Counter(sentence.domain for sentence in recipe.sentences)
    assert len(recipe.sentences) >= 120
    assert set(kinds) == DOMAINS
    assert kinds["long"] == 2
    assert kinds["pause"] == 3
    assert all(kinds[name] >= 6 for name in DOMAINS - {"long", "pause"})
    silences = [ms for s in recipe.sentences if s.domain == "pause" for ms in s.silences_ms]
    assert min(silences) >= 700
    assert max(silences) <= 1500


def test_every_accent_has_the_same_share_of_every_condition(recipe):
    per_accent = Counter(family.accent for family in choose(recipe))
    assert set(per_accent) == set(recipe.accents)
    assert max(per_accent.values()) - min(per_accent.values()) <= 3
    cells = Counter((family.accent, c.name) for family in choose(recipe) for c in family.conditions)
    for condition in recipe.shipped[0].conditions:
        n = [cells[accent, condition] for accent in recipe.accents]
        assert min(n) >= 10
        assert max(n) - min(n) <= 2


def test_the_voices_of_an_accent_share_its_sentences(recipe):
    for accent, spec in recipe.accents.items():
        said = Counter(family.speaker for family in choose(recipe) if family.accent == accent)
        assert set(said) == set(spec.speakers)
        assert min(said.values()) >= 3
    # Kokoro has one French voice.
    assert all(len(spec.speakers) >= 2 for name, spec in recipe.accents.items() if name != "french-l1")


def test_all_is_every_sentence_by_every_voice_in_every_condition():
    recipe = small_recipe()
    families = choose(recipe, "all")
    assert len(families) == 5 * 3
    assert all(len(family.clip_ids) == 4 for family in families)
    ids = [clip_id for family in families for clip_id in family.clip_ids]
    assert len(set(ids)) == len(ids)
    shipped = {clip_id for family in choose(recipe) for clip_id in family.clip_ids}
    assert shipped < set(ids)


def changed(path, value):
    def change(recipe):
        *way, last = path
        for step in way:
            recipe = recipe[step]
        recipe[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed(["seeds"], 1), ["seeds"]),
        (changed(["schema_version"], 1), ["version 2", "docs/corpus.md"]),
        (
            changed(["sentences", 0, "voices"], {"martian": "af_heart"}),
            ["late-order: accent 'martian'; legal: "],
        ),
        (changed(["sentences", 0, "voices"], {"british": "af_heart"}), ["speaker of british 'af_heart'", "bf_emma"]),
        (changed(["sentences", 1, "id"], "late-order"), ["'late-order' stands twice"]),
        (changed(["sentences", 0, "text"], "<900> Hello"), ["between words"]),
        (changed(["sentences", 0, "text"], "Hello <90> there"), ["legal: 150 to 5000"]),
        (changed(["sentences", 0, "entities"], ["4592"]), ["late-order: entity '4592' is not in the text"]),
        (changed(["sentences", 0, "spoken"], "Hi <300> there"), ["silences of `text`"]),
        (changed(["speech", "lead_ms"], 900), ["speech.lead_ms"]),
        (changed(["noises", "street", "kind"], "rain"), ["noises.street"]),
        (changed(["noises", "babble", "talkers"], ["af_nova"]), ["noises.babble.babble.talkers"]),
        (changed(["noises", "babble", "talkers", 0], "af_heart"), ["noises.babble: af_heart is a caller"]),
        (changed(["conditions", 0, "noise"], "rain"), ["noise 'rain'; legal: babble"]),
        (changed(["conditions", 1], {"noise": "babble", "snr_db": 20}), ["'babble-20db' stands twice"]),
        (changed(["conditions", 1], {}), ["'clean' is always there"]),
        (changed(["accents", "spanish-l1", "rules", 0, "from"], "("), ["not a regular expression"]),
        (changed(["accents", "spanish-l1", "rules", 0, "to"], "\\2"), ["does not fit"]),
        (changed(["accents", "spanish-l1", "source"], ""), ["accents.spanish-l1", "source: missing"]),
        (
            changed(["shipped", 0, "conditions"], ["babble-7db"]),
            ["shipped.0: condition 'babble-7db'"],
        ),
        (changed(["shipped", 0, "sentences"], ["hello"]), ["shipped.0: sentence 'hello'"]),
        (changed(["shipped", 0, "rest"], True), ["one of sentences, domains, rest"]),
    ],
)
def test_wrong_recipe_is_refused_with_its_place(tmp_path, whole, change, said):
    change(whole)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    with pytest.raises(ScenarioError) as refused:
        load_recipe(path)
    assert all(part in str(refused.value) for part in [str(path), *said])


@pytest.fixture
def whole():
    """The shipped recipe as a document, its blocks in one."""
    document = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    for name in ("accents", "sentences"):
        document[name] = yaml.safe_load((RECIPE.parent / document[name]).read_text(encoding="utf-8"))
    return document


def test_a_block_in_a_file_that_is_not_there_is_named(tmp_path, whole):
    whole["accents"] = "elsewhere.yaml"
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"elsewhere\.yaml: cannot read"):
        load_recipe(tmp_path / "recipe.yaml")


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


def test_the_fetched_model_is_found_by_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = tmp_path / "callquake" / "models" / "kokoro-82m-int8" / "kokoro.onnx"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"model")
    assert find_model(None) == model


def test_build_of_a_wrong_recipe_exits_104(tmp_path, capsys):
    assert main(["build", "--recipe", str(tmp_path / "none.yaml"), "--out", str(tmp_path)]) == ExitCode.BAD_SCENARIO
    assert "cannot read the recipe" in capsys.readouterr().err


def test_list_prints_the_ids_and_builds_nothing(capsys):
    assert main(["build", "--list", "--only", "british-cancel*"]) == ExitCode.PASSED
    printed = capsys.readouterr().out.split()
    assert printed[0] == "british-cancel"
    assert all(name.startswith("british-cancel-") for name in printed[1:])
    assert main(["build", "--only", "british-cancel*"]) == ExitCode.BAD_SCENARIO
