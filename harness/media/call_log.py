"""What a recording alone cannot tell, kept in the file beside the audio: when packets left and came.

In a file the agent's audio lies by RTP time, smooth; the figures of a call go by when each packet was there, by the
packet that carried the last voiced sample, and by which packet the call's ear took for an onset. The log is a comment
of the FLAC file (`CALLQUAKE_CALL`): JSON, deflated, in base64. Any player ignores it; `callquake analyze` reads it; a
file that was converted has lost it.
"""

import base64
import binascii
import json
import zlib
from dataclasses import dataclass

COMMENT = "CALLQUAKE_CALL"
VERSION = 2
# Files of version 1 do not say what the ear told.
_READ = (1, VERSION)


@dataclass(frozen=True, slots=True)
class SpokenClip:
    """One utterance of the caller, ms from the file's first sample: when the packets with its speech's edges left."""

    utterance_id: str
    at_ms: float
    speech_start_ms: float
    speech_end_ms: float


@dataclass(frozen=True, slots=True)
class HeardPacket:
    """One packet of the agent: where its audio lies in the file, and when it was there."""

    at_ms: float
    arrived_ms: float
    length_ms: float


@dataclass(frozen=True, slots=True)
class CallLog:
    """Both sides of a recorded call."""

    clips: tuple[SpokenClip, ...]
    packets: tuple[HeardPacket, ...]
    # What the call's ear told: arrivals of the packets that began the agent's speech, and of its last audible ones.
    onsets: tuple[float, ...] = ()
    stops: tuple[float, ...] = ()

    def to_comment(self) -> str:
        """Return the comment's text."""
        clips = [[c.utterance_id, _ms(c.at_ms), _ms(c.speech_start_ms), _ms(c.speech_end_ms)] for c in self.clips]
        packets, before = [], 0.0
        for packet in self.packets:
            # Steps and delays repeat, so they deflate well; places do not.
            packets.append([_ms(packet.at_ms - before), _ms(packet.arrived_ms - packet.at_ms), _ms(packet.length_ms)])
            before = _ms(before + packets[-1][0])
        told = {"onsets": [_ms(at) for at in self.onsets], "stops": [_ms(at) for at in self.stops]}
        text = json.dumps({"version": VERSION, "clips": clips, "packets": packets, **told}, separators=(",", ":"))
        return base64.b64encode(zlib.compress(text.encode(), 9)).decode()

    @classmethod
    def from_comment(cls, comment: str) -> "CallLog | None":
        """Read a comment; None where it is none of ours, or damaged."""
        try:
            told = json.loads(zlib.decompress(base64.b64decode(comment, validate=True)))
            if told["version"] not in _READ:
                return None
            clips = tuple(
                SpokenClip(str(i), float(at), float(start), float(end)) for i, at, start, end in told["clips"]
            )
            packets, at_ms = [], 0.0
            for step, delay, length in told["packets"]:
                at_ms = _ms(at_ms + step)
                packets.append(HeardPacket(at_ms, _ms(at_ms + delay), float(length)))
            onsets, stops = (tuple(float(at) for at in told.get(name, ())) for name in ("onsets", "stops"))
        except (binascii.Error, zlib.error, ValueError, KeyError, TypeError, AttributeError):
            return None
        return cls(clips, tuple(packets), onsets, stops)


def _ms(value: float) -> float:
    return round(value, 2)
