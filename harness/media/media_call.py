"""One call's media while it lasts: what it may be told, and what it has counted."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from harness.media.background_line import BackgroundLine
from harness.media.call_counts import Impaired
from harness.media.clips import Clip
from harness.media.codecs import Codec
from harness.media.hot.rare import MOST_DIGITS, digit_of
from harness.media.spec import MediaSpec
from harness.model.clock import monotonic_ns
from harness.model.errors import GeneratorError, LocalProtocolError
from harness.model.impairment import Direction, Impairment
from harness.model.records import MediaStats
from harness.protocols import dtmf

_CLOSE_TIMEOUT_S = 2.0
# What receivers must know for a digit, and for the silence between two (RFC 4733 2.5.2.3; ITU-T Q.24).
_SHORTEST_DIGIT_MS, _SHORTEST_PAUSE_MS = 40, 40
_LONGEST_PAUSE_MS = 10_000
# One less than the loop has room for, for that whose pause goes on.
_MOST_WAITING = MOST_DIGITS - 1
# RFC 863's port, at addresses of nobody's: of loopback, and RFC 6666's discard prefix.
_DISCARD, _IPV4_NOWHERE, _IPV6_NOWHERE = 9, "127.255.", "100::"
# Payload, RTP timestamp, kernel time of arrival.
Tap = Callable[[bytes, int, int], None]


class Row(Protocol):
    """A row of the loop's tables, as its call sees it."""

    def play(self, clip: Clip | None, not_before_ns: int) -> None:
        """Speak a clip, or fall silent."""

    def listen(self, on: bool) -> None:
        """Await an answer, or no more."""

    def digit(self, packed: int) -> None:
        """Queue a digit, as hot.rare.digit_of packs it."""

    def direct(self, sends: bool, hears: bool) -> None:
        """Send or be silent, be heard or not."""

    def redirect(self, spec: MediaSpec, before: MediaSpec) -> None:
        """Go on as another spec says."""

    def hear_anew(self) -> None:
        """Forget what was heard."""

    def stats(self) -> MediaStats:
        """Return the counts so far."""

    def impair(self, direction: Direction, impairment: Impairment | None) -> bool:
        """Go through another network; False where the loop is too busy to take it just now."""

    def tap(self, on: bool) -> None:
        """Pass up what is heard, or no more."""

    def impaired(self) -> Impaired:
        """Return what the emulated network has done so far."""

    def take_line(self) -> BackgroundLine:
        """Return a ring of packets to be sent as a background."""

    def give_back_line(self, line: BackgroundLine) -> None:
        """Let another call have it."""

    def background_place(self) -> int:
        """Return which packet of the background is sent next."""

    def is_speaking(self) -> bool:
        """Return whether a clip is being spoken."""

    def send_beside(self, data: bytes) -> bool:
        """Send a datagram of somebody else's making to where the media go."""

    def remove(self) -> None:
        """Leave the loop."""


