"""What every caller of a comparison says: a turn a cycle, a second of silence and four of speech.

The echo of the speech stands for the agent's answer: its onset comes after the echo of the silence. In Opus a packet of
this speech has 80 bytes on average and one of silence three; Pion's callers send packets of those sizes.
"""

import numpy as np

from harness.corpus.audio import read_pcm
from harness.corpus.manifest import load_corpus
from harness.media.clips import Clip, Pcm, encode_clip
from harness.media.codecs import PACKET_MS, Codec

UTTERANCE = "american-account-number"
QUIET_PACKETS = 50
CYCLE_PACKETS = 250
CYCLE_S = CYCLE_PACKETS * PACKET_MS / 1000
_SPEECH_MS = (CYCLE_PACKETS - QUIET_PACKETS) * PACKET_MS


def spoken(rate: int, count: int) -> Pcm:
    """Return the first `count` samples of the shipped utterance from its first voiced one on; mono int16 at `rate`."""
    utterance = load_corpus().utterances[UTTERANCE]
    start = int(utterance.speech_start_ms * rate / 1000)
    return read_pcm(utterance, rate)[start : start + count]


def speech(codec: Codec) -> Clip:
    """Return a cycle's speech, encoded."""
    # The encoder's delay fills the last packet.
    samples = spoken(codec.sample_rate, _SPEECH_MS * codec.sample_rate // 1000 - codec.delay)
    return encode_clip(UTTERANCE, samples, 0.0, len(samples) * 1000 / codec.sample_rate, codec)


def cycle(rate: int) -> Pcm:
    """Return a whole cycle, silence first, not encoded; mono int16 at `rate`."""
    silence = np.zeros(QUIET_PACKETS * PACKET_MS * rate // 1000, np.int16)
    return np.concatenate([silence, spoken(rate, _SPEECH_MS * rate // 1000)])
