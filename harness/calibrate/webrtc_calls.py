"""WebRTC calls to the responder: an offer in, an answer out, and the call when ICE and DTLS are up."""

import asyncio
import sys

from harness.calibrate.desk import Desk, Line
from harness.media.peer.answering import AnsweringPeer
from harness.media.peer.connected import PeerMedia, SetupError
from harness.media.peer.host import PeerHost
from harness.model.errors import GeneratorError

_CONNECT_LIMIT_S = 60.0


class WebRtcCalls:
    """Answers offers on one local address; every call has a port of its own, or all share a few."""

    def __init__(self, desk: Desk, *, source_ports: str) -> None:
        self._desk = desk
        self._source_ports = source_ports
        self._host = PeerHost(desk.media_loop)
        self._connecting: set[asyncio.Task[None]] = set()

    def answer(self, offer_sdp: str, call_id: str, address: str) -> tuple[str, str]:
        """Return the SDP answer and the call's name; raises RemoteProtocolError on an offer that is none."""
        call = self._desk.name(call_id)
        peer = AnsweringPeer(
            self._host,
            offer_sdp,
            [address],
            source_ports=self._source_ports,
            on_closed=lambda _detail: self._desk.hang_up(call),
        )
        task = asyncio.get_running_loop().create_task(self._connect(call, peer))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return peer.answer_sdp, call

    async def _connect(self, call: str, peer: AnsweringPeer) -> None:
        try:
            media = await peer.connect(_CONNECT_LIMIT_S)
            self._desk.take(call, _line(media), release=peer.close)
        except (SetupError, GeneratorError) as error:
            print(f"responder: call {call}: {error}", file=sys.stderr, flush=True)
            peer.close()
        except asyncio.CancelledError:
            peer.close()
            raise

    async def aclose(self) -> None:
        """Give up calls that are still connecting; the desk must have ended the others."""
        for task in list(self._connecting):
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        self._host.close()


def _line(media: PeerMedia) -> Line:
    return Line(
        port=media.port,
        remote=media.remote,
        codec=media.codec,
        payload_type=media.payload_type,
        ssrc=media.ssrc,
        remote_ssrc=media.remote_ssrc,
        outgoing=media.outgoing,
        incoming=media.incoming,
    )
