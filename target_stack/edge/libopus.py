"""libopus itself, at 16 kHz mono, as an agent's ear wants it: a third of the time of decoding 48 kHz and resampling.

PyAV's wheel carries the library; FFmpeg's decoder, which PyAV reaches, knows 48 kHz only.
"""

import ctypes
import ctypes.util
from functools import lru_cache
from pathlib import Path

import av
import numpy as np

from target_stack.frames import INPUT_RATE, Pcm

# An Opus packet holds at most 120 ms (RFC 6716 3.2.5).
_MOST_SAMPLES = INPUT_RATE * 120 // 1000
_OK = 0


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    folder = Path(av.__file__).parent
    found = [*sorted(folder.parent.glob("av.libs/libopus*")), *sorted(folder.glob(".dylibs/libopus*"))]
    name = str(found[0]) if found else ctypes.util.find_library("opus")
    if name is None:
        raise ImportError("no libopus: PyAV's wheel carries none and the system has none (apt install libopus0)")
    library = ctypes.CDLL(name)
    pointer, number = ctypes.c_void_p, ctypes.c_int
    library.opus_decoder_init.argtypes = [pointer, ctypes.c_int32, number]
    library.opus_decode.argtypes = [pointer, ctypes.c_char_p, ctypes.c_int32, pointer, number, number]
    return library


class OpusDecoder:
    """One stream's decoder: a packet's samples at INPUT_RATE, mono."""

    def __init__(self) -> None:
        library = _library()
        self._state = ctypes.create_string_buffer(library.opus_decoder_get_size(1))
        if library.opus_decoder_init(self._state, INPUT_RATE, 1) != _OK:
            raise RuntimeError("libopus makes no decoder")
        self._decode = library.opus_decode
        self._samples = np.zeros(_MOST_SAMPLES, np.int16)
        self._address = self._samples.ctypes.data

    def decode(self, payload: bytes) -> Pcm | None:
        """Return the packet's samples, None for what is no Opus."""
        count: int = self._decode(self._state, payload, len(payload), self._address, _MOST_SAMPLES, 0)
        return None if count < 0 else self._samples[:count].copy()
