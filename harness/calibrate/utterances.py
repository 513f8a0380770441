"""What the calibration's callers say: a small corpus, written anew, whose last voiced packet is beyond doubt.

Each utterance is voice at full level from its first sample to its last, and ends where a packet ends. So every payload
of its clip is a voiced one and every payload behind it is exact silence: no tail that a listener could take for speech,
or not. A codec that trails its packets by a delay (Opus, G.722) has utterances that much shorter.
"""

import hashlib
import json
import wave
from pathlib import Path

from harness.calibrate.voice import voiced
from harness.corpus.manifest import MANIFEST_NAME, SCHEMA_VERSION
from harness.media.codecs import PACKET_MS, Codec

PACKETS = (30, 37, 46, 52)


def longest_ms() -> float:
    """Return the length of the longest utterance on the wire."""
    return float(max(PACKETS) * PACKET_MS)


def write_corpus(directory: Path, codec: Codec) -> list[str]:
    """Write manifest and clips for `codec` into `directory`; return the utterances' ids."""
    directory.mkdir(parents=True, exist_ok=True)
    rows = [_write_utterance(directory, codec, packets) for packets in PACKETS]
    manifest = {"schema_version": SCHEMA_VERSION, "utterances": rows}
    (directory / MANIFEST_NAME).write_text(json.dumps(manifest), encoding="utf-8")
    return [str(row["id"]) for row in rows]


def _write_utterance(directory: Path, codec: Codec, packets: int) -> dict[str, object]:
    rate = codec.sample_rate
    samples = packets * codec.packet_samples - codec.delay
    name = f"voice-{packets}"
    path = directory / f"{name}.wav"
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(voiced(samples * 1000 / rate, rate)[:samples].astype("<i2").tobytes())
    return {
        "id": name,
        "base_id": name,
        "path": path.name,
        "transcript": "a voice without words",
        "accent": "synthetic",
        "native": True,
        "speaker": "harmonics",
        "noise": "clean",
        "snr_db": None,
        "speech_level_dbfs": -20.0,
        "speech_start_ms": 0.0,
        "speech_end_ms": samples * 1000 / rate,
        "duration_ms": samples * 1000 / rate,
        "sample_rate": rate,
        "vocabulary": "general",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "licence": "Apache-2.0",
    }
