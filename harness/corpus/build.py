"""From recipe to corpus: speak every utterance, level it, frame it with silence, mix noise in, measure, write.

What the manifest says about a clip is measured on the file that ships (edges, level) or follows from how it was mixed
(SNR). The mixing is pydub's; every choice comes from the recipe's seed.
"""

import json
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydub import AudioSegment

from harness.corpus.audio import Pcm, decode_file, write_opus
from harness.corpus.edges import Edges, find_edges
from harness.corpus.entry import CLEAN, Utterance
from harness.corpus.levels import active_speech_level, rms_dbfs
from harness.corpus.manifest import MANIFEST_NAME, SCHEMA_VERSION
from harness.corpus.noise import RATE, babble_bed, samples, segment, street_bed
from harness.corpus.recipe import BabbleSpec, Recipe, StreetSpec, UtteranceSpec
from harness.corpus.speech import Synthesiser
from harness.model.errors import ScenarioError

CLIPS = "clips"
BEDS = "noise"
# Clips are whole packets long, so a player never sends a broken one.
FRAME_MS = 20
_FADE_MS = 10

Say = Callable[[str], None]


def build_corpus(recipe: Recipe, out: Path, synthesiser: Synthesiser, say: Say = print) -> int:
    """Build every clip of `recipe` under `out` and write the manifest; return the number of clips.

    Clips, beds and manifest of an earlier build are replaced together when all is done, so a build that fails or is
    interrupted changes nothing. Raises ScenarioError.
    """
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".building-", dir=out) as work:
        entries = _build_all(recipe, Path(work), synthesiser, say)
        for name in (CLIPS, BEDS):
            shutil.rmtree(out / name, ignore_errors=True)
            (Path(work) / name).rename(out / name)
        (Path(work) / MANIFEST_NAME).replace(out / MANIFEST_NAME)
    return len(entries)


def _build_all(recipe: Recipe, out: Path, synthesiser: Synthesiser, say: Say) -> list[Utterance]:
    for folder in (out / CLIPS, out / BEDS):
        folder.mkdir()
    beds = _build_beds(recipe, out, synthesiser, say)
    entries: list[Utterance] = []
    for number, spec in enumerate(recipe.utterances, 1):
        say(f"[{number}/{len(recipe.utterances)}] {spec.id}: {spec.text}")
        entries += _build_family(recipe, spec, out, synthesiser, beds)
    document = {"schema_version": SCHEMA_VERSION, "utterances": [entry.to_json() for entry in entries]}
    (out / MANIFEST_NAME).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return entries


def _build_beds(recipe: Recipe, out: Path, synthesiser: Synthesiser, say: Say) -> dict[str, Pcm]:
    """Write the beds and return what they decode to: clips are mixed from that, so a check can find the bed in them."""
    beds = {}
    for name, spec in recipe.noises.items():
        say(f"noise {name}: {spec.kind}, {spec.bed_ms / 1000:g} s")
        path = out / BEDS / f"{name}.opus"
        write_opus(path, _bed(recipe, name, spec, synthesiser), recipe.opus_bit_rate)
        beds[name] = decode_file(path, RATE)
    return beds


def _bed(recipe: Recipe, name: str, spec: BabbleSpec | StreetSpec, synthesiser: Synthesiser) -> Pcm:
    rng = _rng(recipe.seed, f"bed-{name}")
    if isinstance(spec, StreetSpec):
        return street_bed(spec.bed_ms, rng)
    plain = next(accent for accent in recipe.accents.values() if accent.native)
    voices = []
    for number, talker in enumerate(spec.talkers):
        # Two lines each, from another one on: long enough that a loop is not noticed.
        lines = [spec.lines[(number + step) % len(spec.lines)] for step in (0, 3)]
        voices.append(synthesiser.speak(" ".join(lines), talker, plain))
    return babble_bed(voices, spec.bed_ms, rng)


def _build_family(
    recipe: Recipe, spec: UtteranceSpec, out: Path, synthesiser: Synthesiser, beds: dict[str, Pcm]
) -> Iterator[Utterance]:
    """Write and yield the clean clip of one utterance, then each of its noisy ones."""
    spoken = synthesiser.speak(spec.spoken or spec.text, spec.speaker, recipe.accents[spec.accent], spec.speed)
    clean = _framed(recipe, spec, spoken)
    entry = _write_clean(recipe, spec, out, clean)
    yield entry
    speech_dbfs = active_speech_level(samples(clean), RATE).active_dbfs
    for name, noise in recipe.noises.items():
        for snr_db in noise.snr_db:
            clip_id = f"{spec.id}-{name}-{_spell_snr(snr_db)}db"
            cut, offset_ms = _cut(beds[name], len(clean), _rng(recipe.seed, clip_id))
            background = segment(cut).apply_gain(speech_dbfs - snr_db - rms_dbfs(cut))
            mixed = _checked(samples(clean.overlay(background)), clip_id)
            write_opus(out / _clip_path(clip_id), mixed, recipe.opus_bit_rate)
            yield _derived(entry, out, clip_id=clip_id, noise=name, snr_db=snr_db, offset_ms=offset_ms)


