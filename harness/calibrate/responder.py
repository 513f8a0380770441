"""The reference responder: an agent that answers a known delay after the end of the caller's speech.

It is what Callquake's own error is measured against, so it keeps its own truth, on its own sockets and clock reads:
when the packet with the caller's last voiced audio reached this host's kernel, and when the packet with the first
voiced sample of its answer was sent. Both are written to the truth file, one JSON line per answer.

It is built of the same media loop as the callers, in a process of its own, so that it holds thousands of calls on one
core. What it shares with them is that code: a wrong kernel stamp or send stamp would be wrong on both sides, and would
then show twice in the error (harness/measure/calibration.py), not vanish. What it does not share is the question that
decides: it never listens for an onset, for it knows the packet in which its own voice begins, and its callers' clips
end where a packet ends, so that payload sizes tell the end of speech (Opus) without decoding.

--hear size (Opus): a packet of more than 12 bytes is voiced. For callers that speak known clips, like ours.
--hear level: the media loop's own detector judges decoded audio, as it does for PCMU, PCMA and G.722 in any case.
"""

import argparse
import asyncio
import gc
import resource
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from aiohttp import web

from harness.calibrate.behaviour import HEARINGS, SILENCES, Behaviour
from harness.calibrate.desk import Desk
from harness.calibrate.rtp_calls import SignalledRtpCalls, StaticRtpCalls
from harness.calibrate.sip_front import SipFront
from harness.calibrate.webrtc_calls import WebRtcCalls
from harness.engine.health import sleep_and_measure_lag
from harness.media.loop import MediaLoop
from harness.media.priority import raise_priority
from harness.model.errors import GeneratorError, RemoteProtocolError
from harness.protocols import audio_sdp, small_webrtc

_CAPACITY = 8192
_LAG_INTERVAL_S = 0.05
SOURCE_PORTS = ("per_call", "shared")


