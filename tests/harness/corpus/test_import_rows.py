"""Tables and texts of other people: what is read, what is refused, and that no bytes at all do more harm than that."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.corpus.entry import _is_name
from harness.corpus.importing.fields import accent_of, columns_of
from harness.corpus.importing.items import Item, Refusal, UnusableError
from harness.corpus.importing.layouts import LAYOUTS
from harness.corpus.importing.names import with_ids
from harness.corpus.importing.options import SourceOptions
from harness.corpus.importing.places import find_audio
from harness.corpus.importing.rows import read_table
from harness.corpus.importing.texts import decode_text, name_of, one_line, sentence_name, shown, slug
from harness.model.errors import ScenarioError

pytestmark = pytest.mark.unit


def table(tmp_path, content, name="t.csv", **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, **options)


def values(found):
    return [row.values or str(row.problem) for row in found.rows]


def test_csv_with_quotes_and_line_breaks(tmp_path):
    found = table(tmp_path, 'path,text\n"a, b.wav","He said ""no"",\nthen left"\nb.wav,plain\n\n')
    assert found.header == ["path", "text"]
    assert values(found) == [
        {"path": "a, b.wav", "text": 'He said "no",\nthen left\n'.rstrip("\n")},
        {"path": "b.wav", "text": "plain"},
    ]
    assert [row.line for row in found.rows] == [2, 4]


def test_quote_that_is_never_closed_costs_its_row_alone(tmp_path):
    found = table(tmp_path, 'path,text\na.wav,"oops\n' + "".join(f"{n}.wav,words\n" for n in range(20)))
    assert str(found.rows[0].problem) == "wrong row: a quote is opened and not closed"
    assert values(found)[1:] == [{"path": f"{n}.wav", "text": "words"} for n in range(20)]


def test_stray_quotes_in_tab_separated_files_are_letters(tmp_path):
    found = table(tmp_path, 'path\ttext\na.wav\t"Quite" so\nb.wav\t"\nc.wav\t"he said ""no"""\n', "t.tsv")
    assert [row.values["text"] for row in found.rows] == ['"Quite" so', '"', 'he said "no"']


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_byte_order_marks(tmp_path, ending, mark):
    found = table(tmp_path, mark + ending.join(["path;text", "a.wav;one", "b.wav;two"]).encode())
    assert values(found) == [{"path": "a.wav", "text": "one"}, {"path": "b.wav", "text": "two"}]


def test_utf_16_is_known_by_its_mark(tmp_path):
    assert values(table(tmp_path, "path,text\na.wav,é\n".encode("utf-16"))) == [{"path": "a.wav", "text": "é"}]


def test_wrong_byte_costs_its_line(tmp_path):
    found = table(tmp_path, b"path\ttext\na.wav\tcaf\xe9\nb.wav\tgood\n")
    assert values(found) == [
        "row cannot be read: byte 0xe9 is not utf-8; --encoding names another",
        {"path": "b.wav", "text": "good"},
    ]
    assert values(table(tmp_path, b"path\ttext\na.wav\tcaf\xe9\n", encoding="latin-1"))[0]["text"] == "café"


def test_too_many_cells_are_refused_and_too_few_are_empty(tmp_path):
    found = table(tmp_path, "path,text,accent\na.wav,one, two,three,four\nb.wav,x\nc.wav,x,y,,\n")
    assert str(found.rows[0].problem).startswith("wrong row: 5 cells under 3 columns; a text that holds the delimiter")
    assert values(found)[1:] == [{"path": "b.wav", "text": "x"}, {"path": "c.wav", "text": "x", "accent": "y"}]


def test_columns_are_known_by_many_names():
    header = ["Audio File", "SENTENCE", "Client-ID", "accents", "License", "extra"]
    found = {
        "path": "Audio File",
        "transcript": "SENTENCE",
        "speaker": "Client-ID",
        "accent": "accents",
        "licence": "License",
    }
    assert columns_of(header, {}) == found
    assert columns_of(header, {"extra": "transcript"})["transcript"] == "extra"
    assert "transcript" not in columns_of(["path", "text"], {"text": "id"})


@pytest.mark.parametrize(
    ("text", "name", "tags"),
    [
        ("american (Alabama)", "american", ("accent-detail:american (Alabama)",)),
        ("England English", "england-english", ()),
        ("England English,Cockney|x", "england-english", ("accent-detail:England English,Cockney|x",)),
        ("Español", "espanol", ()),
        ("?", "unknown", ()),
        ("日本語", "unknown", ("accent-detail:日本語",)),
        ("", "unknown", ()),
    ],
)
def test_accents_become_names(text, name, tags):
    assert accent_of(text) == (name, tags)


def test_texts_on_one_line():
    assert one_line(" a\tb\n\x00c\u2028d\u200b ") == "a b c d"
    assert shown("a\nb\x1b[0m\udce9é") == "a\\nb\\x1b[0m\\udce9é"
    assert sentence_name("Hello, World!") == sentence_name("hello world") != sentence_name("hello word")
    with pytest.raises(UnusableError, match="byte 0xe9 at 3 is not utf-8"):
        decode_text("café".encode("latin-1"))


