"""What redirected calls become, on its way to the loop: a row each, filled here, free again when it says so."""

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.media import sockaddr
from harness.media.clip_table import ClipTable
from harness.media.hot import native
from harness.media.hot.gcm import end_stream, start_stream
from harness.media.hot.jit import clear_row
from harness.media.hot.layout import Media
from harness.media.hot.packet import NOTHING
from harness.media.hot.rare import REDIRECT
from harness.media.spec import MediaSpec
from harness.media.srtp import AeadSession
from harness.model.errors import GeneratorError, LocalProtocolError

# What a call keeps for life.
_LASTING = (
    "post", "recorder", "cname", "quiet_ms", "media_timeout_ms", "impair_outgoing", "impair_incoming", "any_source",
)  # fmt: skip


class Redirects:
    """The rows that wait."""

    def __init__(self, media: Media, clips: ClipTable) -> None:
        self._media = media
        self._clips = clips
        self._free = list(range(len(media.redirects) - 1, -1, -1))
        # What each call becomes, and what it was: libsrtp's sessions must outlive the loop's last use of them.
        self._waiting: dict[int, tuple[MediaSpec, MediaSpec]] = {}

    def stage(self, index: int, spec: MediaSpec, before: MediaSpec, key: int, opus_memory: int) -> int:
        """Fill a row for the call in row `index` of the loop; return it."""
        changed = [name for name in _LASTING if getattr(spec, name) != getattr(before, name)]
        if changed:
            raise LocalProtocolError(f"a call that is redirected keeps its {', '.join(changed)}")
        if not self._free:
            raise GeneratorError(f"all {len(self._media.redirects)} redirects of this engine are under way")
        row = self._free.pop()
        becomes = self._media.redirects[row]
        clear_row(becomes, REDIRECT)
        becomes.key = key
        becomes.remote_id = remote_id(index, spec)
        becomes.name_length = put_name(becomes.name, spec.remote)
        becomes.rtcp_name_length = 0 if spec.rtcp_remote is None else put_name(becomes.rtcp_name, spec.rtcp_remote)
        fill_speech(becomes, spec, self._clips)
        becomes.events_out, becomes.events_in = event_types(spec)
        becomes.rekeyed_out = int(spec.outgoing is not before.outgoing)
        becomes.rekeyed_in = int(spec.incoming is not before.incoming)
        becomes.codec, becomes.by_size, becomes.opus_memory = spec.codec.index, int(spec.by_size), opus_memory
        key_streams(self._media, len(self._media.calls) + row, spec)
        self._waiting[row] = spec, before
        return row

    def taken(self, row: int) -> MediaSpec:
        """Take note that the loop has taken a row over; return what the call has become."""
        self._free.append(row)
        return self._waiting.pop(row)[0]


def remote_id(index: int, spec: MediaSpec) -> int:
    """Return a number that calls to the same IPv4 address share; to IPv6, the call's own."""
    known = sockaddr.remote_id(spec.remote)
    return -1 - index if known is None else known


def put_name(name: npt.NDArray[np.uint8], address: tuple[str, int]) -> int:
    """Write an address as the kernel takes it; return its length. Raises ValueError where it is not numeric."""
    packed = sockaddr.pack(address)
    name[:] = 0
    name[: len(packed)] = np.frombuffer(packed, np.uint8)
    return len(packed)


def fill_speech(row: Any, spec: MediaSpec, clips: ClipTable) -> None:
    """Set what a call speaks and hears."""
    row.ssrc, row.payload_type = spec.ssrc, spec.payload_type
    row.heard_type = spec.payload_type if spec.heard_payload_type is None else spec.heard_payload_type
    row.ticks_per_packet, row.clock_rate = spec.codec.ticks_per_packet, spec.codec.clock_rate
    row.srtp_out, row.srtp_in = native.srtp_address(spec.outgoing), native.srtp_address(spec.incoming)
    row.silence_packet = NOTHING if spec.dtx else clips.silence_packet(spec.codec)
    has_background = spec.background is not None and not spec.dtx
    row.background = clips.index_of(spec.background) if has_background and spec.background is not None else NOTHING


def event_types(spec: MediaSpec) -> tuple[int, int]:
    """Return the payload types of telephone events, out and in; -1 = none."""
    return -1 if spec.events_out is None else spec.events_out, -1 if spec.events_in is None else spec.events_in


def key_streams(media: Media, index: int, spec: MediaSpec | None) -> None:
    """Give the loop the keys of what it can do without libsrtp, outgoing and incoming; of others, none."""
    sessions = (None, None) if spec is None else (spec.outgoing, spec.incoming)
    for row, session in enumerate(sessions, 2 * index):
        if isinstance(session, AeadSession):
            start_stream(media.gcm, row, session.key, session.salt)
        else:
            end_stream(media.gcm, row)
