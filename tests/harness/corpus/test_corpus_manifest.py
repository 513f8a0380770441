"""What the loader refuses, and that its refusal names manifest, entry, field and what is legal."""

import json
import shutil
import subprocess
import sys

import pytest

from harness.corpus.manifest import default_corpus_dir, load_corpus, write_manifest
from harness.model.errors import ScenarioError

pytestmark = pytest.mark.unit

CLEAN, NOISY = 0, 1


@pytest.fixture
def small(tmp_path):
    """A corpus of one clean clip and one noisy one, cut out of the shipped corpus; `write(document)` stores it."""
    source = json.loads((default_corpus_dir() / "manifest.json").read_text())
    clean = source["utterances"][0]
    noisy = next(u for u in source["utterances"] if u["base_id"] == clean["id"] and u["noise"] != "clean")
    for entry in (clean, noisy):
        target = tmp_path / entry["path"]
        target.parent.mkdir(exist_ok=True)
        shutil.copy(default_corpus_dir() / entry["path"], target)
    document = {"schema_version": 1, "utterances": [clean, noisy]}

    def write(changed=document):
        (tmp_path / "manifest.json").write_text(json.dumps(changed))
        return tmp_path

    write.document = document
    return write


def test_shipped_corpus_loads_with_the_promised_variety():
    corpus = load_corpus()
    clean = corpus.select(condition=["clean"])
    assert len({u.sentence_id for u in clean}) >= 120
    assert sum(u.vocabulary == "digits" for u in clean) >= 50
    accents = {u.accent: u.native for u in clean}
    assert len(accents) == 9
    assert sum(accents.values()) == 2
    assert all(sum(u.accent == accent for u in clean) >= 20 for accent in accents)
    # Paired: the same sentences in every accent and condition.
    for condition in ("babble-10db", "babble-5db", "street-5db", "babble-5db-phone", "street-5db-phone", "room-hall"):
        said = [{u.sentence_id for u in corpus.select(condition=[condition], accent=[accent])} for accent in accents]
        assert len(set.intersection(*said)) >= 10
    assert {"clipped", "low-level", "phone-gsm", "opus-6k", "hum-5db", "car-5db-phone-gsm"} <= {
        u.condition for u in corpus.utterances.values()
    }
    long = [u.duration_ms for u in clean if u.domain == "long"]
    assert all(35_000 <= ms <= 50_500 for ms in long)
    assert len(long) == 4
    assert all(len(u.pauses_ms) >= 1 for u in corpus.select(domain=["pause", "long"]))
    assert all(u.speech_start_ms <= 300 and u.duration_ms - u.speech_end_ms <= 300 for u in clean)


def test_selection_combines_filters_and_keeps_manifest_order():
    corpus = load_corpus()
    chosen = corpus.select(native=[False], vocabulary=["digits", "names"], noise=["clean"], snr_db=[None])
    assert chosen
    assert all(not u.native and u.vocabulary != "general" and u.snr_db is None for u in chosen)
    order = list(corpus.utterances)
    assert [order.index(u.id) for u in chosen] == sorted(order.index(u.id) for u in chosen)
    assert corpus.select(ids=[chosen[0].id]) == [chosen[0]]


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"accent": ["scouse"]}, ["'scouse'", "accent", "british"]),
        ({"noise": ["clean", "rain"]}, ["'rain'", "noise", "babble"]),
        ({"snr_db": [3.5]}, ["3.5", "snr_db", "null"]),
        ({"native": []}, ["an empty list", "native", "true"]),
        ({"ids": ["nobody"]}, ["'nobody'", "ids"]),
        ({"noise": ["clean"], "snr_db": [5.0]}, ["no clip has", "clean", "5.0"]),
    ],
)
def test_selecting_what_is_not_there_lists_what_is(filters, said):
    with pytest.raises(ScenarioError) as refused:
        load_corpus().select(**filters)
    assert all(part in str(refused.value) for part in ["manifest.json", *said])


@pytest.mark.parametrize(
    ("entry", "field", "value", "legal"),
    [
        (CLEAN, "speech_end_ms", 999999, "at most duration_ms"),
        (CLEAN, "speech_start_ms", -1, "0 or more"),
        (CLEAN, "speech_end_ms", 0, "above speech_start_ms"),
        (CLEAN, "duration_ms", True, "a number of milliseconds"),
        (CLEAN, "native", "yes", "true, false, or null"),
        (CLEAN, "sample_rate", 44100, "48000"),
        (CLEAN, "vocabulary", "legalese", "general, digits, names"),
        (CLEAN, "snr_db", 10, "null where noise is 'clean'"),
        (NOISY, "snr_db", None, "a number elsewhere"),
        (NOISY, "base_id", "nobody", "not the id of a clean entry"),
        (NOISY, "speech_end_ms", 1000.0, "differs from its clean entry"),
        (CLEAN, "accent", "British English", "lower-case"),
        (CLEAN, "path", "../elsewhere.opus", "inside the corpus folder"),
        (CLEAN, "sha256", "abc", "64 lower-case hexadecimal"),
        (CLEAN, "transcript", " ", "not empty"),
        (CLEAN, "tags", "synthetic", "a list of texts"),
        (CLEAN, "loudness", 3, "unknown field"),
        (NOISY, "duration_ms", 5880, "shorter than its clean entry"),
        (NOISY, "channel", "G.711", "lower-case"),
        (NOISY, "domain", "names", "differs from its clean entry"),
        (CLEAN, "entities", [""], "a list of texts"),
        (CLEAN, "pauses_ms", [[900, 300]], "start under end"),
        (CLEAN, "pauses_ms", [[0.0, 300.0]], "inside the speech"),
        (CLEAN, "pauses_ms", [[500, 1300], [1200, 1400]], "without overlap"),
    ],
)
def test_wrong_field_is_named_with_what_is_legal(small, entry, field, value, legal):
    small.document["utterances"][entry][field] = value
    with pytest.raises(ScenarioError) as refused:
        load_corpus(small())
    said = str(refused.value)
    assert "manifest.json" in said
    assert small.document["utterances"][entry]["id"] in said
    assert f".{field}:" in said
    assert legal in said


