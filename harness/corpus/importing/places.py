"""Where a source's recordings lie: which files are audio, which may be read, which are named without their ending."""

import os
from collections.abc import Iterator
from pathlib import Path

from harness.corpus.importing.items import Listing, Refusal, UnusableError
from harness.corpus.importing.texts import shown

AUDIO_ENDINGS = frozenset(
    [
        ".wav",
        ".wave",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".spx",
        ".mp3",
        ".mp2",
        ".m4a",
        ".mp4",
        ".aac",
        ".3gp",
        ".webm",
        ".mka",
        ".mkv",
        ".mov",
        ".amr",
        ".awb",
        ".wma",
        ".asf",
        ".aif",
        ".aiff",
        ".aifc",
        ".au",
        ".snd",
        ".caf",
        ".w64",
        ".sph",
        ".nist",
        ".gsm",
    ]
)
# Samples with no header that would say their rate.
RAW_ENDINGS = frozenset(
    [".raw", ".pcm", ".ulaw", ".ul", ".mulaw", ".alaw", ".al", ".sln", ".sln16", ".g722", ".g729", ".vox"]
)
_TEXT_ENDINGS = frozenset((".txt", ".lab", ".csv", ".tsv", ".json", ".jsonl", ".md", ".scp"))
_BEGINNINGS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3", b"FORM", b".snd", b"NIST_1A", b"#!AMR", b"caff")


def resolve_inside(root: Path, text: str) -> Path:
    """Return the file that `text`, relative to `root` or absolute, names; UnusableError where it lies outside."""
    if "\0" in text or not text.strip():
        raise UnusableError("wrong row", f"{shown(text)!r} is no path")
    path = root / text
    try:
        real = Path(os.path.realpath(path))
        is_inside = real.is_relative_to(os.path.realpath(root))
    except (OSError, ValueError) as error:
        raise UnusableError("cannot be read", str(error)) from error
    if not is_inside:
        raise UnusableError(
            "path outside the source", f"{shown(str(real))} is not under {root}; --audio-root names a folder"
        )
    return path


def find_audio(root: Path, text: str, folders: tuple[str, ...] = ("",)) -> Path:
    """Return the existing file that `text` names in one of `folders` of `root`, with or without its ending.

    Raises UnusableError where it lies outside `root`, is not there or is a folder.
    """
    found_folder = False
    for folder in folders:
        path = resolve_inside(root, os.path.join(folder, text))  # noqa: PTH118  an absolute text must win over folder
        for candidate in (path, *(path.with_name(path.name + ending) for ending in sorted(AUDIO_ENDINGS))):
            # A name too long for the file system is not there; pathlib would raise.
            if not os.path.lexists(candidate):
                continue
            if not candidate.is_dir():
                return candidate if candidate == path else resolve_inside(root, str(candidate))
            found_folder = True
    if found_folder:
        raise UnusableError("wrong row", f"{shown(text)} is a folder, not a recording")
    raise UnusableError("file missing", f"{shown(text)} is not in {root}")


def walk(root: Path, leave_out: Path, listing: Listing) -> Iterator[Path]:
    """Yield every file under `root` in a steady order, but none under `leave_out`; note in `listing` what is skipped.

    Links to folders are not followed, so no loop has no end.
    """
    left_out = leave_out.resolve()

    def complain(error: OSError) -> None:
        name = relative_name(root, Path(error.filename or root))
        listing.refusals.append(Refusal(name, "cannot be read", f"folder: {error.strerror}"))

    for folder, folders, files in os.walk(root, onerror=complain):
        here = Path(folder)
        for name in sorted(folders):
            path = here / name
            if path.is_symlink():
                listing.ignored.append(Refusal(relative_name(root, path), "link to a folder", "not followed"))
            elif path.suffix.lower() in AUDIO_ENDINGS:
                listing.refusals.append(
                    Refusal(relative_name(root, path), "no file", "a folder named like a recording")
                )
        folders[:] = sorted(name for name in folders if not _is_left_out(here / name, left_out))
        yield from (here / name for name in sorted(files))


def is_audio(path: Path) -> bool:
    """Tell a recording by its name, or where its name says nothing, by how it begins."""
    ending = path.suffix.lower()
    if ending in AUDIO_ENDINGS or ending in RAW_ENDINGS:
        return True
    if ending in _TEXT_ENDINGS:
        return False
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(8).startswith(_BEGINNINGS)
    except OSError:
        return False


def relative_name(root: Path, path: Path) -> str:
    """Return what messages call `path`: relative to `root`, on one line."""
    return shown(os.path.relpath(path, root))


def _is_left_out(path: Path, left_out: Path) -> bool:
    return path.is_symlink() or path.resolve() == left_out
