"""The loop's rows of calls: filled when a call begins, read while it lasts, freed when the loop has let go."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.media import events, sockaddr
from harness.media.background_line import BackgroundLine
from harness.media.call_counts import CallCounts, Impaired, Sums
from harness.media.clip_table import ClipTable
from harness.media.clips import Clip
from harness.media.codecs import OPUS
from harness.media.events import MediaEvent
from harness.media.hot.aside import NO_CHANGE
from harness.media.hot.ear import EAR, ear_start
from harness.media.hot.impair import INCOMING, OUTGOING
from harness.media.hot.jit import address_of, clear_row
from harness.media.hot.layout import CALL, RECEPTION, Command, Event, Media
from harness.media.hot.opus_spoken import OPUS_MEMORY_BYTES
from harness.media.hot.packet import NOTHING
from harness.media.hot.rare import ASIDE
from harness.media.hot.senders import address_key, ssrc_key
from harness.media.impairment import StagedRows, fill_row, stage_row
from harness.media.media_call import MediaCall
from harness.media.onset import AgentOnset, AgentStopped
from harness.media.port import MediaPort
from harness.media.redirects import Redirects, event_types, fill_speech, key_streams, put_name, remote_id
from harness.media.spec import MediaSpec
from harness.model.errors import GeneratorError
from harness.model.impairment import Direction, Impairment
from harness.model.records import MediaStats
from harness.protocols.dtmf import DIGITS

_logger = logging.getLogger(__name__)
_MOST_CNAME_BYTES = 64
_NS_PER_MS = 1_000_000
_OF_A_CLIP: dict[int, Callable[[str, int], MediaEvent]] = {
    Event.SPEECH_STARTED: events.SpeechStarted,
    Event.SPEECH_ENDED: events.SpeechEnded,
}
_OF_A_MOMENT: dict[int, Callable[[int], MediaEvent]] = {
    Event.AGENT_STOPPED: AgentStopped,
    Event.MEDIA_LOST: events.MediaLost,
    Event.REMOTE_BYE: events.RemoteBye,
}
_OF_A_DIGIT: dict[int, Callable[[str, int], MediaEvent]] = {
    Event.DIGIT_SENT: events.DigitSent,
    Event.DIGIT_HEARD: events.DigitHeard,
}


@dataclass(frozen=True, slots=True)
class _Row:
    """One row, as its call sees it (media_call.Row)."""

    table: "CallTable"
    index: int

    def play(self, clip: Clip | None, not_before_ns: int) -> None:
        self.table.play(self.index, clip, not_before_ns)

    def listen(self, on: bool) -> None:
        self.table.command(Command.AWAIT, self.index, int(on), 0)

    def digit(self, packed: int) -> None:
        self.table.command(Command.DIGIT, self.index, 0, packed)

    def direct(self, sends: bool, hears: bool) -> None:
        self.table.command(Command.DIRECT, self.index, int(sends), int(sends and hears))

    def redirect(self, spec: MediaSpec, before: MediaSpec) -> None:
        self.table.redirect(self.index, spec, before)

    def hear_anew(self) -> None:
        self.table.hear_anew(self.index)

    def stats(self) -> MediaStats:
        return self.table.stats_of(self.index)

    def impair(self, direction: Direction, impairment: Impairment | None) -> bool:
        return self.table.impair(self.index, direction, impairment)

    def tap(self, on: bool) -> None:
        self.table.command(Command.TAP, self.index, int(on), 0)

    def impaired(self) -> Impaired:
        return self.table.impaired_of(self.index)

    def take_line(self) -> BackgroundLine:
        return self.table.clips.take_line()

    def give_back_line(self, line: BackgroundLine) -> None:
        self.table.clips.give_back(line)

    def background_place(self) -> int:
        return int(self.table.rows[self.index]["background_position"])

    def is_speaking(self) -> bool:
        # By its name: a compiled row, being an array's, has a method called so.
        return bool(self.table.rows[self.index]["clip"] >= 0)

    def send_beside(self, data: bytes) -> bool:
        return self.table.send_beside(self.index, data)

    def remove(self) -> None:
        self.table.command(Command.REMOVE_CALL, self.index, 0, 0)


class CallTable:
    """Calls by row. `command` crosses to the loop."""

    def __init__(self, media: Media, clips: ClipTable, command: Callable[[Command, int, int, int], None]) -> None:
        self._media = media
        self.rows = media.calls
        self._clips = self.clips = clips
        self.command = command
        self._counts = CallCounts(media)
        # Of the calls that are gone.
        self._gone: Sums = (0, 0, 0)
        self._calls: dict[int, MediaCall] = {}
        self._free = list(range(len(media.calls) - 1, -1, -1))
        self._generations = [0] * len(media.calls)
        self._on_port = [0] * len(media.ports)
        # What tells calls apart on their ports: all that are taken, and each call's.
        self._keys: set[int] = set()
        self._key_of: dict[int, int] = {}
        self._port_of: dict[int, MediaPort] = {}
        self._redirects = Redirects(media, clips)
        self._staged = StagedRows(media.impair_staged)
        # One piece, of which the system gives what is written to, in large pages where it has them: a decoder is cold
        # when its packet comes, and small pages would each have to be looked up as well.
        self._opus: npt.NDArray[np.uint8] = np.zeros((len(media.calls), OPUS_MEMORY_BYTES), np.uint8)

    def add(self, port: MediaPort, spec: MediaSpec) -> MediaCall:
        """Fill a row and hand it to the loop. Raises GeneratorError."""
        if not self._free:
            raise GeneratorError(f"all {len(self._media.calls)} calls of this engine are in use")
        key = self._key(port, spec, None)
        # The row stays free until all of it is filled, which a full table of clips may prevent.
        index = self._free[-1]
        self._fill(index, port, spec, key)
        self._free.pop()
        self._keys.add(key)
        self._key_of[index], self._port_of[index] = key, port
        call = self._calls[index] = MediaCall(spec, _Row(self, index))
        self.command(Command.ADD_CALL, index, 0, 0)
        return call

    # --- while a call lasts ----------------------------------------------------------------------------------------

    def play(self, index: int, clip: Clip | None, at_ns: int) -> None:
        """Have the call in row `index` speak a clip, or fall silent."""
        self.command(Command.PLAY, index, NOTHING if clip is None else self._clips.index_of(clip), at_ns)

    def hear_anew(self, index: int) -> None:
        """Have the call's ear forget what it has heard."""
        call = self._calls.get(index)
        if call is not None:
            self.command(Command.HEAR_ANEW, index, 0, self._opus_memory(index, call.spec))

    def redirect(self, index: int, spec: MediaSpec, before: MediaSpec) -> None:
        """Have the call go on as `spec` says. Raises GeneratorError."""
        key_before = self._key_of[index]
        key = self._key(self._port_of[index], spec, key_before)
        row = self._redirects.stage(index, spec, before, key, self._opus_memory(index, spec))
        # The mark of before is free at once: commands are served in order.
        self._keys.discard(key_before)
        self._keys.add(key)
        self._key_of[index] = key
        self.command(Command.REDIRECT, index, row, 0)

    def _redirected(self, index: int, row: int) -> None:
        taken = self._redirects.taken(row)
        call = self._calls.get(index)
        if call is not None and taken.recorder is not None:
            taken.recorder.change_codec(taken.codec)

    def impair(self, index: int, direction: Direction, impairment: Impairment | None) -> bool:
        """Have the call in row `index` go through another network; False where too many changes wait for the loop."""
        staged = self._staged.take()
        if staged < 0:
            return False
        stage_row(self._media.impair_staged[staged], impairment)
        self.command(Command.IMPAIR, index, staged, INCOMING if direction == "incoming" else OUTGOING)
        return True

    def send_beside(self, index: int, data: bytes) -> bool:
        """Send a datagram from the port of the call in row `index` to where its media go; False if it did not leave."""
        call, port = self._calls.get(index), self._port_of.get(index)
        if call is None or port is None or port.is_closed:
            return False
        return port.send(data, call.spec.remote)

    def impaired_of(self, index: int) -> Impaired:
        """Return what the emulated network has done to the call in row `index`."""
        return self._counts.impaired(index)

    def stats_of(self, index: int) -> MediaStats:
        """Return the counts of the call in row `index`."""
        return self._counts.of(index)

    def sums(self) -> Sums:
        """Return the counts of all calls so far, of those that are gone, too."""
        return self._counts.sums(self._calls, self._gone)

    def drop_all(self) -> None:
        """Let go of every call, the loop having stopped."""
        for index, call in list(self._calls.items()):
            call.removed(self._counts.of(index), self._counts.impaired(index))
        self._gone = self.sums()
        self._calls.clear()

    def fail_all(self, detail: str) -> None:
        """Tell every call that its media has ended by our own fault."""
        for call in list(self._calls.values()):
            call.spec.post(events.MediaFailed(detail))

    # --- filling a row ---------------------------------------------------------------------------------------------

    def _key(self, port: MediaPort, spec: MediaSpec, own: int | None) -> int:
        """Return what tells the call from others on its port; `own` is what it has itself."""
        name = np.zeros(self._media.names.shape[1], np.uint8)
        try:
            put_name(name, spec.remote)
            if spec.rtcp_remote is not None:
                sockaddr.pack(spec.rtcp_remote)
        except ValueError as error:
            raise GeneratorError(f"the remote address {spec.remote} is not numeric: {error}") from error
        if spec.by_ssrc:
            key = ssrc_key(port.index, spec.ssrc if spec.remote_ssrc is None else spec.remote_ssrc)
            what = f"SSRC {spec.ssrc if spec.remote_ssrc is None else spec.remote_ssrc:#010x}"
        else:
            key = int(address_key(port.index, name))
            what = f"remote address {spec.remote[0]}:{spec.remote[1]}"
        if key in self._keys and key != own:
            raise GeneratorError(
                f"two calls on the local port {port.address[1]} have the {what}: give each call a port of its own "
                "(source_ports: per_call)"
            )
        return key

    def _fill(self, index: int, port: MediaPort, spec: MediaSpec, key: int) -> None:
        media = self._media
        call, aside = media.calls[index], media.asides[index]
        clear_row(call, CALL)
        clear_row(aside, ASIDE)
        clear_row(media.receptions[index], RECEPTION)
        clear_row(media.ears[index], EAR)
        self._generations[index] += 1
        call.generation, call.port, call.key = self._generations[index], port.index, key
        call.name_length, call.remote_id = put_name(media.names[index], spec.remote), remote_id(index, spec)
        if spec.rtcp_remote is not None:
            aside.rtcp_name_length = put_name(media.rtcp_names[index], spec.rtcp_remote)
        aside.events_out, aside.events_in = event_types(spec)
        aside.heard_code = -1
        self._fill_sending(call, spec)
        key_streams(media, index, spec)
        call.channel = (spec.channel or 0) * (-1 if spec.is_bridged else 1)
        call.record = int(spec.recorder is not None)
        call.media_timeout_ns = int(spec.media_timeout_ms * _NS_PER_MS)
        fill_row(media.impair_out[index], spec.impair_outgoing)
        fill_row(media.impair_in[index], spec.impair_incoming)
        call.impaired_out = int(media.impair_out[index].active)
        call.impaired_in = int(media.impair_in[index].active)
        quiet_ns = int(spec.quiet_ms * _NS_PER_MS)
        memory = self._opus_memory(index, spec)
        ear_start(media.ears[index], spec.codec.index, quiet_ns, int(spec.by_size), memory)
        row = media.ports[port.index]
        self._on_port[port.index] += 1
        row.any_source_call = index if spec.any_source and self._on_port[port.index] == 1 else -1

    def _fill_sending(self, call: Any, spec: MediaSpec) -> None:
        cname = spec.cname.encode()[:_MOST_CNAME_BYTES]
        call.cname[: len(cname)] = np.frombuffer(cname, np.uint8)
        call.cname_length = len(cname)
        call.sequence, call.timestamp = spec.first_sequence, spec.first_timestamp
        fill_speech(call, spec, self._clips)
        call.clip, call.next_clip = NOTHING, NO_CHANGE

    def _opus_memory(self, index: int, spec: MediaSpec) -> int:
        """Return the address of what hearing Opus needs in this row, 0 where none is decoded."""
        if spec.codec is not OPUS or spec.by_size:
            return 0
        return address_of(self._opus) + OPUS_MEMORY_BYTES * index

    # --- what comes back -------------------------------------------------------------------------------------------

    def on_event(self, kind: int, index: int, generation: int, at_ns: int, value: int) -> None:
        """Turn one event of the loop into the call's."""
        if kind == Event.REDIRECTED:
            # Of a call that is gone meanwhile, too: the row is to be freed.
            self._redirected(index, value)
            return
        call = self._calls.get(index)
        if call is None or generation != self._generations[index]:
            return
        if kind == Event.CALL_REMOVED:
            self._removed(index, call)
        elif kind == Event.CLIP_STARTED:
            if call.spec.recorder is not None:
                call.spec.recorder.clip_started(self._clips[value], at_ns)
        else:
            if kind == Event.DIGIT_SENT:
                call.digit_sent()
            event = self._event(call.spec, kind, at_ns, value)
            if call.spec.recorder is not None:
                call.spec.recorder.told(event)
            call.spec.post(event)

    def _event(self, spec: MediaSpec, kind: int, at_ns: int, value: int) -> MediaEvent:
        if kind == Event.AGENT_ONSET:
            return AgentOnset(at_ns, value)
        if kind in _OF_A_CLIP:
            return _OF_A_CLIP[kind](self._clips[value].utterance_id, at_ns)
        if kind in _OF_A_MOMENT:
            return _OF_A_MOMENT[kind](at_ns)
        if kind in _OF_A_DIGIT:
            return _OF_A_DIGIT[kind](DIGITS[value], at_ns)
        if kind == Event.DIGIT_ENDED:
            return events.DigitEnded(DIGITS[value & 0xFF], at_ns, (value >> 8) * 1000 / spec.codec.clock_rate)
        raise GeneratorError(f"the media loop told {Event(kind)!r}, which is no event of a call")

    def on_agent_audio(self, index: int, generation: int, payload: bytes, timestamp: int, at_ns: int) -> None:
        """Pass one packet of a call that is recorded or listened to on to it."""
        call = self._calls.get(index)
        if call is not None and generation == self._generations[index]:
            call.heard(payload, timestamp, at_ns)

    def _removed(self, index: int, call: MediaCall) -> None:
        last, impaired = self._counts.of(index), self._counts.impaired(index)
        self._gone = self._counts.sums([index], self._gone)
        row = self._media.calls[index]
        self._keys.discard(self._key_of.pop(index))
        del self._port_of[index]
        port = self._media.ports[int(row.port)]
        self._on_port[int(row.port)] -= 1
        if port.any_source_call == index:
            port.any_source_call = -1
        key_streams(self._media, index, None)
        del self._calls[index]
        self._free.append(index)
        call.removed(last, impaired)
