"""Is the corpus what its manifest says? Every clip measured again, and the noise in it.

The SNR of a coded clip cannot be read from its difference to the clean clip: at 15 dB the codec's own error is as
loud as the noise. So the clip is explained, by least squares, as so much of the clean clip and so much of the shipped
noise bed from the offset its tags name; the codec's error belongs to neither.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.corpus.audio import Pcm, decode_file, read_pcm
from harness.corpus.edges import find_edges
from harness.corpus.entry import CLEAN, Utterance
from harness.corpus.levels import active_speech_level, rms_dbfs
from harness.corpus.manifest import Corpus, verify_clip
from harness.model.errors import ScenarioError

EDGE_TOLERANCE_MS = 20.0
LEVEL_TOLERANCE_DB = 0.5
SNR_TOLERANCE_DB = 0.5
# Speech of a noisy clip lies where the clean clip's does, to this.
SHIFT_TOLERANCE_MS = 1.0
BEDS = "noise"
_OFFSET_TAG = "noise-offset-ms:"


# What may lie beside clips without being one.
_NOT_CLIPS = frozenset({"manifest.json", "recipe.yaml"})


@dataclass(frozen=True, slots=True)
class _Speech:
    """The clean clip of a family, decoded and measured once."""

    clip: Utterance
    pcm: Pcm
    level_dbfs: float

    @classmethod
    def of(cls, clip: Utterance) -> "_Speech":
        pcm = read_pcm(clip, clip.sample_rate)
        return cls(clip, pcm, active_speech_level(pcm, clip.sample_rate).active_dbfs)


def find_problems(corpus: Corpus) -> list[str]:
    """One line per disagreement between manifest and files: hash, length, edges, level, SNR, shift, stray files."""
    problems: list[str] = []
    families: dict[str, list[Utterance]] = {}
    for clip in corpus.utterances.values():
        families.setdefault(clip.base_id, []).append(clip)
    for base_id, family in families.items():
        problems += _family_problems(corpus, corpus.utterances[base_id], family)
    listed = {clip.file for clip in corpus.utterances.values()}
    folders = {file.parent for file in listed}
    strays = sorted(file for folder in folders for file in folder.iterdir() if file.is_file() and file not in listed)
    return problems + [f"{file}: not in the manifest" for file in strays if file.name not in _NOT_CLIPS]


def _family_problems(corpus: Corpus, clean: Utterance, family: list[Utterance]) -> list[str]:
    problems = []
    for clip in family:
        try:
            verify_clip(clip)
        except ScenarioError as error:
            problems.append(str(error))
    if problems:
        # What is not the file the manifest means is not worth measuring.
        return problems
    try:
        speech = _Speech.of(clean)
        problems += _clean_problems(speech)
        for clip in family:
            if clip.noise != CLEAN:
                problems += _noisy_problems(corpus, clip, speech)
    except ScenarioError as error:
        problems.append(str(error))
    return problems


def _clean_problems(speech: _Speech) -> list[str]:
    clip = speech.clip
    edges = find_edges(speech.pcm, clip.sample_rate)
    if edges is None:
        return [f"{clip.id}: no speech found"]
    problems = []
    for name, measured in (("speech_start_ms", edges.start_ms), ("speech_end_ms", edges.end_ms)):
        stated = getattr(clip, name)
        if abs(measured - stated) > EDGE_TOLERANCE_MS:
            problems.append(f"{clip.id}.{name}: measured {measured:.0f} ms, the manifest says {stated:.0f} ms")
    level, stated = speech.level_dbfs, clip.speech_level_dbfs
    if abs(level - stated) > LEVEL_TOLERANCE_DB:
        problems.append(f"{clip.id}.speech_level_dbfs: measured {level:.1f}, the manifest says {stated}")
    return problems


def _noisy_problems(corpus: Corpus, clip: Utterance, speech: _Speech) -> list[str]:
    problems = []
    mixed = read_pcm(clip, clip.sample_rate)
    shift_ms = _shift_ms(mixed, speech)
    if abs(shift_ms) > SHIFT_TOLERANCE_MS:
        problems.append(f"{clip.id}: its speech lies {shift_ms:+.2f} ms from the clean clip's; edges do not hold")
    snr_db = _snr_db(corpus, clip, mixed, speech)
    if snr_db is not None and clip.snr_db is not None and abs(snr_db - clip.snr_db) > SNR_TOLERANCE_DB:
        problems.append(f"{clip.id}.snr_db: measured {snr_db:.1f}, the manifest says {clip.snr_db:g}")
    return problems


def measure_snr_db(corpus: Corpus, clip: Utterance) -> float | None:
    """SNR of a noisy clip: P.56 level of its speech part over the RMS of its noise part.

    None where it cannot be measured: the clip names no offset, or no bed of that noise is shipped.
    """
    return _snr_db(corpus, clip, read_pcm(clip, clip.sample_rate), _Speech.of(corpus.clean_of(clip)))


def measure_shift_ms(corpus: Corpus, clip: Utterance) -> float:
    """By how much the clip's speech comes later than its clean clip's."""
    return _shift_ms(read_pcm(clip, clip.sample_rate), _Speech.of(corpus.clean_of(clip)))


def _snr_db(corpus: Corpus, clip: Utterance, mixed: Pcm, speech: _Speech) -> float | None:
    offset = next((tag.removeprefix(_OFFSET_TAG) for tag in clip.tags if tag.startswith(_OFFSET_TAG)), None)
    bed_path = corpus.directory / BEDS / f"{clip.noise}.opus"
    if offset is None or not bed_path.is_file():
        return None
    begin = int(offset) * clip.sample_rate // 1000
    noise = _bed(bed_path, clip.sample_rate)[begin : begin + len(mixed)]
    if len(noise) < len(mixed):
        raise ScenarioError(f"{clip.id}.tags: {_OFFSET_TAG}{offset} runs past the end of {bed_path}")
    speech_gain, noise_gain = _explain(mixed, speech.pcm, noise)
    return float(speech.level_dbfs + _db(speech_gain) - rms_dbfs(noise) - _db(noise_gain))


def _shift_ms(mixed: Pcm, speech: _Speech) -> float:
    """Peak of the cross-correlation over two seconds from the start of speech: plenty to find a shift in."""
    rate = speech.clip.sample_rate
    begin = round(speech.clip.speech_start_ms * rate / 1000)
    noisy, clean = (pcm[begin : begin + 2 * rate].astype(np.float64) for pcm in (mixed, speech.pcm))
    size = 1 << (2 * len(clean)).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(noisy, size) * np.conj(np.fft.rfft(clean, size)), size)
    lag = int(np.argmax(correlation))
    return (lag if lag < size // 2 else lag - size) * 1000 / rate


def _explain(mixed: Pcm, speech: Pcm, noise: Pcm) -> NDArray[np.floating]:
    """Gains (speech, noise) whose sum comes closest to `mixed`."""
    parts = np.stack([speech, noise]).astype(np.float64)
    gains: NDArray[np.floating] = np.linalg.solve(parts @ parts.T, parts @ mixed.astype(np.float64))
    return gains


def _db(gain: float) -> float:
    return 20 * float(np.log10(max(gain, 1e-6)))


@lru_cache(maxsize=4)
def _bed(path: Path, rate: int) -> Pcm:
    return decode_file(path, rate)