def item(name, label=None):
    return Item(name=name, file=ROOT / name, transcript="x", label=label or name)


ROOT = Path("/source")


def test_ids_are_names_and_no_two_alike():
    given_items = [
        item("a b.wav"),
        item("A-b.wav"),
        item("日本.wav"),
        item("日語.wav"),
        item("x.wav", "u1"),
        item("y.wav", "u1"),
    ]
    taken = {}
    made = list(with_ids(given_items, "mine-", taken))
    ids = [clip_id for clip_id, found in made if isinstance(found, Item)]
    assert ids[0] == "mine-a-b"
    assert ids[1].startswith("mine-a-b-")
    assert len(set(ids)) == 5
    assert all(map(_is_name, ids))
    assert made[5][1] == Refusal("y.wav", "duplicate id", "'u1' is that of x.wav too")
    assert list(with_ids(given_items, "mine-", {})) == made


def test_id_of_another_source_is_told_apart_or_refused():
    taken = {"a": "a.wav of other", "b": "b.wav of other", f"b-{name_of('b.wav')[-8:]}": "x"}
    ((clip_id, _),) = with_ids([item("a.wav")], "", taken)
    assert clip_id.startswith("a-")


@settings(max_examples=50)
@given(st.text(max_size=300))
def test_any_text_makes_a_name(text):
    assert _is_name(name_of(text))
    assert len(name_of(text)) <= 100
    assert slug(slug(text)) == slug(text)
    assert shown(text).isprintable()
    assert "\n" not in one_line(text)


LINES = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from(
            [b'a.wav\t"x', b'"', b"a.wav,b", b"u1 a.wav", b"u1 rec 0 1", b"u1 cat x |", b'{"path": "a.wav"', b"a|b|c"]
        ),
    ),
    max_size=12,
)
NAMES = {
    "kaldi": ["wav.scp", "text", "segments", "utt2spk"],
    "common-voice": ["validated.tsv"],
    "librispeech": ["1-2.trans.txt", "SPEAKERS.TXT"],
    "ljspeech": ["metadata.csv"],
    "table": ["manifest.tsv", "manifest.csv", "manifest.jsonl"],
    "folder": ["transcripts.csv", "transcripts.txt", "a.txt", "metadata.tsv"],
    "dual-channel": ["a.txt"],
}
HEADERS = {
    "common-voice": b"client_id\tpath\tsentence",
    "table": b"path,transcript,native,start,end",
    "folder": b"path,text",
}


@pytest.mark.parametrize("name", [".", "./", "calls", "n" * 300, "n" * 5000])
def test_a_row_that_names_no_file_is_refused_by_name(tmp_path, name):
    (tmp_path / "calls").mkdir()
    (tmp_path / "t.csv").write_text(f"path,transcript\n{name},words\n")
    read = LAYOUTS["table"].read
    listing = read(SourceOptions(source=tmp_path / "t.csv", audio_root=tmp_path, out=tmp_path / "out", licence="x"))
    assert listing.items == []
    (refusal,) = listing.refusals
    is_folder = len(name) < 300
    assert refusal.kind == ("wrong row" if is_folder else "file missing")
    assert "is a folder, not a recording" in refusal.detail or not is_folder


def test_a_recording_beside_a_folder_of_its_name_is_found(tmp_path):
    (tmp_path / "calls").mkdir()
    (tmp_path / "calls.wav").touch()
    assert find_audio(tmp_path, "calls") == tmp_path / "calls.wav"


@pytest.mark.parametrize("layout", sorted(NAMES))
@settings(max_examples=20)
@given(data=st.data())
def test_no_bytes_stop_a_reader(tmp_path_factory, layout, data):
    """Whatever its files hold, a source is read to a listing or refused whole, and every message is one line."""
    folder = tmp_path_factory.mktemp("fuzz", numbered=True)
    (folder / "a.wav").touch()
    for name in NAMES[layout]:
        lines = data.draw(LINES)
        if data.draw(st.booleans()):
            lines = [HEADERS.get(layout, b""), *lines]
        (folder / name).write_bytes(data.draw(st.sampled_from([b"\n", b"\r\n"])).join(lines))
    try:
        listing = LAYOUTS[layout].read(SourceOptions(source=folder, audio_root=folder, out=folder / "out", licence="x"))
    except ScenarioError as error:
        # Names the place; what it says of it is held elsewhere.
        note = str(error)
        assert note.startswith(str(folder))
        return
    for refusal in listing.refusals:
        assert refusal.name.isprintable()
        assert len(refusal.reason.splitlines()) == 1
    assert {found.file.name for found in listing.items} <= {"a.wav"}


@settings(max_examples=50)
@given(st.binary(max_size=200))
@example(b"path,text\n\x00,\x00\n")
@example(b'{"path": NaN}\n')
def test_any_bytes_are_a_table_or_refused(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("bytes", numbered=True)
    for name in ("t.csv", "t.tsv", "t.jsonl"):
        try:
            found = table(folder, content, name)
        except UnusableError:
            continue
        assert all(row.problem is not None or set(row.values) <= set(found.header) for row in found.rows)