class MediaCall:
    """A handle on one row of the loop's tables; the methods cross to the loop by commands."""

    def __init__(self, spec: MediaSpec, row: Row) -> None:
        # As it is now: `redirect` replaces it.
        self.spec = spec
        self._row = row
        self._digits_waiting = 0
        self._is_closing = False
        self._last: MediaStats | None = None
        self._last_impaired: Impaired | None = None
        self._listen: Tap | None = None
        self._gone = asyncio.Event()

    @property
    def _is_over(self) -> bool:
        # The row of a call that is gone may be another's: nothing is told to it any more.
        return self._is_closing or self._last is not None

    def play(self, clip: Clip, not_before_ns: int = 0) -> None:
        """Speak `clip` in place of what is being spoken, from the first tick at or after `not_before_ns` on."""
        if not self._is_over:
            self._row.play(clip, not_before_ns)

    def stop_playing(self) -> None:
        """Fall silent at the next tick."""
        if not self._is_over:
            self._row.play(None, 0)
            self._cut_recording()

    def listen(self, on: bool) -> None:
        """Tell whether an answer is awaited; while none is, the agent's audio is not decoded closely."""
        if not self._is_over:
            self._row.listen(on)

    def send_dtmf(self, digits: str, *, duration_ms: int = 100, pause_ms: int = 100) -> None:
        """Send digits as telephone events (RFC 4733), each followed by a pause; DigitSent tells of each.

        What is being spoken waits for the last one's pause. Digits may be added while others are being sent. Raises
        LocalProtocolError where the peer takes no events and for what is no digit.
        """
        codes = dtmf.codes(digits)
        if self.spec.events_out is None:
            raise LocalProtocolError("the peer takes no telephone events (RFC 4733): none were agreed on")
        longest_ms = dtmf.LONGEST_TICKS * 1000 // self.spec.codec.clock_rate
        _check_ms("digit", duration_ms, _SHORTEST_DIGIT_MS, longest_ms)
        _check_ms("pause", pause_ms, _SHORTEST_PAUSE_MS, _LONGEST_PAUSE_MS)
        if self._digits_waiting + len(codes) > _MOST_WAITING:
            waiting = self._digits_waiting
            raise LocalProtocolError(f"{waiting} digits wait and {len(codes)} more would; legal: {_MOST_WAITING}")
        if self._is_over:
            return
        self._digits_waiting += len(codes)
        for code in codes:
            self._row.digit(digit_of(code, duration_ms, pause_ms))

    def hold(self, on: bool) -> None:
        """Hold the call, or resume it: nothing is sent but RTCP, clips and digits wait, silence is no MediaLost."""
        self.set_direction(sends=not on, hears=not on)

    def set_direction(self, *, sends: bool, hears: bool) -> None:
        """Do as SDP's directions say; while either way is off, the agent's silence is no MediaLost."""
        if not self._is_over:
            self._row.direct(sends, hears)

    def redirect(self, spec: MediaSpec) -> None:
        """Go on as `spec` says, made of `self.spec` by dataclasses.replace: address, SSRC, numbers, keys, codec.

        A session that is not replaced goes on where it is; the loop owns a new one from now on. Counts go on, and so
        does the ear but for another codec, which also ends what is being spoken: clips are of one codec. Raises
        GeneratorError where the port cannot tell the call from another.
        """
        if not self._is_over:
            self._row.redirect(spec, self.spec)
            if spec.events_out is None:
                self._digits_waiting = 0
            self.spec = spec

    def send_nowhere(self) -> None:
        """Send what still leaves, the goodbye as well, to where nobody is."""
        where = _IPV6_NOWHERE if ":" in self.spec.remote[0] else _IPV4_NOWHERE
        # Its own, for calls that share a port are told apart by it; where another has it the goodbye leaves.
        spread = secrets.randbits(16)
        host = f"{where}{spread:x}" if ":" in where else f"{where}{spread >> 8}.{spread & 0xFF}"
        with contextlib.suppress(GeneratorError):
            self.redirect(replace(self.spec, remote=(host, _DISCARD), rtcp_remote=None))

    def hear_anew(self) -> None:
        """Forget what was heard, as early media: the next speech is an onset, even where no pause is before it."""
        if not self._is_over:
            self._row.hear_anew()

    def impair(self, direction: Direction, impairment: Impairment | None) -> bool:
        """Have one direction go through this network from now on, None = as it is; what was counted goes on.

        False where many changes wait for the loop: to be asked for again. A call that is over is left alone.
        """
        return self._is_over or self._row.impair(direction, impairment)

    def tap(self, listen: Tap | None) -> None:
        """Have `listen` told each packet of the agent's audio: payload, RTP timestamp, arrival; None = no more."""
        self._listen = listen
        if not self._is_over:
            self._row.tap(listen is not None or self.spec.recorder is not None)

    def heard(self, payload: bytes, timestamp: int, at_ns: int) -> None:
        """Pass one packet of the agent's to who records, and who listens."""
        if self.spec.recorder is not None:
            self.spec.recorder.agent_payload(payload, timestamp, at_ns)
        if self._listen is not None:
            self._listen(payload, timestamp, at_ns)

    # --- what is sent in silence -----------------------------------------------------------------------------------

    def open_line(self) -> BackgroundLine:
        """Send what is written into a ring of packets wherever nothing is spoken; returns the ring, full of silence.

        Raises GeneratorError where there is no room for one more. It is this call's until `give_back_line`.
        """
        line = self._row.take_line()
        line.clear(self.spec.codec)
        try:
            self.redirect(replace(self.spec, background=line.clip))
        except GeneratorError:
            self._row.give_back_line(line)
            raise
        return line

    def close_line(self) -> None:
        """Send silence in silence again."""
        self.redirect(replace(self.spec, background=None))

    def give_back_line(self, line: BackgroundLine) -> None:
        """Let another call have the ring; after the end of this one."""
        self._row.give_back_line(line)

    @property
    def background_place(self) -> int | None:
        """Which packet of the background is sent next; None when the call is over."""
        return None if self._is_over else self._row.background_place()

    @property
    def is_speaking(self) -> bool:
        """Whether a clip is being spoken."""
        return not self._is_over and self._row.is_speaking()

    def echoed(self, payload: bytes, codec: Codec, at_ns: int) -> None:
        """Have the recording know what left in silence, and about when."""
        if self.spec.recorder is not None:
            self.spec.recorder.echoed(payload, codec, at_ns)

    def send_beside(self, data: bytes) -> bool:
        """Send a datagram of any bytes from the call's port to where its media go; False where it may not be.

        Not through a relay, whose server has a say in what it takes; such a call sends none.
        """
        return not self._is_over and self.spec.channel is None and self._row.send_beside(data)

    def impaired(self) -> Impaired:
        """Return what emulated networks have done to this call so far; after the end, in all."""
        return self._row.impaired() if self._last_impaired is None else self._last_impaired

    def stats(self) -> MediaStats:
        """Return the counts so far; after the end, the last ones."""
        return self._last or self._row.stats()

    async def close(self) -> MediaStats:
        """Send RTCP BYE and leave the loop; returns the final counts. May be called again."""
        if not self._is_over:
            self._is_closing = True
            self._row.remove()
            self._cut_recording()
        try:
            await asyncio.wait_for(self._gone.wait(), _CLOSE_TIMEOUT_S)
        except TimeoutError:
            # A loop that died sends no goodbye; the row stays taken, its counts readable.
            return self.stats()
        return self.stats()

    def _cut_recording(self) -> None:
        if self.spec.recorder is not None:
            self.spec.recorder.cut(monotonic_ns())

    def digit_sent(self) -> None:
        """Take note that there is room for another digit."""
        self._digits_waiting = max(0, self._digits_waiting - 1)

    def removed(self, last: MediaStats, impaired: Impaired) -> None:
        """Take note that the loop has let go; what it is given are the final counts."""
        self._last, self._last_impaired = last, impaired
        self._listen = None
        self._gone.set()


def _check_ms(what: str, ms: int, fewest: int, most: int) -> None:
    if not fewest <= ms <= most:
        raise LocalProtocolError(f"a {what} of {ms} ms; legal here: {fewest} to {most}")
