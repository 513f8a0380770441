"""A telephone call on two channels: the caller's side becomes utterances, cut where the caller pauses.

The words, where there are any, are in a text beside the recording: labels (`start<TAB>end<TAB>text`, seconds, as
Audacity exports them), which also say where to cut; or one utterance a line, in order, for the pauses to agree with.
"""

import re
from dataclasses import replace
from pathlib import Path

from harness.corpus.importing.decode import channels_of
from harness.corpus.importing.fields import make_item
from harness.corpus.importing.items import Item, Listing, Refusal, UnusableError
from harness.corpus.importing.options import SourceOptions
from harness.corpus.importing.places import is_audio, relative_name, resolve_inside, walk
from harness.corpus.importing.texts import decode_text, one_line

# A label is widened by as much, or half the way to its neighbour: people mark words, not silence.
_MARGIN_S = 0.15
_LABEL = re.compile(r"\s*(\d+(?:\.\d+)?)\s*\t\s*(\d+(?:\.\d+)?)\s*\t(.*)")


def find(source: Path) -> str | None:
    """Say why `source` is a call on two channels."""
    if source.is_file() and is_audio(source) and channels_of(source) == 2:
        return "one recording with two channels"
    return None


def read(options: SourceOptions) -> Listing:
    """List each recording of the source: an Item a label, or one for the whole call where there are none."""
    listing = Listing()
    root = options.source if options.source.is_dir() else options.source.parent
    files = list(walk(root, options.out, listing)) if options.source.is_dir() else [options.source]
    used: set[Path] = set()
    for file in filter(is_audio, files):
        name = relative_name(root, file)
        try:
            resolve_inside(options.audio_root, str(file.absolute()))
            listing.items += _items_of(file, name, used, options)
        except UnusableError as error:
            listing.refusals.append(error.refusal(name))
    for file in files:
        if not is_audio(file):
            reason = "transcript" if file in used else "no recording"
            listing.ignored.append(Refusal(relative_name(root, file), reason))
    return listing


def _items_of(file: Path, name: str, used: set[Path], options: SourceOptions) -> list[Item]:
    label = str(Path(name).with_suffix(""))
    whole = make_item({"id": label}, name=name, file=file, options=options)
    text = _text_beside(file, used, options)
    if text is None:
        return [whole]
    lines = [line for line in text.splitlines() if line.strip()]
    labels = [found for line in lines if (found := _LABEL.fullmatch(line))]
    if not labels:
        # Lines stay lines: which utterance has which is known when the call is cut.
        return [replace(whole, transcript="\n".join(filter(None, map(one_line, lines))) or None)]
    if len(labels) < len(lines):
        raise UnusableError(
            "transcript cannot be read", "some lines are labels (start, end, text by tabs), some are not"
        )
    times = sorted((float(found[1]), float(found[2]), one_line(found[3])) for found in labels)
    return [
        replace(
            whole,
            name=f"{name} at {start:.1f} s",
            label=f"{label} {number:03}",
            transcript=words or None,
            start_s=max(0.0, start - _margin(times[number - 2][1] if number > 1 else -start, start)),
            end_s=end + _margin(end, times[number][0] if number < len(times) else float("inf")),
        )
        for number, (start, end, words) in enumerate(times, 1)
    ]


def _margin(before_s: float, after_s: float) -> float:
    return max(0.0, min(_MARGIN_S, (after_s - before_s) / 2))


def _text_beside(file: Path, used: set[Path], options: SourceOptions) -> str | None:
    for path in (file.with_suffix(".txt"), file.with_name(file.name + ".txt")):
        if path.is_file() and path != file:
            used.add(path)
            try:
                return decode_text(path.read_bytes(), options.encoding)
            except OSError as error:
                raise UnusableError("transcript cannot be read", f"{path.name}: {error.strerror}") from error
    return None
