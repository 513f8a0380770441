"""A folder of recordings, their words in a text beside each (.txt, .lab) or in a list (transcripts.csv, .tsv, .txt)."""

from dataclasses import replace
from pathlib import Path

from harness.corpus.importing.fields import accent_of, columns_of, make_item
from harness.corpus.importing.items import UNKNOWN, Item, Listing, Refusal, UnusableError
from harness.corpus.importing.options import SourceOptions
from harness.corpus.importing.places import find_audio, is_audio, relative_name, resolve_inside, walk
from harness.corpus.importing.rows import read_table
from harness.corpus.importing.texts import decode_text, one_line
from harness.model.errors import ScenarioError

_LISTS = frozenset(("transcripts", "transcript", "transcriptions", "metadata", "text", "texts", "prompts", "sentences"))
_LIST_ENDINGS = (".csv", ".tsv", ".txt", ".jsonl")
_SIDE_ENDINGS = (".txt", ".lab", ".TXT", ".LAB")
Values = dict[str, str]


def find(source: Path) -> str | None:
    """Say why `source` is read as a folder: it is one, and nothing more particular."""
    return "a folder, and no other layout was recognised in it" if source.is_dir() else None


def read(options: SourceOptions) -> Listing:
    """List every file under the source: recordings with their words where there are any, the rest as ignored."""
    if not options.source.is_dir():
        raise ScenarioError(f"{options.source}: not a folder")
    listing = Listing()
    files = list(walk(options.source, options.out, listing))
    recordings = [file for file in files if is_audio(file)]
    beside = {file.with_suffix("") for file in recordings}
    lists = [file for file in files if _is_list(file, beside)]
    listed: dict[Path, Values] = {}
    for file in lists:
        listed |= _read_list(file, options, listing)
    used = set(lists)
    taken: dict[Path, Path] = {}
    for file in recordings:
        name = relative_name(options.source, file)
        twin = taken.setdefault(file.with_suffix(""), file)
        if twin is not file:
            listing.refusals.append(Refusal(name, "named twice", f"{twin.name} lies beside it; remove one"))
            continue
        try:
            if file.is_symlink():
                resolve_inside(options.audio_root, str(file))
            listing.items.append(_item(file, name, listed.get(file), used, options))
        except UnusableError as error:
            listing.refusals.append(error.refusal(name))
    for file in set(files) - set(recordings):
        reason = "transcript" if file in used else "no recording"
        listing.ignored.append(Refusal(relative_name(options.source, file), reason))
    listing.ignored.sort(key=lambda ignored: ignored.name)
    return listing


def _item(file: Path, name: str, values: Values | None, used: set[Path], options: SourceOptions) -> Item:
    if values is None:
        values = {"transcript": _side_text(file, used, options)}
    item = make_item({"id": str(Path(name).with_suffix(""))} | values, name=name, file=file, options=options)
    folder = file.parent.name
    if options.folder_names == "speaker" and item.speaker in (UNKNOWN, options.speaker):
        return replace(item, speaker=one_line(folder))
    if options.folder_names == "accent" and item.accent in (UNKNOWN, options.accent):
        accent, tags = accent_of(folder)
        return replace(item, accent=accent, tags=(*item.tags, *tags))
    return item


def _side_text(file: Path, used: set[Path], options: SourceOptions) -> str:
    """Return the words in the text beside `file`; empty where there is none."""
    for ending in _SIDE_ENDINGS:
        for path in (file.with_suffix(ending), file.with_name(file.name + ending)):
            if path.is_file() and path != file:
                used.add(path)
                try:
                    return decode_text(path.read_bytes(), options.encoding)
                except OSError as error:
                    raise UnusableError("transcript cannot be read", f"{path.name}: {error.strerror}") from error
                except UnusableError as error:
                    raise UnusableError(error.kind, f"{path.name}: {error.detail}") from error
    return ""


def _is_list(file: Path, beside: set[Path]) -> bool:
    is_named = file.stem.lower() in _LISTS and file.suffix.lower() in _LIST_ENDINGS
    return is_named and file.with_suffix("") not in beside and file.is_file()


def _read_list(path: Path, options: SourceOptions, listing: Listing) -> dict[Path, Values]:
    """Return recording -> values of its row. Rows are named columns, or without a header `name, text`."""
    try:
        rows = _rows(path, options, listing)
    except (UnusableError, OSError, LookupError) as error:
        detail = error.detail if isinstance(error, UnusableError) else str(error)
        listing.refusals.append(Refusal(relative_name(options.source, path), "transcript cannot be read", detail))
        return {}
    found: dict[Path, Values] = {}
    for line, values in rows:
        name = f"{relative_name(options.source, path)} line {line}"
        try:
            file = find_audio(options.audio_root, str(path.parent / values.pop("path").strip()))
        except UnusableError as error:
            listing.refusals.append(error.refusal(name))
            continue
        if file in found:
            listing.refusals.append(Refusal(name, "named twice", relative_name(options.source, file)))
            continue
        found[file] = values
    return found


def _rows(path: Path, options: SourceOptions, listing: Listing) -> list[tuple[int, Values]]:
    table = read_table(path, options.encoding)
    columns = columns_of(table.header, options.columns)
    if not {"path", "transcript"} <= columns.keys():
        columns = {"path": "path", "transcript": "transcript"}
        if path.suffix.lower() == ".txt" and not _is_delimited(path):
            return _spaced(path, options)
        table = read_table(path, options.encoding, header=["path", "transcript"])
    rows = []
    for row in table.rows:
        if row.problem is not None:
            listing.refusals.append(row.problem.refusal(f"{relative_name(options.source, path)} line {row.line}"))
            continue
        values = {field: row.values.get(column, "") for field, column in columns.items()}
        if values["path"].strip():
            rows.append((row.line, values))
    return rows


def _is_delimited(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline()
    return b"\t" in first or b"|" in first


def _spaced(path: Path, options: SourceOptions) -> list[tuple[int, Values]]:
    """Lines of `name text`, as LibriSpeech and Kaldi write them."""
    rows = []
    for number, line in enumerate(decode_text(path.read_bytes(), options.encoding).splitlines(), 1):
        name, _, text = line.strip().partition(" ")
        if name:
            rows.append((number, {"path": name, "transcript": text}))
    return rows