def _framed(recipe: Recipe, spec: UtteranceSpec, spoken: Pcm) -> AudioSegment:
    """Speech at the recipe's level, beginning `lead_ms` in, with `tail_ms` or a little more after its end."""
    edges = _edges(spoken, spec.id)
    lead, tail = recipe.speech.lead_ms, recipe.speech.tail_ms
    length = -(-(lead + round(edges.end_ms - edges.start_ms) + tail) // FRAME_MS) * FRAME_MS
    silence = AudioSegment.silent(max(lead, length), frame_rate=RATE)
    padded = silence[:lead] + segment(spoken) + silence
    begin = round(edges.start_ms)
    cut = padded[begin : begin + length].fade_in(_FADE_MS).fade_out(_FADE_MS)
    levelled = cut.apply_gain(recipe.speech.level_dbfs - active_speech_level(samples(cut), RATE).active_dbfs)
    _checked(samples(levelled), spec.id)
    return levelled


def _write_clean(recipe: Recipe, spec: UtteranceSpec, out: Path, clean: AudioSegment) -> Utterance:
    path = _clip_path(spec.id)
    write_opus(out / path, samples(clean), recipe.opus_bit_rate)
    shipped = decode_file(out / path, RATE)
    edges = _edges(shipped, spec.id)
    accent = recipe.accents[spec.accent]
    tags = ["synthetic", "kokoro-82m"] + (["synthetic-accent"] if accent.substitutions else [])
    return Utterance(
        id=spec.id,
        path=path,
        transcript=spec.text,
        accent=spec.accent,
        native=accent.native,
        speaker=spec.speaker,
        noise=CLEAN,
        snr_db=None,
        speech_level_dbfs=round(active_speech_level(shipped, RATE).active_dbfs, 2),
        speech_start_ms=edges.start_ms,
        speech_end_ms=edges.end_ms,
        duration_ms=len(shipped) * 1000 / RATE,
        sample_rate=RATE,
        vocabulary=spec.vocabulary,
        base_id=spec.id,
        sha256=_hash(out / path),
        licence=recipe.licence,
        tags=tuple(tags),
    )


def _derived(clean: Utterance, out: Path, *, clip_id: str, noise: str, snr_db: float, offset_ms: int) -> Utterance:
    path = _clip_path(clip_id)
    own = {"id": clip_id, "path": path, "noise": noise, "snr_db": float(snr_db), "sha256": _hash(out / path)}
    tags = [*clean.tags, f"noise-offset-ms:{offset_ms}"]
    return Utterance(**{**clean.to_json(), **own, "tags": tuple(tags)})


def _cut(bed: Pcm, length_ms: int, rng: np.random.Generator) -> tuple[Pcm, int]:
    """Take a stretch of the bed; return it and where it begins, on a whole millisecond."""
    room_ms = len(bed) * 1000 // RATE - length_ms
    if room_ms <= 0:
        raise ScenarioError(f"bed_ms must be above {length_ms}, the longest clip")
    offset_ms = int(rng.integers(room_ms))
    return bed[offset_ms * RATE // 1000 :][: length_ms * RATE // 1000], offset_ms


def _edges(pcm: Pcm, clip_id: str) -> Edges:
    edges = find_edges(pcm, RATE)
    if edges is None:
        raise ScenarioError(f"{clip_id}: no speech found in what was synthesised")
    return edges


def _checked(pcm: Pcm, clip_id: str) -> Pcm:
    if int(np.max(np.abs(pcm.astype(np.int32)))) >= 32767:
        raise ScenarioError(f"{clip_id}: clips at full scale; lower speech.level_dbfs or raise snr_db")
    return pcm


def _rng(seed: int, name: str) -> np.random.Generator:
    """Random numbers that depend on the seed and the name only, so that adding a clip changes no other."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _clip_path(clip_id: str) -> str:
    return f"{CLIPS}/{clip_id}.opus"


def _spell_snr(snr_db: float) -> str:
    return f"{abs(snr_db):g}".replace(".", "p") if snr_db >= 0 else f"m{abs(snr_db):g}".replace(".", "p")


def _hash(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def say_on_stderr(line: str) -> None:
    """Progress for people; standard output stays free for results."""
    print(line, file=sys.stderr, flush=True)