def test_a_clip_in_a_room_is_no_base(small):
    small.document["utterances"][CLEAN]["room"] = "hall"
    with pytest.raises(ScenarioError, match=r"\.base_id: .*another entry's id elsewhere \(here 'room-hall'\)"):
        load_corpus(small())


def test_missing_field_is_named(small):
    del small.document["utterances"][CLEAN]["licence"]
    with pytest.raises(ScenarioError, match=r"utterances\[0\].*\.licence: missing"):
        load_corpus(small())


def test_id_may_not_stand_twice(small):
    small.document["utterances"].append(small.document["utterances"][CLEAN])
    with pytest.raises(ScenarioError, match=r"utterances\[2\]\.id: .* stands twice"):
        load_corpus(small())


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "schema_version"),
        ({"schema_version": 3}, "reads 1 and 2"),
        ({"schema_version": 1, "utterances": []}, "at least"),
    ],
)
def test_document_of_another_shape_is_refused(small, document, said):
    with pytest.raises(ScenarioError, match=said):
        load_corpus(small(document))


def test_version_1_has_the_defaults_of_what_it_does_not_know(small):
    for entry in small.document["utterances"]:
        for name in ("room", "channel", "distortion", "domain", "sentence_id", "entities", "pauses_ms"):
            entry.pop(name, None)
    noisy = load_corpus(small()).utterances[small.document["utterances"][NOISY]["id"]]
    assert (noisy.room, noisy.channel, noisy.distortion, noisy.domain) == ("none", "wideband", "none", "general")
    assert (noisy.sentence_id, noisy.entities, noisy.pauses_ms) == (noisy.base_id, (), ())
    assert noisy.condition == f"{noisy.noise}-{noisy.snr_db:g}db"


def test_what_is_written_is_what_is_read(small, tmp_path):
    entries = small.document["utterances"]
    for entry in entries:
        entry |= {"domain": "pause", "sentence_id": "well", "entities": ["4592"], "pauses_ms": [[500, 1250.5]]}
    entries[NOISY] |= {"room": "hall", "channel": "phone-gsm", "distortion": "clipped"}
    read = load_corpus(small())
    before = (tmp_path / "manifest.json").read_bytes()
    write_manifest(tmp_path, read.utterances.values())
    again = load_corpus(tmp_path)
    assert dict(again.utterances) == dict(read.utterances)
    assert again.utterances[entries[CLEAN]["id"]].pauses_ms == ((500, 1250.5),)
    assert json.loads(before)["utterances"][NOISY] == again.utterances[entries[NOISY]["id"]].to_json()
    assert again.select(domain=["pause"], channel=["phone-gsm"], condition=None)[0].room == "hall"


def test_selecting_by_an_unknown_field_lists_the_fields():
    with pytest.raises(ScenarioError, match=r"'loudness'.*accent.*condition.*ids"):
        load_corpus().select(loudness=[1])


def test_absent_manifest_says_where_to_name_one(tmp_path):
    with pytest.raises(ScenarioError, match="CALLQUAKE_CORPUS"):
        load_corpus(tmp_path)


def test_changed_clip_is_refused(small):
    folder = small()
    clip = folder / small.document["utterances"][NOISY]["path"]
    content = bytearray(clip.read_bytes())
    content[len(content) // 2] ^= 1
    clip.write_bytes(content)
    with pytest.raises(ScenarioError) as refused:
        load_corpus(folder)
    assert small.document["utterances"][NOISY]["id"] in str(refused.value)
    assert ".sha256" in str(refused.value)


def test_missing_clip_is_refused(small):
    folder = small()
    (folder / small.document["utterances"][CLEAN]["path"]).unlink()
    with pytest.raises(ScenarioError, match="cannot read"):
        load_corpus(folder)


def test_loading_needs_no_numpy():
    code = "import sys; sys.modules['numpy'] = None; from harness.corpus.manifest import load_corpus; load_corpus()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_environment_names_another_corpus(small, monkeypatch):
    monkeypatch.setenv("CALLQUAKE_CORPUS", str(small()))
    assert len(load_corpus().utterances) == 2
