"""The loop's rows of calls: filled when a call begins, read while it lasts, freed when the loop has let go."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from pylibsrtp import Session

from harness.media import events, sockaddr
from harness.media.call_counts import CallCounts, Sums
from harness.media.clip_table import ClipTable
from harness.media.clips import Clip
from harness.media.codecs import OPUS
from harness.media.events import MediaEvent
from harness.media.hot import native
from harness.media.hot.ear import EAR, ear_start
from harness.media.hot.gcm import end_stream, start_stream
from harness.media.hot.jit import address_of, clear_row
from harness.media.hot.layout import CALL, RECEPTION, Command, Event, Media
from harness.media.hot.opus_spoken import OPUS_MEMORY_BYTES
from harness.media.hot.outgoing import NO_CHANGE, NOTHING
from harness.media.hot.senders import address_key, ssrc_key
from harness.media.impairment import fill_row
from harness.media.media_call import MediaCall
from harness.media.onset import AgentOnset, AgentStopped
from harness.media.port import MediaPort
from harness.media.spec import MediaSpec
from harness.media.srtp import AeadSession
from harness.model.errors import GeneratorError

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


class CallTable:
    """Calls by row. `command` crosses to the loop."""

    def __init__(self, media: Media, clips: ClipTable, command: Callable[[Command, int, int, int], None]) -> None:
        self._media = media
        self._clips = clips
        self._command = command
        self._counts = CallCounts(media)
        # Of the calls that are gone.
        self._gone: Sums = (0, 0, 0)
        self._calls: dict[int, MediaCall] = {}
        self._free = list(range(len(media.calls) - 1, -1, -1))
        self._generations = [0] * len(media.calls)
        self._on_port = [0] * len(media.ports)
        self._keys: set[int] = set()
        # One piece, of which the system gives what is written to, in large pages where it has them: a decoder is cold
        # when its packet comes, and small pages would each have to be looked up as well.
        self._opus: npt.NDArray[np.uint8] = np.zeros((len(media.calls), OPUS_MEMORY_BYTES), np.uint8)

    def add(self, port: MediaPort, spec: MediaSpec) -> MediaCall:
        """Fill a row and hand it to the loop. Raises GeneratorError."""
        if not self._free:
            raise GeneratorError(f"all {len(self._media.calls)} calls of this engine are in use")
        try:
            name = sockaddr.pack(spec.remote)
        except ValueError as error:
            raise GeneratorError(f"the remote address {spec.remote} is not numeric: {error}") from error
        key = self._key(port, spec, name)
        # The row stays free until all of it is filled, which a full table of clips may prevent.
        index = self._free[-1]
        self._fill(index, port, spec, name, key)
        self._free.pop()
        self._keys.add(key)
        call = MediaCall(
            spec,
            play=lambda clip, at_ns: self._play(index, clip, at_ns),
            listen=lambda on: self._command(Command.AWAIT, index, int(on), 0),
            stats=lambda: self._counts.of(index),
            remove=lambda: self._command(Command.REMOVE_CALL, index, 0, 0),
        )
        self._calls[index] = call
        self._command(Command.ADD_CALL, index, 0, 0)
        return call

    def sums(self) -> Sums:
        """Return the counts of all calls so far, of those that are gone, too."""
        return self._counts.sums(self._calls, self._gone)

    def drop_all(self) -> None:
        """Let go of every call, the loop having stopped."""
        for index, call in list(self._calls.items()):
            call.removed(self._counts.of(index))
        self._gone = self.sums()
        self._calls.clear()

    def fail_all(self, detail: str) -> None:
        """Tell every call that its media has ended by our own fault."""
        for call in list(self._calls.values()):
            call.spec.post(events.MediaFailed(detail))

    # --- filling a row ---------------------------------------------------------------------------------------------

    def _key(self, port: MediaPort, spec: MediaSpec, name: bytes) -> int:
        if spec.by_ssrc:
            key = ssrc_key(port.index, spec.ssrc if spec.remote_ssrc is None else spec.remote_ssrc)
            what = f"SSRC {spec.ssrc if spec.remote_ssrc is None else spec.remote_ssrc:#010x}"
        else:
            padded = np.zeros(self._media.names.shape[1], np.uint8)
            padded[: len(name)] = np.frombuffer(name, np.uint8)
            key = int(address_key(port.index, padded))
            what = f"remote address {spec.remote[0]}:{spec.remote[1]}"
        if key in self._keys:
            raise GeneratorError(
                f"two calls on the local port {port.address[1]} have the {what}: give each call a port of its own "
                "(source_ports: per_call)"
            )
        return key

    def _fill(self, index: int, port: MediaPort, spec: MediaSpec, name: bytes, key: int) -> None:
        media = self._media
        call = media.calls[index]
        clear_row(call, CALL)
        clear_row(media.receptions[index], RECEPTION)
        clear_row(media.ears[index], EAR)
        self._generations[index] += 1
        media.names[index] = 0
        media.names[index, : len(name)] = np.frombuffer(name, np.uint8)
        call.generation, call.port, call.key = self._generations[index], port.index, key
        call.name_length = len(name)
        remote_id = sockaddr.remote_id(spec.remote)
        call.remote_id = -1 - index if remote_id is None else remote_id
        self._fill_sending(call, spec)
        self._key_streams(index, spec.outgoing, spec.incoming)
        call.record = int(spec.recorder is not None)
        call.media_timeout_ns = int(spec.media_timeout_ms * _NS_PER_MS)
        fill_row(media.impair_out[index], spec.impair_outgoing)
        fill_row(media.impair_in[index], spec.impair_incoming)
        call.impaired_out = int(media.impair_out[index].active)
        call.impaired_in = int(media.impair_in[index].active)
        memory = self._opus_memory(index) if spec.codec is OPUS and not spec.by_size else 0
        quiet_ns = int(spec.quiet_ms * _NS_PER_MS)
        ear_start(media.ears[index], spec.codec.index, quiet_ns, int(spec.by_size), memory)
        row = media.ports[port.index]
        self._on_port[port.index] += 1
        row.any_source_call = index if spec.any_source and self._on_port[port.index] == 1 else -1

    def _fill_sending(self, call: Any, spec: MediaSpec) -> None:
        cname = spec.cname.encode()[:_MOST_CNAME_BYTES]
        call.cname[: len(cname)] = np.frombuffer(cname, np.uint8)
        call.cname_length = len(cname)
        call.ssrc, call.payload_type = spec.ssrc, spec.payload_type
        call.sequence, call.timestamp = spec.first_sequence, spec.first_timestamp
        call.ticks_per_packet, call.clock_rate = spec.codec.ticks_per_packet, spec.codec.clock_rate
        call.srtp_out, call.srtp_in = native.srtp_address(spec.outgoing), native.srtp_address(spec.incoming)
        call.silence_packet = self._clips.silence_packet(spec.codec)
        call.background = NOTHING if spec.background is None else self._clips.index_of(spec.background)
        call.dtx = int(spec.dtx)
        call.clip, call.next_clip = NOTHING, NO_CHANGE

    def _key_streams(self, index: int, *sessions: Session | None) -> None:
        """Give the loop the keys of what it can do without libsrtp, outgoing and incoming; of others, none."""
        for row, session in enumerate(sessions, 2 * index):
            if isinstance(session, AeadSession):
                start_stream(self._media.gcm, row, session.key, session.salt)
            else:
                end_stream(self._media.gcm, row)

    def _opus_memory(self, index: int) -> int:
        """Return the address of what hearing Opus needs in this row."""
        return address_of(self._opus) + OPUS_MEMORY_BYTES * index

    def _play(self, index: int, clip: Clip | None, at_ns: int) -> None:
        self._command(Command.PLAY, index, NOTHING if clip is None else self._clips.index_of(clip), at_ns)

    # --- what comes back -------------------------------------------------------------------------------------------

    def on_event(self, kind: int, index: int, generation: int, at_ns: int, value: int) -> None:
        """Turn one event of the loop into the call's."""
        call = self._calls.get(index)
        if call is None or generation != self._generations[index]:
            return
        if kind == Event.CALL_REMOVED:
            self._removed(index, call)
        elif kind == Event.CLIP_STARTED:
            if call.spec.recorder is not None:
                call.spec.recorder.clip_started(self._clips[value], at_ns)
        else:
            call.spec.post(self._event(kind, at_ns, value))

    def _event(self, kind: int, at_ns: int, value: int) -> MediaEvent:
        if kind == Event.AGENT_ONSET:
            return AgentOnset(at_ns, value)
        if kind in _OF_A_CLIP:
            return _OF_A_CLIP[kind](self._clips[value].utterance_id, at_ns)
        if kind in _OF_A_MOMENT:
            return _OF_A_MOMENT[kind](at_ns)
        raise GeneratorError(f"the media loop told {Event(kind)!r}, which is no event of a call")

    def on_agent_audio(self, index: int, generation: int, payload: bytes, timestamp: int, at_ns: int) -> None:
        """Pass one packet of a recorded call to its recorder."""
        call = self._calls.get(index)
        if call is not None and generation == self._generations[index] and call.spec.recorder is not None:
            call.spec.recorder.agent_payload(payload, timestamp, at_ns)

    def _removed(self, index: int, call: MediaCall) -> None:
        last = self._counts.of(index)
        self._gone = self._counts.sums([index], self._gone)
        row = self._media.calls[index]
        self._keys.discard(int(row.key))
        port = self._media.ports[int(row.port)]
        self._on_port[int(row.port)] -= 1
        if port.any_source_call == index:
            port.any_source_call = -1
        self._key_streams(index, None, None)
        del self._calls[index]
        self._free.append(index)
        call.removed(last)
