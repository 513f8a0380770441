"""P.56 levels at 16 kHz: above 8 kHz speech has nothing that its level would notice, and it is three times as fast."""

from harness.corpus.audio import Pcm, resample
from harness.corpus.levels import SpeechLevel, active_speech_level

_RATE = 48000
_LEVEL_RATE = 16000


def quick_speech_level(pcm: Pcm) -> SpeechLevel:
    """Active speech level of 48 kHz samples, to 0.1 dB."""
    return active_speech_level(resample(pcm, _RATE, _LEVEL_RATE), _LEVEL_RATE)
