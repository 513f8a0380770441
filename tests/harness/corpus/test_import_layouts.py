"""Each layout is found and read: which files, which words, which facts; and what is wrong in one costs one line."""

import os

import pytest

from harness.corpus.importing.layouts import LAYOUTS, find_layout
from harness.corpus.importing.options import SourceOptions
from harness.model.errors import ScenarioError

pytestmark = pytest.mark.unit


@pytest.fixture
def source(tmp_path):
    """A function that writes texts into a source folder by name; of recordings a reader needs no more than the name."""

    def write(files):
        for name, content in files.items():
            path = tmp_path / "source" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / "source"

    return write


def read(folder, layout="auto", **options):
    found, why = find_layout(folder, layout)
    root = folder if folder.is_dir() else folder.parent
    asked = {"audio_root": root, "out": root / "out", "licence": "mine"} | options
    listing = found.read(SourceOptions(source=folder, **asked))
    return found.name, why, listing


def by_name(listing):
    return {item.name: item for item in listing.items}


def refused(listing):
    return {refusal.name: refusal.reason for refusal in listing.refusals}


def test_folder_with_texts_beside_recordings(source):
    folder = source(
        {
            "a.wav": "", "a.txt": "first  words\n", "sub/b.flac": "", "sub/b.lab": "second",
            "c.mp3": "", "c.mp3.txt": "third",
            "d.opus": "",
            "notes.txt": "no recording of this name", "out/clips/x.flac": "ours",
        }
    )  # fmt: skip
    name, why, listing = read(folder)
    assert (name, why) == ("folder", "a folder, and no other layout was recognised in it")
    words = {item.name: item.transcript for item in listing.items}
    assert words == {"a.wav": "first words", "sub/b.flac": "second", "c.mp3": "third", "d.opus": None}
    assert {i.name: i.kind for i in listing.ignored} == {
        "a.txt": "transcript", "sub/b.lab": "transcript", "c.mp3.txt": "transcript", "notes.txt": "no recording",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("transcripts.csv", 'file,text\na.wav,"one, two"\nsub/b,three\n'),
        ("transcripts.tsv", "path\tsentence\na.wav\tone, two\nsub/b.wav\tthree\n"),
        ("transcripts.txt", "a one, two\nsub/b.wav three\n"),
        ("text.txt", "a.wav|one, two\nsub/b|three\n"),
        ("metadata.csv", 'a.wav,"one, two"\nsub/b.wav,three\n'),
        ("transcripts.jsonl", '{"path": "a.wav", "text": "one, two"}\n{"path": "sub/b.wav", "text": "three"}\n'),
    ],
)
def test_folder_with_one_list(source, name, content):
    folder = source({"a.wav": "", "sub/b.wav": "", name: content})
    listing = read(folder, "folder")[2]
    assert {item.name: item.transcript for item in listing.items} == {"a.wav": "one, two", "sub/b.wav": "three"}
    assert not listing.refusals


def test_list_may_say_more_than_words(source):
    folder = source(
        {"a.wav": "", "transcripts.csv": "file,text,accent,native,speaker\na.wav,hello,Scottish English,yes,Ann\n"}
    )
    (item,) = read(folder, "folder")[2].items
    assert (item.accent, item.native, item.speaker) == ("scottish-english", True, "Ann")


def test_folder_names_tell_accents_or_speakers(source):
    folder = source({"Indian English/a.wav": "", "Scottish/b.wav": ""})
    accents = {item.name: item.accent for item in read(folder, folder_names="accent")[2].items}
    assert accents == {"Indian English/a.wav": "indian-english", "Scottish/b.wav": "scottish"}
    speakers = [item.speaker for item in read(folder, folder_names="speaker")[2].items]
    assert speakers == ["Indian English", "Scottish"]


