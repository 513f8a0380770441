"""Echo in one call: what the agent says, as it is sent, against what the caller's side sends back. Pure; no clock.

    sent(frame, now) ─► timeline of what was said ─┐
    hear(packet, now) ─► timeline of what is heard ─┴─► not found yet: the last 200 ms are looked for in the last 1.2 s
                                                        found: what is no louder than the echo must be is muted

Whoever is heard over the echo is louder than it, or does not correlate with what was said, and passes. Times are those
of this process; the delay that is found has network, jitter buffer and room in it.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from harness.model.clock import NS_PER_S
from target_stack.echo.correlation import Floats, Match, best_match
from target_stack.frames import INPUT_RATE, SPEECH_RATE, Pcm

# Of the timelines: speech below 2 kHz is enough to find a copy by, and costs a quarter.
RATE = 4000
_SAID_STEP, _HEARD_STEP = SPEECH_RATE // RATE, INPUT_RATE // RATE
# What is looked for, and how long ago it may have been said.
WINDOW = RATE // 5
MOST_DELAY = RATE
_KEPT = 2 * (WINDOW + MOST_DELAY)
# Packets come unevenly: a timeline is set anew only where it is this far off.
_UNEVEN = RATE * 6 // 100
# RMS of what can be an echo that somebody's voice detector takes for speech: -52 dBFS.
_AUDIBLE = 82.0**2
# Audible for so long before it is looked for at all; then again each time so much more has come.
_FIRST_LOOK, _NEXT_LOOK = RATE * 12 // 100, RATE * 4 // 100
# While the agent speaks on and nothing like an echo shows, a look waits for a twentieth of what was looked through in
# vain, up to half the window: a caller who talks, or a noisy line, is not compared anew with every other packet.
_VAIN_SHARE, _SLOWEST_LOOK = 20, WINDOW // 2
_CHECK_EVERY = RATE * 4 // 10
# One match of this strength is an echo; or two of the lesser one at the same delay, of different pieces.
STRONG, FAIR = 0.7, 0.35
_SAME_DELAY = RATE * 2 // 1000
# A copy is one without whitening, too.
_ALIKE = 0.35
_DIFFERENT = WINDOW * 2 // 5
# A check this weak, while the caller is being muted, speaks against the echo; so many in a row end it.
_WEAK, _MOST_WEAK = 0.2, 3
# How much louder than expected an echo may be: rooms and codecs are uneven; above the first only what correlates.
_SURELY, _POSSIBLY = 1.6, 10.0
# Correlation of 100 ms of echo, to begin with; and the share of what is usual in this call that makes a copy.
_USUAL, _COPY_SHARE = 0.8, 0.8
# So much of what was said in the last _TAIL still sounds in the room.
_TAIL_SHARE = 0.1
_BLOCK = RATE // 200
# How far the delay may be off while nobody has looked again.
_SLACK = RATE * 6 // 1000
# Of the room: how long after it was said something may still sound.
_TAIL = RATE * 8 // 100


class Change(Enum):
    """What a piece has brought."""

    FOUND = "found"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class EchoPath:
    """`delay_ms`: from sending to hearing it again; `gain_db`: by how much it is louder (below 0: quieter)."""

    delay_ms: float
    gain_db: float
    strength: float


class _Timeline:
    """The last _KEPT samples of a signal, by their place in time."""

    def __init__(self) -> None:
        self.samples: Floats = np.zeros(_KEPT, np.float32)
        # The place behind the last sample.
        self.end = 0

    def put(self, samples: Floats, place: int) -> None:
        """Add samples that begin about at `place`: behind the last ones, unless that is far off."""
        if place - self.end > _UNEVEN:
            self.advance(place)
        self._shift(len(samples))
        self.samples[-len(samples) :] = samples

    def advance(self, place: int) -> None:
        """Let silence stand up to `place`."""
        if place > self.end:
            self._shift(place - self.end)

    def _shift(self, count: int) -> None:
        self.end += count
        if count >= _KEPT:
            self.samples[:] = 0
            return
        self.samples[:-count] = self.samples[count:]
        self.samples[-count:] = 0

    def piece(self, begin: int, end: int) -> Floats:
        """Return the samples from `begin` to `end`, silence where there are none."""
        at = _KEPT - (self.end - begin)
        length = end - begin
        if at >= 0 and end <= self.end:
            return self.samples[at : at + length]
        found: Floats = np.zeros(length, np.float32)
        first, last = max(begin, self.end - _KEPT), min(end, self.end)
        if last > first:
            found[first - begin : last - begin] = self.samples[_KEPT - (self.end - first) : _KEPT - (self.end - last)]
        return found


class EchoDetector:
    """One call. `sent` with each frame of speech as it leaves, `hear` with each piece of the caller's audio."""

    def __init__(self) -> None:
        self._said = _Timeline()
        self._heard = _Timeline()
        self._began_ns: int | None = None
        # Where the last audible thing was said, and how much of what is heard since was audible.
        self._said_until = -_KEPT
        self._audible = 0
        self._looked_at = 0
        # Audible since the agent began to speak, or since something like an echo showed.
        self._in_vain = 0
        self._fair: tuple[int, Match] | None = None
        self._path: Match | None = None
        self._weak = 0
        self._usual = _USUAL
        self.muted_ms = 0.0

    @property
    def path(self) -> EchoPath | None:
        """The echo that is known of, None without one."""
        if self._path is None:
            return None
        gain_db = 20 * float(np.log10(max(self._path.gain, 1e-6)))
        return EchoPath(self._path.lag * 1000 / RATE, gain_db, self._path.strength)

    def sent(self, samples: Pcm, now_ns: int) -> None:
        """Take a frame that leaves now: int16 mono at SPEECH_RATE, whole milliseconds of it."""
        said = samples.reshape(-1, _SAID_STEP).mean(axis=1, dtype=np.float32)
        self._said.put(said, self._place(now_ns))
        if float(np.dot(said, said)) > _AUDIBLE * len(said):
            if self._said.end - self._said_until > MOST_DELAY + _TAIL:
                self._in_vain = 0
            self._said_until = self._said.end

    def hear(self, samples: Pcm, now_ns: int) -> tuple[Pcm, Change | None]:
        """Take what has just come, int16 mono at INPUT_RATE; return it, or silence for it, and what is news."""
        whole = len(samples) - len(samples) % _HEARD_STEP
        if not whole:
            return samples, None
        heard = samples[:whole].reshape(-1, _HEARD_STEP).mean(axis=1, dtype=np.float32)
        self._heard.put(heard, self._place(now_ns) - len(heard))
        power = float(np.dot(heard, heard)) / len(heard)
        if power <= _AUDIBLE or self._heard.end - self._said_until > MOST_DELAY + _TAIL:
            # Nobody speaks, or nothing was said that could come back.
            if power > _AUDIBLE:
                self._audible = 0
            return samples, None
        self._audible += len(heard)
        self._in_vain += len(heard)
        self._said.advance(self._heard.end)
        change = self._check() if self._path is not None else self._look()
        if self._path is not None and self._is_echo(self._path, len(heard), power):
            self.muted_ms += len(samples) * 1000 / INPUT_RATE
            return np.zeros(len(samples), np.int16), change
        return samples, change

    def _place(self, now_ns: int) -> int:
        if self._began_ns is None:
            self._began_ns = now_ns
        return (now_ns - self._began_ns) * RATE // NS_PER_S

    # --- finding it ---

    def _look(self) -> Change | None:
        wait = min(max(_NEXT_LOOK, self._in_vain // _VAIN_SHARE), _SLOWEST_LOOK)
        if self._audible < _FIRST_LOOK or self._heard.end - self._looked_at < wait:
            return None
        match = self._match()
        before, self._fair = self._fair, None
        # The less there is to compare, the more of it chance makes alike.
        scale = max(1.0, (WINDOW / self._audible) ** 0.5)
        if match is None or match.strength < FAIR * scale or self._alikeness(match) < _ALIKE:
            return None
        self._in_vain = 0
        if match.strength < STRONG * scale and not self._confirms(match, before):
            # The older one stays: the next look is of a piece that has less of it.
            self._fair = before if before is not None and self._is_same(match, before) else (self._heard.end, match)
            return None
        self._path, self._weak = self._measured(match), 0
        return Change.FOUND

    def _confirms(self, match: Match, before: tuple[int, Match] | None) -> bool:
        return before is not None and self._is_same(match, before) and self._heard.end - before[0] >= _DIFFERENT

    def _is_same(self, match: Match, before: tuple[int, Match]) -> bool:
        return abs(match.lag - before[1].lag) <= _SAME_DELAY

    def _match(self) -> Match | None:
        self._looked_at = end = self._heard.end
        heard = self._heard.piece(end - WINDOW, end)
        return best_match(heard, self._said.piece(end - WINDOW - MOST_DELAY, end))

    def _alikeness(self, match: Match) -> float:
        end = self._heard.end
        heard = self._heard.piece(end - WINDOW, end)
        said = self._said.piece(end - WINDOW - match.lag, end - match.lag)
        return match.gain * float(np.sqrt(np.dot(said, said) / (np.dot(heard, heard) + 1e-9)))

    def _measured(self, match: Match) -> Match:
        """Return the match with a gain that has the room in it: by power, but not that of a voice beside the echo."""
        end = self._heard.end
        heard = self._heard.piece(end - WINDOW, end)
        said = self._said.piece(end - WINDOW - match.lag, end - match.lag)
        by_power = float(np.sqrt(np.dot(heard, heard) / (np.dot(said, said) + 1e-9)))
        return Match(match.lag, match.strength, min(by_power, 3 * match.gain))

    # --- living with it ---

    def _check(self) -> Change | None:
        """Look every now and then whether it is still there; follow it where it moves."""
        assert self._path is not None
        if self._heard.end - self._looked_at < _CHECK_EVERY:
            return None
        match = self._match()
        if match is not None and match.strength >= FAIR:
            measured = self._measured(match)
            # Louder at once, quieter slowly: an echo that is taken for a caller does more harm.
            gain = max(measured.gain, 0.8 * self._path.gain + 0.2 * measured.gain)
            self._path, self._weak = Match(match.lag, match.strength, gain), 0
        elif match is not None and match.strength < _WEAK:
            self._weak += 1
            if self._weak > _MOST_WEAK:
                self._path, self._fair, self._audible, self._in_vain = None, None, 0, 0
                return Change.LOST
        return None

    def _is_echo(self, path: Match, count: int, power: float) -> bool:
        """Tell whether what has just come is the echo alone: as loud as that must be, or a copy of what was said."""
        end = self._heard.end - path.lag
        said = self._said.piece(end - count - _TAIL, end + _SLACK)
        blocks = (said[: len(said) // _BLOCK * _BLOCK].reshape(-1, _BLOCK) ** 2).mean(axis=1) * path.gain**2
        now = float(blocks[-(count + _SLACK) // _BLOCK :].max())
        expected = max(now, _TAIL_SHARE * float(blocks.max()))
        if power <= _SURELY * expected:
            return True
        coherence = self._coherence(path)
        is_copy = coherence >= _COPY_SHARE * self._usual
        if is_copy:
            self._usual += 0.05 * (coherence - self._usual)
        return is_copy and power <= _POSSIBLY * expected

    def _coherence(self, path: Match) -> float:
        """Return how much of the last 100 ms is a copy of what was said, -1 to 1, at about the known delay."""
        end, length = self._heard.end, WINDOW // 2
        heard = self._heard.piece(end - length, end)
        said = self._said.piece(end - path.lag - length - _SLACK, end - path.lag + _SLACK)
        products = np.correlate(said, heard, "valid")
        energies = np.convolve(said**2, np.ones(length, np.float32), "valid")
        return float((products / np.sqrt(energies * float(np.dot(heard, heard)) + 1e-9)).max())
