"""A growing WAV file: int16 mono, written at places on a timeline, whole and readable after each write."""

import os
import struct
from pathlib import Path
from typing import IO

from target_stack.frames import Pcm

HEADER_BYTES = 44
_SAMPLE_BYTES = 2


def _header(rate: int, data_bytes: int) -> bytes:
    """Return RIFF, fmt and data headers (Microsoft RIFF specification, PCM)."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * _SAMPLE_BYTES, _SAMPLE_BYTES, 16)
    return b"RIFF" + struct.pack("<I", 36 + data_bytes) + b"WAVE" + form + b"data" + struct.pack("<I", data_bytes)


class WavFile:
    """What was never written to is silence."""

    def __init__(self, path: Path, rate: int) -> None:
        self._rate = rate
        self._samples = 0
        self._file: IO[bytes] = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._file.write(_header(rate, 0))
        self._file.flush()

    def write(self, at_sample: int, samples: Pcm) -> None:
        """Put samples at `at_sample`."""
        self._file.seek(HEADER_BYTES + at_sample * _SAMPLE_BYTES)
        self._file.write(samples.astype("<i2").tobytes())
        self._samples = max(self._samples, at_sample + len(samples))
        self._file.seek(0)
        self._file.write(_header(self._rate, self._samples * _SAMPLE_BYTES))
        self._file.flush()

    def fileno(self) -> int:
        """Return the open file's descriptor."""
        return self._file.fileno()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