def test_folder_refuses_by_name(source):
    folder = source(
        {
            "a.wav": "", "a.flac": "", "a.txt": "words", "b.wav": "", "b.txt": "caf\xe9".encode("latin-1"),
            "transcripts.tsv": "path\ttext\nmissing.wav\twords\n../out.wav\twords\n",
        }
    )  # fmt: skip
    (folder / "c.wav").symlink_to(folder.parent / "elsewhere.wav")
    (folder / "link").symlink_to(folder)
    (folder / "dir.wav").mkdir()
    listing = read(folder, "folder")[2]
    assert by_name(listing).keys() == {"a.flac"}
    found = refused(listing)
    assert found.keys() == {"a.wav", "b.wav", "transcripts.tsv line 2", "transcripts.tsv line 3", "c.wav", "dir.wav"}
    assert found["a.wav"] == "named twice: a.flac lies beside it; remove one"
    assert found["b.wav"] == "transcript cannot be read: b.txt: byte 0xe9 at 3 is not utf-8; --encoding names another"
    assert found["transcripts.tsv line 2"].startswith("file missing: ")
    assert found["transcripts.tsv line 3"].startswith("path outside the source: ")
    assert found["c.wav"].startswith("path outside the source: ")
    assert found["dir.wav"] == "no file: a folder named like a recording"
    assert ("link", "link to a folder") in {(i.name, i.kind) for i in listing.ignored}


def test_other_encodings(source):
    folder = source(
        {"a.wav": "", "a.txt": "caf\xe9".encode("latin-1"), "b.wav": "", "b.txt": "caf\xe9".encode("utf-16")}
    )
    assert {item.transcript for item in read(folder, encoding="latin-1")[2].items} == {"café"}


CV = "client_id\tpath\tsentence\tup_votes\tage\tgender\taccents\tlocale\n"


def test_common_voice(source):
    rows = (
        f'{"ab" * 64}\tcommon_voice_en_1.mp3\t"Well" she said.\t2\ttwenties\tfemale_feminine\t'
        "England English,Cockney\ten\n"
        "cd\tcommon_voice_en_2.mp3\tFour five.\t2\t\t\t\ten\n"
        "cd\tcommon_voice_en_3.mp3\tNot there.\t2\t\t\t\ten\n"
    )
    folder = source({"validated.tsv": CV + rows, "clips/common_voice_en_1.mp3": "", "clips/common_voice_en_2.mp3": ""})
    for place in (folder, folder / "validated.tsv"):
        name, why, listing = read(place)
        assert (name, why) == ("common-voice", "validated.tsv has the columns client_id, path and sentence")
        first, second = listing.items
        assert first.transcript == '"Well" she said.'
        assert (first.accent, first.speaker, first.native) == ("england-english", "cv-abababababababab", None)
        assert first.tags == ("gender:female-feminine", "age:twenties", "accent-detail:England English,Cockney")
        assert (second.accent, second.native, second.tags) == ("unknown", None, ())
        assert list(refused(listing)) == ["common_voice_en_3.mp3"]


def test_librispeech(source):
    folder = source(
        {
            "SPEAKERS.TXT": ";ID|SEX\n84   | F | dev-clean | 25 | Christie Nowak\n",
            "dev-clean/84/121123/84-121123.trans.txt": "84-121123-0000 GO DO YOU HEAR\n84-121123-0009 GONE\n",
            "dev-clean/84/121123/84-121123-0000.flac": "",
            "dev-clean/84/121123/84-121123-0001.flac": "",
        }
    )
    for place in (folder, folder / "dev-clean", folder / "dev-clean/84"):
        name, why, listing = read(place)
        assert name == "librispeech"
        assert why.endswith("84-121123.trans.txt")
        first, second = listing.items
        assert (first.label, first.transcript, first.speaker, first.tags) == (
            "84-121123-0000", "GO DO YOU HEAR", "84", ("gender:female",),
        )  # fmt: skip
        assert second.transcript is None
        assert list(refused(listing)) == ["84-121123-0009"]


KALDI = {
    "wav.scp": "rec1 audio/one.wav\nrec2 sox two.sph -t wav - |\nrec3 /etc/passwd\nrec4 gone.wav\nrec5 raw.ark:123\n"
    "rec1 twice.wav\n",
    "text": "u1 hello there\nu2 more words\nu3 no\nu9 of nothing\n",
    "utt2spk": "u1 ann\nu2 ann\n",
    "spk2gender": "ann f\n",
    "segments": "u1 rec1 0.50 2.25\nu2 rec2 0 1\nu3 rec3 0 1\nu4 rec4 0 1\nu5 rec9 0 1\nu6 rec1 3 2\nu7 rec1\n"
    "u8 rec1 4 -1\nu10 rec5 0 1\n",
    "audio/one.wav": "",
}


