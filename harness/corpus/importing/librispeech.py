"""LibriSpeech: SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac with a .trans.txt a chapter, and SPEAKERS.TXT above."""

from pathlib import Path

from harness.corpus.importing.fields import make_item
from harness.corpus.importing.items import Listing, Refusal, UnusableError
from harness.corpus.importing.options import SourceOptions
from harness.corpus.importing.places import find_audio, is_audio, relative_name, walk
from harness.corpus.importing.texts import decode_text, shown

_ENDING = ".trans.txt"
_SEXES = {"f": "female", "m": "male"}


def find(source: Path) -> str | None:
    """Say why `source` is laid out like LibriSpeech (the whole, a subset, a speaker or a chapter)."""
    if not source.is_dir():
        return None
    for depth in range(4):
        found = next(iter(sorted(source.glob("*/" * depth + "*" + _ENDING))), None)
        if found is not None:
            return f"found {found.relative_to(source)}"
    return None


def read(options: SourceOptions) -> Listing:
    """Read every chapter. A recording that no .trans.txt names is refused as one without a transcript."""
    listing = Listing()
    sexes = _sexes(options.source)
    files = list(walk(options.source, options.out, listing))
    named: set[Path] = set()
    for table in (file for file in files if file.name.endswith(_ENDING)):
        _read_chapter(table, options, sexes, named, listing)
        listing.ignored.append(Refusal(relative_name(options.source, table), "transcripts", "read"))
    for file in files:
        if file in named or file.name.endswith(_ENDING):
            continue
        name = relative_name(options.source, file)
        if is_audio(file):
            listing.items.append(make_item({}, name=name, file=file, options=options))
        else:
            listing.ignored.append(Refusal(name, "no recording"))
    return listing


def _read_chapter(
    table: Path, options: SourceOptions, sexes: dict[str, str], named: set[Path], listing: Listing
) -> None:
    for number, line in enumerate(_lines(table, options, listing), 1):
        name = f"{relative_name(options.source, table)} line {number}"
        try:
            label, _, transcript = decode_text(line, options.encoding).strip().partition(" ")
            if not label:
                continue
            name = shown(label)
            file = find_audio(options.audio_root, str(table.parent / label))
            if file in named:
                listing.refusals.append(Refusal(name, "named twice"))
                continue
            named.add(file)
            speaker = label.split("-")[0]
            values = {"id": label, "transcript": transcript, "speaker": speaker, "gender": sexes.get(speaker, "")}
            listing.items.append(
                make_item(values, name=relative_name(options.source, file), file=file, options=options)
            )
        except UnusableError as error:
            listing.refusals.append(error.refusal(name))


def _lines(table: Path, options: SourceOptions, listing: Listing) -> list[bytes]:
    try:
        return table.read_bytes().splitlines()
    except OSError as error:
        listing.refusals.append(Refusal(relative_name(options.source, table), "cannot be read", str(error.strerror)))
        return []


def _sexes(source: Path) -> dict[str, str]:
    """Speaker -> female or male, of the SPEAKERS.TXT in `source` or the two folders above it."""
    for folder in (source, *list(source.resolve().parents)[:2]):
        try:
            text = (folder / "SPEAKERS.TXT").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if not line.startswith(";")]
        return {row[0]: _SEXES.get(row[1].lower(), "") for row in rows if len(row) > 1}
    return {}
