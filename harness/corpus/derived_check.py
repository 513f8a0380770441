"""Is a derived clip its clean clip under the condition it names? Its speech's place and its SNR, measured."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.corpus.audio import Pcm, decode_file, read_pcm, resample
from harness.corpus.conditions.beds import bed_from
from harness.corpus.conditions.channels import phone_band
from harness.corpus.conditions.names import CLEAN
from harness.corpus.conditions.remeasure import MeasuredSnr, measure_snr
from harness.corpus.entry import OFFSET_TAG, STORED_SNR_TAG, Utterance
from harness.corpus.manifest import Corpus
from harness.model.errors import ScenarioError

RATE = 48000
# Speech of a derived clip lies where the clean clip's does, to this.
SHIFT_TOLERANCE_MS = 1.0
BEDS = "noise"
# Two seconds from the start of speech: plenty to find a shift in.
_COMPARED_S = 2
_COMPARED_RATE = 16000
# Of the mean power: frequencies with less of the voice in them say less.
_REGULAR = 0.3


def derived_problems(corpus: Corpus, clip: Utterance, clean: Pcm) -> list[str]:
    """One line per disagreement of a derived clip with its clean clip, whose samples at 48 kHz are `clean`.

    A condition after which the SNR cannot be found again (a vocoder, clipping) is not accused of any. Raises
    ScenarioError where the clip or its bed cannot be read.
    """
    mixed = read_pcm(clip, RATE)
    problems = []
    shift_ms = _shift_ms(mixed, clean, clip.speech_start_ms)
    if abs(shift_ms) > SHIFT_TOLERANCE_MS:
        problems.append(f"{clip.id}: its speech lies {shift_ms:+.2f} ms from the clean clip's; edges do not hold")
    found = _snr(corpus, clip, mixed, clean)
    if found is not None and clip.snr_db is not None and abs(found.snr_db - clip.snr_db) > found.tolerance_db:
        problems.append(f"{clip.id}.snr_db: measured {found.snr_db:.1f}, the manifest says {clip.snr_db:g}")
    stored = _tagged(clip, STORED_SNR_TAG)
    if stored is not None and (found is None or f"{found.snr_db:.1f}" != stored):
        measured = "cannot be measured" if found is None else f"measured {found.snr_db:.1f}"
        problems.append(f"{clip.id}.tags: {measured}, {STORED_SNR_TAG}{stored} is stated")
    return problems


def measure_snr_db(corpus: Corpus, clip: Utterance) -> float | None:
    """SNR of a noisy clip in its channel's band: P.56 level of its speech part over the RMS of its noise part.

    None where it cannot be measured: the clip names no offset, no bed of that noise is shipped, or the condition has
    changed the noise beyond recognition.
    """
    found = _snr(corpus, clip, read_pcm(clip, RATE), read_pcm(corpus.clean_of(clip), RATE))
    return None if found is None else found.snr_db


def measure_shift_ms(corpus: Corpus, clip: Utterance) -> float:
    """By how much the clip's speech comes later than its clean clip's."""
    return _shift_ms(read_pcm(clip, RATE), read_pcm(corpus.clean_of(clip), RATE), clip.speech_start_ms)


def _snr(corpus: Corpus, clip: Utterance, mixed: Pcm, clean: Pcm) -> MeasuredSnr | None:
    offset = _tagged(clip, OFFSET_TAG)
    bed_path = corpus.directory / BEDS / f"{clip.noise}.opus"
    if clip.noise == CLEAN or offset is None or not bed_path.is_file():
        return None
    if not offset.isdigit():
        raise ScenarioError(f"{clip.id}.tags: {OFFSET_TAG}{offset}; legal: {OFFSET_TAG} and a whole number of ms")
    noise = bed_from(_bed(bed_path), int(offset), len(mixed))
    return measure_snr(mixed, clean, noise, room=clip.room, distortion=clip.distortion, channel=clip.channel)


def _tagged(clip: Utterance, name: str) -> str | None:
    return next((tag.removeprefix(name) for tag in clip.tags if tag.startswith(name)), None)


def _shift_ms(mixed: Pcm, clean: Pcm, start_ms: float) -> float:
    """Peak of what lies between both clips as an impulse response, from 300 to 3400 Hz.

    A plain cross-correlation finds the voice's next period behind a vocoder, and a wall's echo in a hall.
    """
    begin = round(start_ms * RATE / 1000)
    heard, said = (_telephone(pcm[begin : begin + _COMPARED_S * RATE]) for pcm in (mixed, clean))
    size = 1 << (2 * max(len(heard), len(said))).bit_length()
    spectrum = np.fft.rfft(said, size)
    power = np.abs(spectrum) ** 2
    response = np.fft.rfft(heard, size) * np.conj(spectrum) / (power + _REGULAR * np.mean(power) + 1e-9)
    lag = int(np.argmax(np.fft.irfft(response, size)))
    return (lag if lag < size // 2 else lag - size) * 1000 / _COMPARED_RATE


def _telephone(pcm: Pcm) -> NDArray[np.float64]:
    return phone_band(resample(pcm, RATE, _COMPARED_RATE), _COMPARED_RATE).astype(np.float64)


@lru_cache(maxsize=16)
def _bed(path: Path) -> Pcm:
    return decode_file(path, RATE)