def test_kaldi(source):
    name, why, listing = read(source(KALDI))
    assert (name, why) == ("kaldi", "found wav.scp")
    first, last = listing.items
    assert (first.label, first.name, first.transcript, first.speaker) == (
        "u1",
        "u1 (audio/one.wav)",
        "hello there",
        "ann",
    )
    assert (first.start_s, first.end_s, first.tags) == (0.5, 2.25, ("gender:female",))
    assert (last.label, last.start_s, last.end_s, last.transcript) == ("u8", 4.0, None, None)
    found = refused(listing)
    assert found.keys() == {"wav.scp line 6", "u2", "u3", "u4", "u5", "u6", "u7", "u9", "u10"}
    assert found["u2"] == (
        "a command: wav.scp has 'sox two.sph -t wav - |'; commands are never run, convert it to a file"
    )
    assert found["u3"].startswith("path outside the source: ")
    assert found["u4"].startswith("file missing: ")
    assert found["u6"] == "wrong row: end 2 s is not after start 3 s"
    assert found["u10"].startswith("an archive: ")


def test_kaldi_without_segments_takes_whole_recordings(source):
    folder = source({"wav.scp": "u1 a.wav\nu2 b.wav\n", "text": "u1 words\n", "a.wav": "", "b.wav": ""})
    assert {i.label: (i.transcript, i.start_s) for i in read(folder)[2].items} == {
        "u1": ("words", None),
        "u2": (None, None),
    }


def test_kaldi_reads_elsewhere_where_it_is_told_to(source, tmp_path):
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio/a.wav").touch()
    folder = source({"wav.scp": f"u1 {tmp_path}/audio/a.wav\n", "text": "u1 words\n"})
    assert not read(folder)[2].items
    assert [item.file for item in read(folder, audio_root=tmp_path)[2].items] == [tmp_path / "audio/a.wav"]


def test_ljspeech(source):
    folder = source(
        {
            "metadata.csv": b"LJ1|In 1455.|In fourteen fifty-five.\nLJ2|Only this.\n"
            b"LJ3|gone|gone\nbroken\nLJ4|caf\xe9\nLJ2|again\n",
            "wavs/LJ1.wav": "", "wavs/LJ2.wav": "",
        }
    )  # fmt: skip
    name, why, listing = read(folder)
    assert (name, why) == ("ljspeech", "metadata.csv holds lines of ID|TEXT without a header")
    assert {i.label: i.transcript for i in listing.items} == {"LJ1": "In fourteen fifty-five.", "LJ2": "Only this."}
    assert refused(listing).keys() == {"LJ3", "broken", "metadata.csv line 5", "wavs/LJ2.wav"}


TABLE = (
    "path\tkind\taccent\tnative\tsex\ttranscript\tlicence\tspeaker\n"
    "a.wav\tspeech\tamerican (Alabama)\tyes\tf\tHello, you.\tCC-BY-4.0\tVCTK p308\n"
    'b.wav\tspeech\t\t?\t\t"He said ""no"""\t\t\n'
    "c.wav\tnoise\t\t\t\t\tCC0\t\n"
    "d.wav\tspeech\tx\tperhaps\t\twords\tCC0\t\n"
    "a.wav\tspeech\t\t\t\twords\tCC0\t\n"
    "\tspeech\t\t\t\twords\tCC0\t\n"
    "a.wav\tone\ttoo\tmany\tcells\tin\tthis\trow\there\n"
)


def test_table_with_named_columns(source):
    folder = source({"MANIFEST.tsv": TABLE, "a.wav": "", "b.wav": "", "c.wav": "", "d.wav": ""})
    name, why, listing = read(folder, licence=None)
    assert name == "table"
    assert why == "MANIFEST.tsv has the columns path, transcript, speaker, accent, native, sex, licence"
    items = by_name(listing)
    a, b, c = items["a.wav"], items["b.wav"], items["c.wav"]
    assert (a.accent, a.native, a.licence, a.speaker) == ("american", True, "CC-BY-4.0", "VCTK p308")
    assert a.tags == ("gender:f", "accent-detail:american (Alabama)")
    assert (b.accent, b.native, b.licence, b.transcript) == ("unknown", None, None, 'He said "no"')
    assert c.transcript is None
    assert listing.refusals[0].reason == (
        "wrong row: MANIFEST.tsv line 5: native is 'perhaps'; legal: yes, no, or empty where nobody knows"
    )
    assert [r.kind for r in listing.refusals] == ["wrong row", "named twice", "wrong row", "wrong row"]


