"""LJ Speech: `metadata.csv` without a header, `id|text|text with numbers in words`, and `wavs/id.wav`."""

from pathlib import Path

from harness.corpus.importing.fields import make_item
from harness.corpus.importing.items import Listing, Refusal, UnusableError
from harness.corpus.importing.options import SourceOptions
from harness.corpus.importing.places import find_audio, relative_name
from harness.corpus.importing.texts import decode_text, shown
from harness.model.errors import ScenarioError

_FOLDERS = ("wavs", "wav", "")


def find(source: Path) -> str | None:
    """Say why `source` is laid out like LJ Speech."""
    path = _table_in(source)
    return None if path is None else f"{path.name} holds lines of ID|TEXT without a header"


def read(options: SourceOptions) -> Listing:
    """Read metadata.csv. The last cell is taken: numbers in words, where the source has that."""
    path = _table_in(options.source)
    if path is None:
        raise ScenarioError(f"{options.source}: no metadata.csv with lines of ID|TEXT")
    listing = Listing()
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        name = f"{path.name} line {number}"
        try:
            text = decode_text(line, options.encoding)
            if not text.strip():
                continue
            label, *texts = text.split("|")
            name = shown(label)
            if not texts:
                listing.refusals.append(Refusal(name, "wrong row", f"line {number} has no | between id and text"))
                continue
            file = find_audio(options.audio_root, label.strip(), _FOLDERS)
            transcript = next((cell for cell in reversed(texts) if cell.strip()), "")
            values = {"id": label, "transcript": transcript}
            listing.items.append(
                make_item(values, name=relative_name(options.audio_root, file), file=file, options=options)
            )
        except UnusableError as error:
            listing.refusals.append(error.refusal(name))
    _refuse_twins(listing)
    return listing


def _refuse_twins(listing: Listing) -> None:
    seen: set[Path] = set()
    for item in list(listing.items):
        if item.file in seen:
            listing.items.remove(item)
            listing.refusals.append(Refusal(item.name, "named twice"))
        seen.add(item.file)


def _table_in(source: Path) -> Path | None:
    path = source if source.is_file() else source / "metadata.csv"
    if path.name != "metadata.csv" or not path.is_file():
        return None
    first = path.open("rb").readline(10_000)
    is_header = first.lower().split(b"|")[0].strip() in (b"id", b"path", b"file", b"file_name", b"filename")
    return path if b"|" in first and not is_header else None
