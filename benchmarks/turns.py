"""What every caller of a comparison says: a turn a cycle, silence first, then speech until the cycle is over.

The echo of the speech stands for the agent's answer: its onset comes after the echo of the silence. In Opus a packet of
this speech has 80 bytes on average and one of silence three; Pion's callers send packets of those sizes.
"""

import argparse
from dataclasses import dataclass

import numpy as np

from harness.corpus.audio import read_pcm
from harness.corpus.manifest import load_corpus
from harness.media.clips import Clip, Pcm, encode_clip
from harness.media.codecs import PACKET_MS, Codec

UTTERANCE = "american-account-number"
CYCLE_PACKETS = 250
CYCLE_S = CYCLE_PACKETS * PACKET_MS / 1000
# In a call in which caller and agent take turns, with pauses between, each of them speaks for so much of it.
DEFAULT_TALK = 0.4
# A voice that swells is audible a packet sooner or later; one that is loud at once leaves no doubt about its onset.
_INTO_SPEECH_MS = 100
# A shorter silence would not end the echo's turn, a longer one leaves no speech.
_LEAST_TALK, _MOST_TALK = 0.1, 0.75


@dataclass(frozen=True, slots=True)
class Cycle:
    """One turn and the silence before it; `talk` is the share of the cycle that is speech."""

    talk: float = DEFAULT_TALK

    @property
    def quiet_packets(self) -> int:
        """Packets of silence."""
        return CYCLE_PACKETS - self.speech_packets

    @property
    def speech_packets(self) -> int:
        """Packets of speech."""
        return round(CYCLE_PACKETS * self.talk)

    def clip(self, codec: Codec) -> Clip:
        """Return the speech, encoded."""
        # The encoder's delay fills the last packet.
        samples = _spoken(codec.sample_rate, self.speech_packets * codec.packet_samples - codec.delay)
        return encode_clip(UTTERANCE, samples, 0.0, len(samples) * 1000 / codec.sample_rate, codec)

    def samples(self, rate: int) -> Pcm:
        """Return the whole cycle, not encoded; mono int16 at `rate`."""
        packet = PACKET_MS * rate // 1000
        silence = np.zeros(self.quiet_packets * packet, np.int16)
        return np.concatenate([silence, _spoken(rate, self.speech_packets * packet)])


def _spoken(rate: int, count: int) -> Pcm:
    """Return `count` samples of the shipped utterance, from where its voice is loud on; mono int16 at `rate`."""
    utterance = load_corpus().utterances[UTTERANCE]
    start = int((utterance.speech_start_ms + _INTO_SPEECH_MS) * rate / 1000)
    return read_pcm(utterance, rate)[start : start + count]


def talk_ratio(text: str) -> float:
    """Return the share of speech that an option names."""
    value = float(text)
    if not _LEAST_TALK <= value <= _MOST_TALK:
        raise argparse.ArgumentTypeError(f"'{text}' is not legal; legal: {_LEAST_TALK} to {_MOST_TALK}")
    return value


def add_talk_option(parser: argparse.ArgumentParser) -> None:
    """Add --talk."""
    parser.add_argument(
        "--talk",
        type=talk_ratio,
        default=DEFAULT_TALK,
        metavar="RATIO",
        help="share of the time that each side of a call speaks (%(default)s)",
    )
