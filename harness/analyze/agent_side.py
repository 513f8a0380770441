"""The agent's channel: when it became audible and when it fell silent, by the detector that live calls are timed with.

A recording of our own says when each packet came: the detector is fed packet by packet, as it was in the call, and a
time is a packet's arrival. Any other recording is taken in the detector's own windows of 5 ms.
"""

from collections.abc import Callable
from dataclasses import dataclass

from harness.analyze.recording import Pcm
from harness.media.call_log import CallLog, HeardPacket
from harness.media.hot.onset import WINDOW_MS
from harness.media.onset import AgentOnset, AgentStopped, OnsetDetector, window_levels_dbfs
from harness.model.clock import NS_PER_MS

# The detector's times are never 0.
_ZERO_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Speech:
    """A stretch of somebody's speech, ms from the recording's first sample.

    `*_within_ms`: of an edge under a background, how far off it may be, with a probability of 0.9; None elsewhere.
    """

    start_ms: float
    end_ms: float
    start_within_ms: float | None = None
    end_within_ms: float | None = None


def hear_agent(
    agent: Pcm,
    rate: int,
    quiet_ms: float,
    packets: tuple[HeardPacket, ...] = (),
    tell: Callable[[float], None] = lambda _: None,
) -> list[Speech]:
    """Return the agent's stretches of speech: `quiet_ms` of silence end one. `tell` hears how far it is, 0 to 1."""
    ear = _Ear(quiet_ms)
    if packets:
        _by_packets(ear, agent, rate, packets)
    else:
        levels = window_levels_dbfs(agent, rate)
        for index, level in enumerate(levels):
            ear.hear([level], index * WINDOW_MS)
            if index % 20_000 == 0:
                tell(index / len(levels))
    return ear.end(len(agent) * 1000 / rate)


def as_told(log: CallLog, measured: list[Speech], duration_ms: float) -> list[Speech]:
    """Return the agent's stretches as the call was told them; `measured` where the log, of an older file, has none."""
    if not log.onsets:
        return measured
    heard = []
    for index, onset_ms in enumerate(log.onsets):
        until_ms = log.onsets[index + 1] if index + 1 < len(log.onsets) else duration_ms
        stops = [stop_ms for stop_ms in log.stops if onset_ms <= stop_ms < until_ms]
        spoke_on = [one.end_ms for one in measured if onset_ms <= one.end_ms < until_ms]
        end_ms = stops[0] + WINDOW_MS if stops else max(spoke_on, default=onset_ms)
        heard.append(Speech(onset_ms, max(onset_ms, min(end_ms, duration_ms))))
    return heard


class _Ear:
    def __init__(self, quiet_ms: float) -> None:
        self._detector = OnsetDetector(quiet_ms)
        self._began_ms: float | None = None
        self._heard: list[Speech] = []

    def hear(self, levels: list[float], at_ms: float) -> None:
        at_ns = _ns(at_ms)
        self._ended(self._detector.poll(at_ns))
        onset = self._detector.add(levels, at_ns)
        if isinstance(onset, AgentOnset):
            self._began_ms = _ms(onset.at_ns)

    def pause(self, length_ms: float, until_ms: float) -> None:
        self._detector.silence(length_ms)
        self._ended(self._detector.poll(_ns(until_ms)))

    def end(self, length_ms: float) -> list[Speech]:
        self._ended(self._detector.poll(_ns(length_ms)))
        if self._began_ms is not None:
            last_ms = _ms(self._detector.last_voiced_at_ns) + WINDOW_MS
            self._heard.append(Speech(self._began_ms, min(length_ms, max(last_ms, self._began_ms))))
        return self._heard

    def _ended(self, stopped: AgentStopped | None) -> None:
        if stopped is not None and self._began_ms is not None:
            self._heard.append(Speech(self._began_ms, _ms(stopped.at_ns) + WINDOW_MS))
            self._began_ms = None


def _by_packets(ear: _Ear, agent: Pcm, rate: int, packets: tuple[HeardPacket, ...]) -> None:
    """Feed what the ear of the call was fed: in order of arrival, without what came behind a later one."""
    place_ms = -1.0
    for packet in sorted(packets, key=lambda p: p.arrived_ms):
        if packet.at_ms <= place_ms:
            continue
        gap_ms = packet.at_ms - place_ms
        if place_ms >= 0 and gap_ms >= WINDOW_MS:
            ear.pause(gap_ms, packet.arrived_ms)
        first = round(packet.at_ms * rate / 1000)
        last = round((packet.at_ms + packet.length_ms) * rate / 1000)
        ear.hear(window_levels_dbfs(agent[first:last], rate), packet.arrived_ms)
        place_ms = packet.at_ms + packet.length_ms - 1


def _ns(at_ms: float) -> int:
    return _ZERO_NS + int(at_ms * NS_PER_MS)


def _ms(at_ns: int) -> float:
    return (at_ns - _ZERO_NS) / NS_PER_MS
