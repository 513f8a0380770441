"""Speech in a room: the image source method (Allen and Berkley 1979), by pyroomacoustics.

The direct sound stays where the dry speech was, so the edges of speech hold. What rings after the dry speech's end is
the room, not speech; a clip is lengthened by the time in which it falls 30 dB.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.corpus.audio import Pcm
from harness.corpus.conditions.room_spec import SPEED_OF_SOUND, RoomSpec
from harness.corpus.conditions.speech_level import quick_speech_level
from harness.model.errors import ScenarioError

RATE = 48000
_FRAME = RATE // 50
# The walls are found at this rate: enough for the octaves in which an RT60 is stated, and cheap.
_TRIAL_RATE = 8000
_TRIALS = 4
_CLOSE_ENOUGH = 0.02
_OCTAVES_HZ = (355.0, 1414.0)
_FADE_S = 0.02


def reverberant_samples(room: RoomSpec, samples: int) -> int:
    """How long a clip of `samples` at 48 kHz gets in the room: 30 dB of its decay longer, in whole 20 ms frames."""
    return -(-(samples + round(room.rt60_s / 2 * RATE)) // _FRAME) * _FRAME


def in_room(room: RoomSpec, clean: Pcm) -> NDArray[np.float64]:
    """Speech as the microphone gets it, int16 units, shape (reverberant_samples,), at the clean clip's P.56 level.

    Raises ScenarioError where pyroomacoustics is not installed.
    """
    response, direct = impulse_response(room)
    from scipy.signal import oaconvolve  # noqa: PLC0415  of the corpus extra, at hand where the room is

    count = reverberant_samples(room, len(clean))
    whole = oaconvolve(np.pad(clean.astype(np.float64), (0, count)), response)
    wet = whole[direct : direct + count]
    fade = round(_FADE_S * RATE)
    wet[-fade:] *= np.linspace(1, 0, fade)
    # 16 bits of room for the measurement; the level is set by what it finds.
    wet *= np.max(np.abs(clean.astype(np.float64))) / max(float(np.max(np.abs(wet))), 1e-9)
    gain_db = quick_speech_level(clean).active_dbfs - quick_speech_level(np.round(wet).astype(np.int16)).active_dbfs
    return np.asarray(wet * 10 ** (gain_db / 20))


@lru_cache(maxsize=16)
def impulse_response(room: RoomSpec) -> tuple[NDArray[np.float64], int]:
    """Return the room's response at 48 kHz, shape (taps,), and the tap at which the direct sound arrives."""
    acoustics = _pyroomacoustics()
    response = _response(acoustics, room, _absorption(acoustics, room), RATE)
    delay = room.distance_m / SPEED_OF_SOUND * RATE + acoustics.constants.get("frac_delay_length") // 2
    return response, round(delay)


def _absorption(acoustics: Any, room: RoomSpec) -> float:
    """Find how much the walls absorb by measuring the RT60 they give, since Sabine's formula is off by a fifth."""
    absorption = float(acoustics.inverse_sabine(room.rt60_s, room.size_m)[0])
    for _ in range(_TRIALS):
        response = _mid_octaves(_response(acoustics, room, absorption, _TRIAL_RATE), _TRIAL_RATE)
        measured = float(acoustics.experimental.measure_rt60(response, _TRIAL_RATE, decay_db=30))
        if abs(measured / room.rt60_s - 1) < _CLOSE_ENOUGH:
            break
        # Eyring: the RT60 goes as one over the logarithm of what a wall leaves.
        absorption = 1 - (1 - absorption) ** (measured / room.rt60_s)
    return absorption


def _response(acoustics: Any, room: RoomSpec, absorption: float, rate: int) -> NDArray[np.float64]:
    # As many reflections as fit into the RT60 along the room's shortest way between two walls.
    order = int(acoustics.inverse_sabine(room.rt60_s, room.size_m)[1])
    talker, microphone = room.placed()
    threads = acoustics.constants.get("num_threads")
    # Sums of floats depend on how many threads share them.
    acoustics.constants.set("num_threads", 1)
    try:
        shoebox = acoustics.ShoeBox(
            room.size_m, fs=rate, materials=acoustics.Material(absorption), max_order=order, air_absorption=False
        )
        shoebox.add_source(talker)
        shoebox.add_microphone(microphone)
        shoebox.compute_rir()
    finally:
        acoustics.constants.set("num_threads", threads)
    return np.asarray(shoebox.rir[0][0], np.float64)


def _mid_octaves(x: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    hz = np.fft.rfftfreq(2 * len(x), 1 / rate)
    low, high = (hz / _OCTAVES_HZ[0]) ** 8, (hz / _OCTAVES_HZ[1]) ** 8
    return np.fft.irfft(np.fft.rfft(x, 2 * len(x)) * low / (1 + low) / (1 + high))[: len(x)]


def _pyroomacoustics() -> Any:
    try:
        import pyroomacoustics as acoustics  # noqa: PLC0415  of the corpus extra, and heavy
        import pyroomacoustics.experimental  # noqa: PLC0415  same
    except ImportError as error:
        raise ScenarioError(f"rooms need `pip install -e '.[corpus]'` in the checkout: {error}") from error
    return acoustics
