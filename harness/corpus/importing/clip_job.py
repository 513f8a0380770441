"""One recording of a source: decoded, cut, measured, written. Runs in a worker process; never raises for a bad file."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.corpus.audio import Pcm
from harness.corpus.conditions.names import CLEAN
from harness.corpus.entry import Utterance
from harness.corpus.importing.decode import Recording, check_file, read_recording
from harness.corpus.importing.flac import write_flac
from harness.corpus.importing.items import Item, UnusableError
from harness.corpus.importing.mono import as_mono
from harness.corpus.importing.options import LEFT, ClipOptions
from harness.corpus.importing.pauses import find_utterances, overlap_ratio
from harness.corpus.importing.quality import Quality, doubts, measure
from harness.corpus.importing.texts import sentence_name
from harness.measure.normaliser import normalise

# Another number makes a re-run do everything again: raise it with every rule that changes a clip or its entry.
RULES_VERSION = 2
# Share of an utterance in which the agent may be as loud on its own channel.
_MOST_OVERLAP = 0.3
CLIPS, UNTRANSCRIBED = "clips", "untranscribed"
IMPORTED, DOUBTFUL, REFUSED = "imported", "doubtful", "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one utterance."""

    name: str
    # IMPORTED, DOUBTFUL (imported too), UNTRANSCRIBED (audio kept, in no manifest) or REFUSED.
    status: str
    id: str | None = None
    # Why refused (one) or doubtful (one or more); `kind` is what to count refusals by.
    kind: str | None = None
    reasons: tuple[str, ...] = ()
    # As the manifest has it; of an untranscribed one, with an empty transcript.
    entry: dict[str, Any] | None = None
    measured: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a file."""

    # None where it could not be read.
    sha256: str | None
    outcomes: tuple[Outcome, ...]
    # Nothing was done: the file and what was asked are those of an earlier run.
    was_known: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """A file, and the utterances in it with their ids."""

    file: Path
    name: str
    cuts: tuple[tuple[str, Item], ...]
    # Of what is asked: equal fingerprints and equal files give equal clips.
    fingerprint: str
    known: Done | None = None


def fingerprint(cuts: tuple[tuple[str, Item], ...], options: ClipOptions) -> str:
    """Name what is asked of a file: its utterances and options, whatever place is written to."""
    asked = (RULES_VERSION, replace(options, out=Path()), [(name, replace(item, file=Path())) for name, item in cuts])
    return hashlib.sha256(repr(asked).encode("utf-8", "surrogatepass")).hexdigest()


class ClipMaker:
    """Does jobs."""

    def __init__(self, options: ClipOptions) -> None:
        self._options = options

    def __call__(self, job: Job) -> Done:
        """Do one job. OSError only where writing fails, which is no fault of the file."""
        try:
            check_file(job.file)
            digest = _hash(job.file)
        except UnusableError as error:
            return Done(None, tuple(_refused(item.name, error) for _, item in job.cuts))
        if job.known is not None and job.known.sha256 == digest and self._still_there(job.known):
            return replace(job.known, was_known=True)
        try:
            return Done(digest, tuple(self._outcomes(job)))
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001  one odd file must not stop the rest, whatever it does
            unexpected = UnusableError("cannot be imported", f"{type(error).__name__}: {error}")
            return Done(digest, tuple(_refused(item.name, unexpected) for _, item in job.cuts))

    def _still_there(self, known: Done) -> bool:
        entries = [outcome.entry for outcome in known.outcomes if outcome.entry is not None]
        try:
            return all(_hash(self._options.out / entry["path"]) == entry["sha256"] for entry in entries)
        except UnusableError:
            return False

    def _outcomes(self, job: Job) -> Iterator[Outcome]:
        try:
            is_cut = self._options.is_call or any(item.start_s or item.end_s for _, item in job.cuts)
            if not is_cut and not self._options.keep_untranscribed:
                _words_of(job.cuts[0][1].transcript)
            longest_s = self._options.longest_call_s if is_cut else self._options.longest_s
            recording = read_recording(job.file, longest_s)
            mono, channel_doubts = as_mono(recording.samples, self._channel)
        except UnusableError as error:
            yield from (_refused(item.name, error) for _, item in job.cuts)
            return
        for clip_id, item in job.cuts:
            if self._options.is_call and item.start_s is None:
                yield from self._utterances(clip_id, item, recording, mono)
            else:
                begin, end = (None if s is None else round(s * recording.rate) for s in (item.start_s, item.end_s))
                yield self._outcome(clip_id, item, recording, mono[begin:end], [*recording.doubts, *channel_doubts])

    @property
    def _channel(self) -> str | None:
        return (self._options.channel or LEFT) if self._options.is_call else self._options.channel

    def _utterances(self, clip_id: str, item: Item, recording: Recording, mono: Pcm) -> Iterator[Outcome]:
        found = find_utterances(mono, recording.rate, self._options.pause_ms)
        lines = item.transcript.split("\n") if item.transcript else [None] * len(found)
        if not found or len(lines) != len(found):
            problem = (
                f"{len(lines)} lines of text, {len(found)} utterances between pauses of {self._options.pause_ms} ms"
            )
            error = UnusableError(
                "transcript does not fit", f"{problem}; --pause-ms changes that, labels with times settle it"
            )
            yield _refused(item.name, error if found else UnusableError("no speech", "on the caller's channel"))
            return
        for number, ((begin, end), words) in enumerate(zip(found, lines, strict=True), 1):
            one = replace(item, name=f"{item.name} at {begin / recording.rate:.1f} s", transcript=words, sentence=None)
            stretch = slice(begin, end)
            doubt = [*recording.doubts, *_overlap_doubts(recording, mono, stretch)]
            yield self._outcome(f"{clip_id}-{number:03}", one, recording, mono[stretch], doubt)

    def _outcome(self, clip_id: str, item: Item, recording: Recording, pcm: Pcm, doubt: list[str]) -> Outcome:
        try:
            words = None if self._is_kept_wordless(item) else _words_of(item.transcript)
            _check_length(pcm, recording.rate, self._options.longest_s)
            quality = measure(pcm, recording.rate)
            if self._options.trim_ms is not None:
                pcm = _trimmed(pcm, recording.rate, quality, self._options.trim_ms)
                quality = measure(pcm, recording.rate)
        except UnusableError as error:
            return _refused(item.name, error)
        found = doubt + doubts(quality, len(pcm) * 1000 / recording.rate, words) + _entity_doubts(item)
        entry = self._write(clip_id, item, recording, pcm, quality, bool(found))
        status = UNTRANSCRIBED if words is None else DOUBTFUL if found else IMPORTED
        return Outcome(item.name, status, clip_id, None, tuple(found), entry, quality.to_json())

    def _is_kept_wordless(self, item: Item) -> bool:
        return self._options.keep_untranscribed and not (item.transcript and any(map(str.isalnum, item.transcript)))

    def _write(
        self, clip_id: str, item: Item, recording: Recording, pcm: Pcm, quality: Quality, is_doubtful: bool
    ) -> dict[str, Any]:
        folder = UNTRANSCRIBED if self._is_kept_wordless(item) else CLIPS
        path = f"{folder}/{clip_id}.flac"
        write_flac(self._options.out / path, pcm, recording.rate)
        transcript = item.transcript or ""
        tags = [
            "imported",
            *(["doubtful"] if is_doubtful else []),
            *(["narrowband"] if recording.source_rate < 16000 else []),
        ]
        return Utterance(
            id=clip_id,
            path=path,
            transcript=transcript,
            accent=item.accent,
            native=item.native,
            speaker=item.speaker,
            noise=CLEAN,
            snr_db=None,
            speech_level_dbfs=round(quality.level_dbfs, 2),
            speech_start_ms=quality.edges.start_ms,
            speech_end_ms=quality.edges.end_ms,
            duration_ms=len(pcm) * 1000 / recording.rate,
            sample_rate=recording.rate,
            vocabulary=item.vocabulary,
            base_id=clip_id,
            sha256=_hash(self._options.out / path),
            licence=item.licence or "",
            tags=tuple(dict.fromkeys([*tags, *item.tags])),
            domain=item.domain,
            sentence_id=item.sentence or sentence_name(transcript),
            entities=item.entities,
        ).to_json()


def _overlap_doubts(recording: Recording, mono: Pcm, stretch: slice) -> list[str]:
    others = [channel for channel in recording.samples if not np.shares_memory(channel, mono)]
    is_loud = any(overlap_ratio(mono[stretch], other[stretch], recording.rate) > _MOST_OVERLAP for other in others)
    return ["the other channel is as loud at the time: echo, or both speak"] if is_loud else []


def _words_of(transcript: str | None) -> str:
    if transcript is None or not transcript.strip():
        raise UnusableError("transcript missing")
    if not any(map(str.isalnum, normalise(transcript))):
        raise UnusableError("transcript missing", f"no word in {transcript[:40]!r}")
    return transcript


def _check_length(pcm: Pcm, rate: int, longest_s: float) -> None:
    if len(pcm) > longest_s * rate:
        raise UnusableError("too long", f"{len(pcm) / rate:.0f} s; --longest-s takes more")


def _trimmed(pcm: Pcm, rate: int, quality: Quality, keep_ms: int) -> Pcm:
    begin = round(max(0.0, quality.edges.start_ms - keep_ms) * rate / 1000)
    return pcm[begin : round((quality.edges.end_ms + keep_ms) * rate / 1000)]


def _entity_doubts(item: Item) -> list[str]:
    said = f" {normalise(item.transcript or '')} "
    return [
        f"entity {entity!r} is not in its transcript"
        for entity in item.entities
        if f" {normalise(entity)} " not in said
    ]


def _refused(name: str, error: UnusableError) -> Outcome:
    return Outcome(name, REFUSED, kind=error.kind, reasons=(str(error),))


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise UnusableError("cannot be read", error.strerror or str(error)) from error
    return digest.hexdigest()
