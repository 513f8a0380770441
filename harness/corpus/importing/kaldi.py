"""A Kaldi data directory: wav.scp and text, with utt2spk, segments and spk2gender where they are.

wav.scp may hold a shell command instead of a path. No command of a data set is ever run: such an entry is refused.
"""

from pathlib import Path

from harness.corpus.importing.fields import make_item
from harness.corpus.importing.items import Item, Listing, Refusal, UnusableError
from harness.corpus.importing.options import SourceOptions
from harness.corpus.importing.places import find_audio, relative_name
from harness.corpus.importing.texts import decode_text, shown
from harness.model.errors import ScenarioError

_SEXES = {"f": "female", "m": "male"}
_TABLES = ("text", "utt2spk", "spk2gender")


def find(source: Path) -> str | None:
    """Say why `source` is a Kaldi data directory."""
    return "found wav.scp" if (source / "wav.scp").is_file() else None


def read(options: SourceOptions) -> Listing:
    """Read the tables; an utterance that they do not hold together on is refused by its id."""
    folder = options.source
    if not (folder / "wav.scp").is_file():
        raise ScenarioError(f"{folder}: no wav.scp")
    listing = Listing()
    recordings = _read_pairs(folder / "wav.scp", options, listing)
    tables = {name: _read_pairs(folder / name, options, listing) for name in _TABLES}
    if (folder / "segments").is_file():
        utterances = _segments(folder / "segments", options, listing)
    else:
        utterances = {name: (name, "", "") for name in recordings}
    for utterance in tables["text"].keys() - utterances.keys():
        listing.refusals.append(Refusal(shown(utterance), "file missing", "text names it, wav.scp or segments do not"))
    for utterance, (recording, start, end) in utterances.items():
        try:
            listing.items.append(_item(utterance, recording, (start, end), recordings, tables, options))
        except UnusableError as error:
            listing.refusals.append(error.refusal(shown(utterance)))
    return listing


def _item(
    utterance: str,
    recording: str,
    times: tuple[str, str],
    recordings: dict[str, str],
    tables: dict[str, dict[str, str]],
    options: SourceOptions,
) -> Item:
    if recording not in recordings:
        raise UnusableError("file missing", f"recording {shown(recording)} is not in wav.scp")
    speaker = tables["utt2spk"].get(utterance, "")
    gender = tables["spk2gender"].get(speaker, "")
    values = {
        "id": utterance,
        "transcript": tables["text"].get(utterance, ""),
        "speaker": speaker,
        "gender": _SEXES.get(gender, gender),
        "start": times[0],
        # Kaldi writes -1 where a segment goes to the recording's end.
        "end": "" if times[1].startswith("-") else times[1],
    }
    file = _file(recordings[recording], options)
    name = f"{shown(utterance)} ({relative_name(options.audio_root, file)})"
    return make_item(values, name=name, file=file, options=options)


def _file(text: str, options: SourceOptions) -> Path:
    if "|" in text:
        raise UnusableError(
            "a command", f"wav.scp has {shown(text)[:80]!r}; commands are never run, convert it to a file"
        )
    if ".ark:" in text:
        raise UnusableError("an archive", f"wav.scp has {shown(text)[:80]!r}; unpack it to files")
    return find_audio(options.audio_root, text)


def _segments(path: Path, options: SourceOptions, listing: Listing) -> dict[str, tuple[str, str, str]]:
    found = {}
    for utterance, rest in _read_pairs(path, options, listing).items():
        parts = rest.split()
        if len(parts) < 3:
            listing.refusals.append(Refusal(shown(utterance), "wrong row", "segments wants recording, start and end"))
        else:
            found[utterance] = (parts[0], parts[1], parts[2])
    return found


def _read_pairs(path: Path, options: SourceOptions, listing: Listing) -> dict[str, str]:
    """Read `key value...` lines; a line that is wrong, or a key that stands twice, is refused."""
    pairs: dict[str, str] = {}
    try:
        lines = path.read_bytes().splitlines() if path.exists() else []
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read: {error.strerror}") from error
    for number, raw in enumerate(lines, 1):
        try:
            parts = decode_text(raw, options.encoding).split(maxsplit=1)
        except UnusableError as error:
            listing.refusals.append(Refusal(f"{path.name} line {number}", "row cannot be read", error.detail))
            continue
        if not parts:
            continue
        if parts[0] in pairs:
            listing.refusals.append(Refusal(f"{path.name} line {number}", "named twice", shown(parts[0])))
            continue
        pairs[parts[0]] = parts[1].strip() if len(parts) > 1 else ""
    return pairs
