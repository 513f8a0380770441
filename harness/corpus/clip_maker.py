"""Clips of a family: the clean one, and each made of it. Files and what is measured on them go through the cache.

What the manifest says of a clip is measured on the file as it ships (edges, level, length) or follows from how it was
made (condition, silences). Random choices come from the recipe's seed and the clip's id, so no clip depends on another.
"""

import json
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np

from harness.corpus.accents import AccentSpec
from harness.corpus.audio import Pcm, decode_file, write_opus
from harness.corpus.build_cache import BuildCache, code_hash, file_hash, key_of, versions
from harness.corpus.choice import Family
from harness.corpus.conditions.beds import bed_from, build_bed, cut_bed
from harness.corpus.conditions.chain import apply, output_samples
from harness.corpus.conditions.names import CLEAN, NO_DISTORTION, NO_ROOM, WIDEBAND
from harness.corpus.conditions.remeasure import measure_snr
from harness.corpus.conditions.specs import BabbleSpec, ConditionSpec, FileSpec
from harness.corpus.entry import OFFSET_TAG, STORED_SNR_TAG, Utterance
from harness.corpus.framing import RATE, Framed, framed, speech_edges
from harness.corpus.levels import active_speech_level
from harness.corpus.recipe import Recipe

CLIPS = "clips"
BEDS = "noise"
Measured = dict[str, Any]
_PACKAGES = ("av", "numpy", "pydub", "pyroomacoustics", "scipy")


class Speaker(Protocol):
    """A voice that says phonemes (harness.corpus.speech.Synthesiser)."""

    def phonemes(self, text: str, accent: AccentSpec, *, goes_on: bool = False) -> str:
        """Return the sounds of a text in an accent."""

    def key(self, phonemes: str, speaker: str, speed: float = 1.0) -> str:
        """Name what `say` returns."""

    def say(self, phonemes: str, speaker: str, speed: float = 1.0) -> Pcm:
        """Speak; int16 mono at 48 kHz."""


class Made:
    """A clip as it is in the cache: its entry, its file, and whether it had to be made."""

    def __init__(self, entry: Utterance, file: Path, is_new: bool) -> None:
        self.entry, self.file, self.is_new = entry, file, is_new


