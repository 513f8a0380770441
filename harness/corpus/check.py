"""Is the corpus what its manifest says? Every clip measured again, and the noise in it.

The SNR of a coded clip cannot be read from its difference to the clean clip: at 15 dB the codec's own error is as
loud as the noise. So the clip is explained, by least squares, as so much of the clean clip and so much of the shipped
noise bed from the offset its tags name; the codec's error belongs to neither.
"""

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


def find_problems(corpus: Corpus) -> list[str]:
    """One line per disagreement between manifest and files: hash, length, edges, level, SNR, shift, stray files."""
    problems: list[str] = []
    for clip in corpus.utterances.values():
        try:
            verify_clip(clip)
            found = _clean_problems(clip) if clip.noise == CLEAN else _noisy_problems(corpus, clip)
        except ScenarioError as error:
            found = [str(error)]
        problems += found
    listed = {clip.file for clip in corpus.utterances.values()}
    folders = {file.parent for file in listed}
    strays = sorted(file for folder in folders for file in folder.iterdir() if file.is_file() and file not in listed)
    return problems + [f"{file}: not in the manifest" for file in strays if file.name not in _NOT_CLIPS]


_NOT_CLIPS = frozenset({"manifest.json", "recipe.yaml"})


def _clean_problems(clip: Utterance) -> list[str]:
    pcm = read_pcm(clip, clip.sample_rate)
    problems = []
    edges = find_edges(pcm, clip.sample_rate)
    if edges is None:
        return [f"{clip.id}: no speech found"]
    for name, measured in (("speech_start_ms", edges.start_ms), ("speech_end_ms", edges.end_ms)):
        stated = getattr(clip, name)
        if abs(measured - stated) > EDGE_TOLERANCE_MS:
            problems.append(f"{clip.id}.{name}: measured {measured:.0f} ms, the manifest says {stated:.0f} ms")
    level = active_speech_level(pcm, clip.sample_rate).active_dbfs
    if abs(level - clip.speech_level_dbfs) > LEVEL_TOLERANCE_DB:
        problems.append(
            f"{clip.id}.speech_level_dbfs: measured {level:.1f}, the manifest says {clip.speech_level_dbfs}"
        )
    return problems


def _noisy_problems(corpus: Corpus, clip: Utterance) -> list[str]:
    problems = []
    shift_ms = measure_shift_ms(corpus, clip)
    if abs(shift_ms) > SHIFT_TOLERANCE_MS:
        problems.append(f"{clip.id}: its speech lies {shift_ms:+.2f} ms from the clean clip's; edges do not hold")
    snr_db = measure_snr_db(corpus, clip)
    if snr_db is not None and clip.snr_db is not None and abs(snr_db - clip.snr_db) > SNR_TOLERANCE_DB:
        problems.append(f"{clip.id}.snr_db: measured {snr_db:.1f}, the manifest says {clip.snr_db:g}")
    return problems


def measure_snr_db(corpus: Corpus, clip: Utterance) -> float | None:
    """SNR of a noisy clip: P.56 level of its speech part over the RMS of its noise part.

    None where it cannot be measured: the clip names no offset, or no bed of that noise is shipped.
    """
    offset = next((tag.removeprefix(_OFFSET_TAG) for tag in clip.tags if tag.startswith(_OFFSET_TAG)), None)
    bed_path = corpus.directory / BEDS / f"{clip.noise}.opus"
    if offset is None or not bed_path.is_file():
        return None
    speech = read_pcm(corpus.clean_of(clip), clip.sample_rate)
    begin = int(offset) * clip.sample_rate // 1000
    noise = _bed(bed_path, clip.sample_rate)[begin : begin + len(speech)]
    if len(noise) < len(speech):
        raise ScenarioError(f"{clip.id}.tags: {_OFFSET_TAG}{offset} runs past the end of {bed_path}")
    speech_gain, noise_gain = _explain(read_pcm(clip, clip.sample_rate), speech, noise)
    level = active_speech_level(speech, clip.sample_rate).active_dbfs
    return float(level + _db(speech_gain) - rms_dbfs(noise) - _db(noise_gain))


def measure_shift_ms(corpus: Corpus, clip: Utterance) -> float:
    """By how much the clip's speech comes later than its clean clip's, from the peak of their cross-correlation."""
    noisy = read_pcm(clip, clip.sample_rate).astype(np.float64)
    clean = read_pcm(corpus.clean_of(clip), clip.sample_rate).astype(np.float64)
    size = 1 << (2 * len(clean)).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(noisy, size) * np.conj(np.fft.rfft(clean, size)), size)
    lag = int(np.argmax(correlation))
    return (lag if lag < size // 2 else lag - size) * 1000 / clip.sample_rate


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