def test_table_rows_may_be_chosen_and_columns_named(source):
    folder = source(
        {"list.csv": "wav,said,l1,set\na.wav,hello,hindi,test\nb.wav,no,hindi,train\n", "a.wav": "", "b.wav": ""}
    )
    columns = {"wav": "path", "said": "transcript", "l1": "accent"}
    listing = read(folder / "list.csv", "table", columns=columns, where={"set": frozenset({"test"})})[2]
    assert [(i.name, i.transcript, i.accent) for i in listing.items] == [("a.wav", "hello", "hindi")]
    assert [(i.name, i.kind) for i in listing.ignored] == [("b.wav", "left out by --where")]


def test_table_may_cut_recordings(source):
    folder = source(
        {
            "m.jsonl": '{"audio_filepath": "a.wav", "text": "x", "start": 1.5, "end": 2}\n{"text": 1}\n[]\n{\n',
            "a.wav": "",
        }
    )
    listing = read(folder / "m.jsonl")[2]
    assert [(i.start_s, i.end_s) for i in listing.items] == [(1.5, 2.0)]
    assert [r.name for r in listing.refusals] == ["m.jsonl line 2", "m.jsonl line 3", "m.jsonl line 4"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"no column for transcript; it has wav, said; --map COLUMN=transcript names it \(else it must be called"),
        ({"columns": {"speech": "transcript"}}, r"no column 'speech'; legal: wav, said"),
        ({"where": {"split": frozenset({"x"})}}, r"no column 'split'; legal: wav, said"),
    ],
)
def test_table_without_what_is_needed_is_refused_whole(source, options, message):
    folder = source({"list.csv": "wav,said\na.wav,x\n"})
    with pytest.raises(ScenarioError, match=message):
        read(folder / "list.csv", "table", **options)


def test_call_with_labels_and_with_lines(source):
    folder = source(
        {
            "a.wav": "", "a.txt": "5.0\t6.5\tsecond one\n1.0\t4.9\tfirst one\n",
            "b.wav": "", "b.txt": "one\n\n two  words \n",
            "c.wav": "", "d.wav": "", "d.txt": "1.0\t2.0\tgood\nno label\n",
        }
    )  # fmt: skip
    listing = read(folder, "dual-channel")[2]
    items = by_name(listing)
    first, second = items["a.wav at 1.0 s"], items["a.wav at 5.0 s"]
    assert (first.transcript, first.start_s, first.end_s) == ("first one", 0.85, pytest.approx(4.95))
    assert (second.transcript, second.start_s, second.end_s) == ("second one", pytest.approx(4.95), 6.65)
    assert items["b.wav"].transcript == "one\ntwo words"
    assert items["c.wav"].transcript is None
    assert refused(listing).keys() == {"d.wav"}


def test_facts_of_the_command_line_hold_where_the_source_says_nothing(source):
    folder = source({"t.csv": "path,text,accent,native\na.wav,x,,\nb.wav,x,irish,no\n", "a.wav": "", "b.wav": ""})
    facts = {
        "accent": "scottish",
        "native": True,
        "speaker": "Ann",
        "vocabulary": "digits",
        "domain": "orders",
        "tags": ("mine",),
    }
    a, b = read(folder / "t.csv", **facts)[2].items
    assert (a.accent, a.native, a.speaker, a.vocabulary, a.domain, a.tags) == (
        "scottish",
        True,
        "Ann",
        "digits",
        "orders",
        ("mine",),
    )
    assert (b.accent, b.native) == ("irish", False)


def test_nothing_recognised_is_refused_with_the_legal_formats(source):
    folder = source({"list.csv": "a,b\n1,2\n"})
    with pytest.raises(ScenarioError, match=f"no layout recognised; --format names one of {', '.join(LAYOUTS)}"):
        find_layout(folder / "list.csv")
    with pytest.raises(ScenarioError, match="not there; SOURCE is a folder, a table or a recording"):
        find_layout(folder / "nowhere")
    for name in ("kaldi", "common-voice", "ljspeech", "table"):
        with pytest.raises(ScenarioError, match=str(folder)):
            read(folder / "list.csv" if name == "kaldi" else folder, name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folder_that_may_not_be_read_is_a_line(source):
    folder = source({"a.wav": "", "locked/b.wav": ""})
    (folder / "locked").chmod(0)
    try:
        assert refused(read(folder)[2]) == {"locked": "cannot be read: folder: Permission denied"}
    finally:
        (folder / "locked").chmod(0o700)