class ClipMaker:
    """Makes the clips of one recipe. `folder` is the recipe's, for the files that it names."""

    def __init__(self, recipe: Recipe, folder: Path, speaker: Speaker, cache: BuildCache) -> None:
        self._recipe, self._folder, self._speaker, self._cache = recipe, folder, speaker, cache
        self._library = recipe.library
        self._beds: dict[str, Pcm] = {}

    def family(self, family: Family) -> list[Made]:
        """Return every clip of a family, the clean one first."""
        spoken = self._spoken(family)
        clean_key = self._key("clean", family.base_id, spoken, self._recipe.speech.model_dump())
        clean: list[Framed] = []

        def frame() -> Framed:
            if not clean:
                clean.append(self._framed(family, spoken))
            return clean[0]

        clean_made = self._clean(family, clean_key, frame)
        return [
            clean_made,
            *(self._derived(family, condition, clean_made, clean_key, frame) for condition in family.conditions),
        ]

    def bed_file(self, name: str) -> Path:
        """Return the file of a noise's bed, as it ships."""
        spec = self._recipe.noises[name]
        talkers = self._talkers(spec) if isinstance(spec, BabbleSpec) else []
        # The content of a file counts, not its name.
        recorded = [file_hash(self._folder / spec.path)] if isinstance(spec, FileSpec) else []
        key = self._key("bed", name, spec.model_dump(), [self._speaker.key(*talker) for talker in talkers], recorded)

        def make(path: Path) -> None:
            voices = [self._speaker.say(*talker) for talker in talkers]
            rng = _rng(self._recipe.seed, f"bed-{name}")
            write_opus(path, build_bed(spec, rng, voices=voices, folder=self._folder), self._recipe.opus_bit_rate)

        return self._cache.file("beds", key, ".opus", make)

    def _talkers(self, spec: BabbleSpec) -> list[tuple[str, str]]:
        """Return what each talker says: two lines, from another one on, so that a loop is not noticed."""
        plain = next(accent for accent in self._recipe.accents.values() if not accent.rules)
        said = []
        for number, talker in enumerate(spec.talkers):
            lines = [spec.lines[(number + step) % len(spec.lines)] for step in (0, 3)]
            said.append((self._speaker.phonemes(" ".join(lines), plain), talker))
        return said

    def _spoken(self, family: Family) -> list[tuple[str, str, float]]:
        """Return what is said between the silences: phonemes, voice, speed."""
        accent, parts = self._recipe.accents[family.accent], family.sentence.parts
        phonemes = [self._speaker.phonemes(part, accent, goes_on=i < len(parts) - 1) for i, part in enumerate(parts)]
        return [(sounds, family.speaker, family.sentence.speed) for sounds in phonemes]

    def _framed(self, family: Family, spoken: list[tuple[str, str, float]]) -> Framed:
        parts = [self._speaker.say(*part) for part in spoken]
        return framed(self._recipe.speech, parts, family.sentence.silences_ms, family.base_id, self._stored)

    def _stored(self, pcm: Pcm) -> Pcm:
        """Return what a clip decodes to."""
        with TemporaryDirectory() as folder:
            file = Path(folder) / "clip.opus"
            write_opus(file, pcm, self._recipe.opus_bit_rate)
            return decode_file(file, RATE)

    def _clean(self, family: Family, key: str, frame: Callable[[], Framed]) -> Made:
        def measure(path: Path) -> Measured:
            shipped = decode_file(path, RATE)
            edges = speech_edges(shipped, family.base_id)
            return {
                "speech_level_dbfs": _level(shipped),
                "speech_start_ms": edges.start_ms,
                "speech_end_ms": edges.end_ms,
                "duration_ms": len(shipped) * 1000 / RATE,
                "pauses_ms": [list(pause) for pause in frame().pauses_ms],
            }

        file, measured, is_new = self._made(key, lambda: frame().pcm, measure)
        return Made(self._clean_entry(family, file, measured), file, is_new)

    def _clean_entry(self, family: Family, file: Path, measured: Measured) -> Utterance:
        sentence, accent = family.sentence, self._recipe.accents[family.accent]
        tags = ("synthetic", "kokoro-82m", *(("synthetic-accent",) if accent.rules else ()))
        pauses = tuple((start, end) for start, end in measured["pauses_ms"])
        return Utterance(
            id=family.base_id,
            path=clip_path(family.base_id),
            transcript=sentence.transcript,
            accent=family.accent,
            native=accent.native,
            speaker=family.speaker,
            noise=CLEAN,
            snr_db=None,
            sample_rate=RATE,
            vocabulary=sentence.vocabulary,
            base_id=family.base_id,
            sha256=_hash(file),
            licence=self._recipe.licence,
            tags=tags,
            domain=sentence.domain,
            sentence_id=sentence.id,
            entities=sentence.entities,
            **{**measured, "pauses_ms": pauses},
        )

    def _derived(
        self, family: Family, condition: ConditionSpec, clean: Made, clean_key: str, frame: Callable[[], Framed]
    ) -> Made:
        clip_id = family.clip_id(condition)
        used = self._used(condition)
        key = self._key("derived", clip_id, clean_key, used)
        offset_ms: list[int] = []

        def make() -> Pcm:
            pcm, offset = self._applied(condition, clip_id, frame().pcm)
            offset_ms[:] = [] if offset is None else [offset]
            return pcm

        def measure(path: Path) -> Measured:
            shipped = decode_file(path, RATE)
            level = clean.entry.speech_level_dbfs
            if (condition.room, condition.distortion) != (NO_ROOM, NO_DISTORTION) or condition.channel != WIDEBAND:
                level = _level(apply(condition, frame().pcm, None, self._library))
            measured: Measured = {"speech_level_dbfs": level, "duration_ms": len(shipped) * 1000 / RATE}
            if offset_ms:
                measured["tags"] = [f"{OFFSET_TAG}{offset_ms[0]}"]
                measured["tags"] += self._stored_snr(condition, shipped, clean.file, offset_ms[0])
            return measured

        file, measured, is_new = self._made(key, make, measure)
        return Made(self._derived_entry(clip_id, condition, clean.entry, file, measured), file, is_new)

    def _stored_snr(self, condition: ConditionSpec, shipped: Pcm, clean: Path, offset_ms: int) -> list[str]:
        """Return a tag with the SNR that a clip has after its own Opus; none where it cannot be found again."""
        bed = bed_from(self._bed(condition.noise), offset_ms, len(shipped))
        names = {"room": condition.room, "distortion": condition.distortion, "channel": condition.channel}
        found = measure_snr(shipped, decode_file(clean, RATE), bed, **names)
        return [] if found is None else [f"{STORED_SNR_TAG}{found.snr_db:.1f}"]

    def _derived_entry(
        self, clip_id: str, condition: ConditionSpec, clean: Utterance, file: Path, measured: Measured
    ) -> Utterance:
        noise = self._recipe.noises.get(condition.noise)
        licence = clean.licence
        if isinstance(noise, FileSpec) and noise.licence != licence:
            licence = f"{licence} AND {noise.licence}"
        own: dict[str, Any] = {
            "id": clip_id,
            "path": clip_path(clip_id),
            "sha256": _hash(file),
            "licence": licence,
            "snr_db": None if condition.snr_db is None else float(condition.snr_db),
            **condition.model_dump(include={"noise", "room", "distortion", "channel"}),
            **measured,
            "tags": (*clean.tags, *measured.get("tags", ())),
        }
        fields = {name: getattr(clean, name) for name in Utterance.__dataclass_fields__}
        return Utterance(**{**fields, **own})

    def _applied(self, condition: ConditionSpec, clip_id: str, clean: Pcm) -> tuple[Pcm, int | None]:
        bed = offset = None
        if condition.noise != CLEAN:
            count = output_samples(condition, len(clean), self._library)
            bed, offset = cut_bed(self._bed(condition.noise), count, _rng(self._recipe.seed, clip_id))
        return apply(condition, clean, bed, self._library), offset

    def _bed(self, name: str) -> Pcm:
        """Return what the bed decodes to: clips are mixed from that, so a check can find the bed in them."""
        if name not in self._beds:
            self._beds[name] = decode_file(self.bed_file(name), RATE)
        return self._beds[name]

    def _used(self, condition: ConditionSpec) -> dict[str, Any]:
        """All that the condition's names stand for."""
        used: dict[str, Any] = {"condition": condition.model_dump()}
        if condition.noise != CLEAN:
            used["bed"] = file_hash(self.bed_file(condition.noise))
        if condition.room != NO_ROOM:
            used["room"] = self._library.room(condition.room).model_dump()
        if condition.distortion != NO_DISTORTION:
            used["distortion"] = self._library.distortion(condition.distortion).model_dump()
        return used

    def _key(self, *parts: Any) -> str:
        recipe = self._recipe
        return key_of(code_hash(), versions(*_PACKAGES), recipe.seed, recipe.opus_bit_rate, *parts)

    def _made(
        self, key: str, make: Callable[[], Pcm], measure: Callable[[Path], Measured]
    ) -> tuple[Path, Measured, bool]:
        """Return a clip's file, what was measured on it, and whether either had to be made."""
        is_new = not self._cache.has("clips", key, ".json")
        # A file without its measurements was cut short: made again, so that both come from one making.
        rate = self._recipe.opus_bit_rate
        if is_new:
            self._cache.forget("clips", key, ".opus")
        file = self._cache.file("clips", key, ".opus", lambda path: write_opus(path, make(), rate))
        notes = self._cache.file("clips", key, ".json", lambda path: _write_json(path, measure(file)))
        measured: Measured = json.loads(notes.read_text())
        return file, measured, is_new


def clip_path(clip_id: str) -> str:
    """Return where a clip lies in a corpus."""
    return f"{CLIPS}/{clip_id}.opus"


def _level(pcm: Pcm) -> float:
    return round(active_speech_level(pcm, RATE).active_dbfs, 2)


def _rng(seed: int, name: str) -> np.random.Generator:
    """Random numbers that depend on the seed and the name only, so that adding a clip changes no other."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _hash(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _write_json(path: Path, measured: Measured) -> None:
    path.write_text(json.dumps(measured))
