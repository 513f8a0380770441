"""A build is the recipe and nothing else: same bytes twice, nothing spoilt when cut short, nothing made twice."""

import json
from pathlib import Path

import numpy as np
import pytest
from scripted_voice import RATE, ScriptedVoice, small_recipe

from harness.corpus.audio import read_pcm
from harness.corpus.build import Job, build_corpus, refuse_to_drop
from harness.corpus.choice import choose
from harness.corpus.edges import find_edges
from harness.corpus.manifest import load_corpus
from harness.model.errors import ScenarioError

pytestmark = pytest.mark.unit


def build(recipe, out, cache, voice=None, only=(), said=None):
    job = Job(recipe, Path(), cache)
    lines = [] if said is None else said
    return build_corpus(job, choose(recipe, "shipped", only), out, voice or ScriptedVoice(), say=lines.append)


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The small recipe, built once: (folder, cache)."""
    base = tmp_path_factory.mktemp("built")
    build(small_recipe(), base / "out", base / "cache")
    return base / "out", base / "cache"


def test_a_second_build_from_nothing_gives_the_same_bytes(built, tmp_path):
    build(small_recipe(), tmp_path / "out", tmp_path / "cache")
    assert content(tmp_path / "out") == content(built[0])


def test_a_build_of_what_is_made_makes_nothing(built, tmp_path):
    said = []
    voice = ScriptedVoice(fails_at=0)
    build(small_recipe(), tmp_path / "out", built[1], voice, said=said)
    assert voice.said == []
    assert content(tmp_path / "out") == content(built[0])
    assert all(" 0 new" in line for line in said if line.startswith("["))


def test_the_manifest_says_what_was_made(built):
    corpus = load_corpus(built[0])
    recipe = small_recipe()
    assert list(corpus.utterances) == [i for family in choose(recipe) for i in family.clip_ids]
    two = corpus.utterances["other-two"]
    assert (two.domain, two.sentence_id, two.entities, two.native) == ("numbers", "two", ("Four two",), False)
    assert "synthetic-accent" in two.tags
    assert "synthetic-accent" not in corpus.utterances["plain-two"].tags
    phone = corpus.utterances["plain-one-phone-g711-ulaw"]
    assert (phone.channel, phone.noise, phone.base_id) == ("phone-g711-ulaw", "clean", "plain-one")
    quiet = [clip for clip in corpus.utterances.values() if clip.distortion == "low-level"]
    assert quiet
    # The phone band takes the lowest harmonics out.
    assert all(-52 < clip.speech_level_dbfs < -44 for clip in quiet)
    loud = [clip for clip in corpus.utterances.values() if clip.is_clean]
    assert all(clip.speech_level_dbfs == pytest.approx(-26, abs=0.3) for clip in loud)
    assert all(clip.duration_ms % 20 == 0 for clip in corpus.utterances.values())


def test_silences_lie_where_the_manifest_says(built):
    clip = load_corpus(built[0]).utterances["plain-wait"]
    assert [end - start for start, end in clip.pauses_ms] == [900, 300]
    pcm = read_pcm(clip).astype(float)
    for start, end in clip.pauses_ms:
        inside = pcm[round((start + 15) * 48) : round((end - 15) * 48)]
        assert np.sqrt(np.mean(inside**2)) < 30
        for edge in (start - 25, end + 5):
            assert np.sqrt(np.mean(pcm[round(edge * 48) : round((edge + 20) * 48)] ** 2)) > 500
    edges = find_edges(pcm / 32768, RATE)
    assert (edges.start_ms, edges.end_ms) == (clip.speech_start_ms, clip.speech_end_ms)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ScenarioError("no")])
def test_a_build_cut_short_changes_nothing_and_goes_on_from_there(built, tmp_path, error):
    out = tmp_path / "out"
    changed = small_recipe(seed=6)
    build(small_recipe(), out, built[1])
    before = content(out)
    voice = ScriptedVoice(fails_at=4, error=error)
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        build(changed, out, tmp_path / "cache", voice)
    assert content(out) == before
    rest = ScriptedVoice()
    build(changed, out, tmp_path / "cache", rest)
    assert not set(rest.said) & set(voice.said[:3])
    assert content(out) != before
    load_corpus(out)


def test_an_unfinished_clip_of_the_cache_is_made_again(built, tmp_path):
    build(small_recipe(), tmp_path / "out", tmp_path / "cache")
    notes = next((tmp_path / "cache" / "clips").rglob("*.json"))
    notes.with_suffix(".opus").write_bytes(b"half a file")
    notes.unlink()
    build(small_recipe(), tmp_path / "out", tmp_path / "cache")
    assert content(tmp_path / "out") == content(built[0])


def test_another_sentence_changes_no_other_clip(built, tmp_path):
    recipe = small_recipe()
    more = {"id": "maybe", "domain": "yes-no", "text": "Maybe some day"}
    longer = small_recipe(sentences=[*(s.model_dump() for s in recipe.sentences), more])
    build(longer, tmp_path / "out", built[1])
    there, now = content(built[0]), content(tmp_path / "out")
    assert set(now) > set(there)
    assert [name for name in there if there[name] != now[name]] == ["build.json", "manifest.json"]


def test_the_seed_moves_the_noise_and_not_the_voice(built, tmp_path):
    build(small_recipe(seed=6), tmp_path / "out", built[1])
    then, now = load_corpus(built[0]).utterances, load_corpus(tmp_path / "out").utterances
    for name, clip in then.items():
        assert (clip.sha256 == now[name].sha256) == (clip.noise == "clean")


def test_only_takes_the_clips_asked_for_and_their_clean_ones(built, tmp_path):
    build(small_recipe(), tmp_path / "out", built[1], only=["*-two-street-5db", "plain-wait"])
    assert list(load_corpus(tmp_path / "out").utterances) == [
        *("plain-two", "plain-two-street-5db", "other-two", "other-two-street-5db", "plain-wait"),
    ]
    with pytest.raises(ScenarioError, match="--only plain-three: matches no clip"):
        choose(small_recipe(), "shipped", ["plain-three"])


def test_a_part_never_replaces_the_whole(built, tmp_path):
    families = choose(small_recipe(), "shipped", ["plain-one"])
    refuse_to_drop(tmp_path, families)
    with pytest.raises(ScenarioError, match=r"would drop \(other-.*name another folder"):
        refuse_to_drop(built[0], families)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(ScenarioError, match="not a manifest"):
        refuse_to_drop(tmp_path, families)


def test_a_folder_that_is_no_corpus_is_left_alone(built, tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "mine.wav").write_bytes(b"mine")
    with pytest.raises(ScenarioError, match=r"holds a folder clips but no manifest\.json"):
        build(small_recipe(), tmp_path, built[1])
    assert content(tmp_path) == {"clips/mine.wav": b"mine"}


def test_what_goes_wrong_at_the_very_end_puts_the_old_corpus_back(built, tmp_path, monkeypatch):
    out = tmp_path / "out"
    build(small_recipe(), out, built[1])
    before = content(out)
    rename = Path.rename

    def fails(self, target):
        if self.name == "manifest.json" and "new" in self.parts:
            raise OSError("disk full")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="disk full"):
        build(small_recipe(seed=6), out, built[1])
    assert content(out) == before


def test_a_file_noise_brings_its_licence(tmp_path, built):
    from harness.corpus.audio import write_opus

    write_opus(tmp_path / "hall.opus", np.random.default_rng(1).normal(0, 900, RATE * 6).astype(np.int16), 32000)
    noise = {"kind": "file", "path": "hall.opus", "licence": "CC-BY-4.0", "bed_ms": 5000}
    recipe = small_recipe(noises={"street": noise})
    build_corpus(Job(recipe, tmp_path, built[1]), choose(recipe), tmp_path / "out", ScriptedVoice(), say=lambda _: None)
    clips = load_corpus(tmp_path / "out").utterances
    assert clips["plain-one-street-5db"].licence == "Apache-2.0 AND CC-BY-4.0"
    assert clips["plain-one"].licence == "Apache-2.0"


def test_manifest_bytes_are_sorted_as_the_recipe_is(built):
    document = json.loads((built[0] / "manifest.json").read_text())
    assert document["schema_version"] == 2
    assert [u["id"] for u in document["utterances"]][:3] == [
        "plain-one",
        "plain-one-street-5db",
        "plain-one-phone-g711-ulaw",
    ]