class Responder:
    """HTTP in front of the desk: offers of both kinds, hang-ups, health and counts."""

    def __init__(self, behaviour: Behaviour, truth: IO[str], *, source_ports: str = "per_call") -> None:
        self._behaviour = behaviour
        self._media_loop = MediaLoop(_CAPACITY)
        self._desk = Desk(behaviour, truth, self._media_loop)
        self._webrtc = WebRtcCalls(self._desk, source_ports=source_ports)
        self._rtp = SignalledRtpCalls(self._desk, source_ports=source_ports)
        self._static = StaticRtpCalls(self._desk)
        self._sip = SipFront(self._desk, self._rtp, self._about())
        self._runner: web.AppRunner | None = None
        # The longest since it was last asked for.
        self._lag_ms = 0.0
        self._lag_watch: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> tuple[str, str]:
        """Listen; return the offer endpoint's URL and the one of the fixed RTP port.

        The media thread has this thread's priority. What there is to compile is compiled before that is raised: for
        a minute of compiling it would starve its neighbours.
        """
        self._media_loop.compile()
        raise_priority()
        self._media_loop.start()
        self._lag_watch = asyncio.create_task(self._watch_lag())
        app = web.Application()
        app.router.add_post("/api/offer", self._offer)
        app.router.add_post("/offer", self._offer)
        app.router.add_delete("/calls/{call}", self._end)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/stats", self._stats)
        self._runner = web.AppRunner(app, shutdown_timeout=1.0, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, backlog=4096).start()
        fixed = self._static.open(host)
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self._runner.addresses[0][1]}/api/offer", f"rtp://{shown}:{fixed[1]}"

    async def start_sip(self, host: str, port: int) -> str:
        """Take SIP calls too; return the agent's URI."""
        return await self._sip.start(host, port)

    async def aclose(self) -> None:
        """End every call and stop listening."""
        await self._sip.aclose()
        if self._lag_watch is not None:
            self._lag_watch.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._desk.aclose()
        await self._webrtc.aclose()
        self._media_loop.stop()

    def _about(self) -> dict[str, Any]:
        about = {"name": "callquake reference responder", "behaviour": asdict(self._behaviour)}
        return {**about, "simulated": ["the whole agent: a reference responder with scripted delays"]}

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response(self._about())

    async def _stats(self, _request: web.Request) -> web.Response:
        lag_ms, self._lag_ms = self._lag_ms, 0.0
        return web.json_response({**self._desk.stats(), "loop_lag_ms": lag_ms})

    async def _watch_lag(self) -> None:
        while True:
            self._lag_ms = max(self._lag_ms, await sleep_and_measure_lag(_LAG_INTERVAL_S))

    async def _offer(self, request: web.Request) -> web.Response:
        try:
            if request.content_type == audio_sdp.MEDIA_TYPE:
                return await self._rtp_offer(request)
            return await self._webrtc_offer(request)
        except (RemoteProtocolError, UnicodeDecodeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        except GeneratorError as error:
            return web.json_response({"error": str(error)}, status=503)

    async def _webrtc_offer(self, request: web.Request) -> web.Response:
        offer = small_webrtc.parse_offer(await request.read())
        wanted = str(offer.request_data.get("call_id") or "")
        sdp, call = self._webrtc.answer(offer.sdp, wanted, _local_address(request))
        body = small_webrtc.build_answer(small_webrtc.Answer(sdp, call))
        return web.Response(text=body, content_type="application/json")

    async def _rtp_offer(self, request: web.Request) -> web.Response:
        wanted = request.headers.get("X-Call-Id", "")
        sdp, call = self._rtp.answer((await request.read()).decode(), wanted, _local_address(request))
        return web.Response(
            text=sdp, status=201, content_type=audio_sdp.MEDIA_TYPE, headers={"Location": f"/calls/{call}"}
        )

    async def _end(self, request: web.Request) -> web.Response:
        await self._desk.end(request.match_info["call"])
        return web.Response(status=204)


def _local_address(request: web.Request) -> str:
    """Return our address as the caller reached it: media is answered from there."""
    transport = request.transport
    name: Any = transport.get_extra_info("sockname") if transport is not None else None
    return str(name[0]) if name else "127.0.0.1"


# --- the command ---------------------------------------------------------------------------------------------------


def _range(text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    try:
        values = (float(low), float(high or low))
    except ValueError:
        values = (-1.0, -1.0)
    if values[0] < 0 or values[1] < values[0]:
        raise argparse.ArgumentTypeError(f"'{text}' is no range; legal: MS or MS:MS, e.g. 200:2000")
    return values


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m harness.calibrate.responder", description=summary)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 = any free port; it is printed (default: %(default)s)")
    parser.add_argument(
        "--sip-port",
        type=int,
        metavar="N",
        help="take SIP calls too, by UDP and TCP; 0 = any free port; its address is the third line printed",
    )
    parser.add_argument(
        "--delay-ms", type=_range, default=(200.0, 2000.0), metavar="A:B", help="end of speech to answer"
    )
    parser.add_argument("--leading-silence-ms", type=_range, default=(0.0, 0.0), metavar="A:B")
    parser.add_argument("--answer-ms", type=float, default=700.0)
    parser.add_argument("--greeting-ms", type=float, default=700.0, help="0 = no greeting")
    parser.add_argument(
        "--silence",
        choices=SILENCES,
        default="packets",
        help="between answers: silence packets, nothing (DTX), noise at -60 dBFS as packets of the call's codec "
        "(RFC 3389 packets are not sent) (default: %(default)s)",
    )
    parser.add_argument("--dtx", action="store_const", const="dtx", dest="silence", help="the same as --silence dtx")
    parser.add_argument(
        "--loss",
        type=float,
        default=0.0,
        help="share of our packets lost on their way to the caller; what is heard stays whole, or there would be no "
        "truth to tell",
    )
    parser.add_argument("--mute", action="store_true", help="take calls and never answer")
    parser.add_argument(
        "--hear", choices=HEARINGS, default="size", help="size: callers that speak known clips (default: %(default)s)"
    )
    parser.add_argument(
        "--hangover-ms",
        type=float,
        default=160.0,
        help="quiet that ends the caller's turn; 700 for real speech with its pauses (default: %(default)s)",
    )
    parser.add_argument(
        "--source-ports", choices=SOURCE_PORTS, default="per_call", help="of our answers (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--truth", type=Path, default=Path("/dev/null"), help="JSON lines, one per answer")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; prints its addresses first: the offer endpoint, then the fixed RTP port."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.delay_ms[0] <= options.hangover_ms:
        parser.error(f"--delay-ms must be longer than --hangover-ms ({options.hangover_ms:g})")
    if not 0 <= options.loss <= 1:
        parser.error(f"--loss: got {options.loss:g}; legal: 0 to 1")
    behaviour = Behaviour(
        delay_ms=options.delay_ms,
        leading_silence_ms=options.leading_silence_ms,
        answer_ms=options.answer_ms,
        greeting_ms=options.greeting_ms,
        silence=options.silence,
        loss_ratio=options.loss,
        mute=options.mute,
        hear=options.hear,
        seed=options.seed,
        hangover_ms=options.hangover_ms,
    )
    with options.truth.open("w") as truth:
        asyncio.run(_serve(behaviour, truth, options))
    return 0


async def _serve(behaviour: Behaviour, truth: IO[str], options: argparse.Namespace) -> None:
    sys.setswitchinterval(0.0005)
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    _allow_descriptors()
    responder = Responder(behaviour, truth, source_ports=options.source_ports)
    offers, fixed = await responder.start(options.host, options.port)
    print(f"{offers}\n{fixed}", flush=True)
    if options.sip_port is not None:
        print(await responder.start_sip(options.host, options.sip_port), flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await responder.aclose()


def _allow_descriptors() -> None:
    """Raise the soft limit: a call may take a port of its own."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
