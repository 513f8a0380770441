"""An agent's line in virtual time: real libopus encodes, silence of every kind, losses; and an ear that hears it."""

import ctypes
from dataclasses import dataclass, field

import numpy as np

from harness.media.hot import native
from harness.media.hot.ear import EAR, ear_packet, ear_poll, ear_start, make_ear_scratch
from harness.media.hot.jit import address_of, make_table
from harness.media.hot.opus_spoken import OPUS_MEMORY_BYTES

RATE = 48_000
PACKET_NS = 20_000_000
START_NS = 1_000_000_000_000
SILENCE_FRAME = b"\xf8\xff\xfe"

_opus = native._opus
_opus.opus_encoder_create.restype = ctypes.c_void_p
_opus.opus_encoder_create.argtypes = [ctypes.c_int32, ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
_opus.opus_encode.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_int32]
_opus.opus_encoder_destroy.argtypes = [ctypes.c_void_p]
_APPLICATIONS = {"voip": 2048, "audio": 2049, "lowdelay": 2051}
# opus_defines.h; FORCE_MODE is libopus's own.
_CTL = {
    "bitrate": 4002,
    "vbr": 4006,
    "bandwidth": 4008,
    "fec": 4012,
    "loss_percent": 4014,
    "dtx": 4016,
    "channels": 4022,
    "mode": 11002,
}
MODES = {"silk": 1000, "hybrid": 1001, "celt": 1002}


class Encoder:
    """libopus's encoder with every knob; 16-bit mono in (given to all channels), one payload a packet out."""

    def __init__(self, application="voip", *, rate=RATE, stereo=False, packet_ms=20, **controls):
        error = ctypes.c_int()
        self._channels = 2 if stereo else 1
        self.rate, self.samples = rate, int(rate * packet_ms / 1000)
        self._state = _opus.opus_encoder_create(rate, self._channels, _APPLICATIONS[application], ctypes.byref(error))
        assert error.value == 0
        for name, value in {"bitrate": 32_000, **controls}.items():
            control = ctypes.c_int(MODES.get(value, value))
            code = _opus.opus_encoder_ctl(ctypes.c_void_p(self._state), _CTL[name], control)
            assert code == 0, (name, value, code)
        self._out = ctypes.create_string_buffer(4000)
        lookahead = ctypes.c_int32()
        _opus.opus_encoder_ctl(ctypes.c_void_p(self._state), 4027, ctypes.byref(lookahead))
        # In samples at 48 kHz: how far the encoder is behind what it is given.
        self.lookahead = lookahead.value * RATE // rate

    def encode(self, pcm):
        """Return the payloads of int16 mono samples at 48 kHz, the last packet filled up with silence."""
        step = RATE // self.rate
        if step > 1:
            whole = pcm[: len(pcm) // step * step].astype(float).reshape(-1, step).mean(axis=1)
            pcm = whole.astype(np.int16)
        padded = np.zeros(-(-len(pcm) // self.samples) * self.samples, np.int16)
        padded[: len(pcm)] = pcm
        payloads = []
        for at in range(0, len(padded), self.samples):
            frame = np.repeat(padded[at : at + self.samples], self._channels)
            count = _opus.opus_encode(self._state, frame.ctypes.data, self.samples, self._out, 4000)
            assert count > 0
            payloads.append(self._out.raw[:count])
        return payloads

    def __del__(self):
        _opus.opus_encoder_destroy(self._state)


@dataclass
class Line:
    """What the agent sent: a payload, or None for nothing, per tick; and where audible speech begins and ends."""

    payloads: list = field(default_factory=list)
    first_voiced: list = field(default_factory=list)
    last_voiced: list = field(default_factory=list)
    packet_ms: int = 20


@dataclass
class Heard:
    """What the ear made of a line; in ticks."""

    onsets: list
    stops: list
    decoded: int
    skipped: int


class Listener:
    """One call's ear."""

    def __init__(self, codec=0, *, quiet_ms=300.0, by_size=False):
        self._memory = np.zeros(OPUS_MEMORY_BYTES, np.uint8)
        self._table = make_table(EAR, 1)
        self.row = self._table[0]
        self.scratch = make_ear_scratch()
        self._inbox = np.zeros(2048, np.uint8)
        ear_start(self.row, codec, int(quiet_ms * 1e6), int(by_size), address_of(self._memory))

    def packet(self, payload, extended, timestamp, at_ns, *, is_noise=False):
        """Hear one packet; return the onset in ns, 0 = none."""
        self._inbox[7 : 7 + len(payload)] = np.frombuffer(payload, np.uint8)
        return ear_packet(
            self.row, self._inbox, 7, len(payload), int(is_noise), extended, timestamp & 0xFFFFFFFF, at_ns, self.scratch
        )

    def poll(self, now_ns):
        """Return the end of speech in ns, 0 = none."""
        return ear_poll(self.row, now_ns, self.scratch)


def hear(line, *, lost=frozenset(), codec=0, ticks_per_ms=48, **options):
    """Deliver a line but for its lost packets, each at its due time, polled each tick; return what was heard."""
    listener = Listener(codec, **options)
    heard = Heard([], [], 0, 0)
    sequence = 65_500
    packet_ns = line.packet_ms * 1_000_000
    for tick, payload in enumerate(line.payloads):
        now_ns = START_NS + tick * packet_ns
        if payload is not None:
            sequence += 1
            if tick not in lost:
                timestamp = 0xFFFF0000 + tick * line.packet_ms * ticks_per_ms
                onset_ns = listener.packet(payload, sequence, timestamp, now_ns)
                if onset_ns:
                    heard.onsets.append((onset_ns - START_NS) / packet_ns)
        stopped_ns = listener.poll(now_ns + 1_000_000)
        if stopped_ns:
            heard.stops.append((stopped_ns - START_NS) / packet_ns)
    heard.decoded, heard.skipped = int(listener.row.decoded), int(listener.row.skipped)
    return heard
