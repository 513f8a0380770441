"""What all of the responder's calls share, whatever brought them: behaviour, clips, truth, media loop, counts."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import IO, Any

from pylibsrtp import Session

from harness.calibrate.agent import Agent
from harness.calibrate.answers import AnswerShelf
from harness.calibrate.behaviour import Behaviour, Draws
from harness.measure.calibration import Truth
from harness.media.codecs import Codec
from harness.media.loop import MediaLoop
from harness.media.media_call import MediaCall
from harness.media.port import MediaPort
from harness.media.spec import Address, MediaSpec
from harness.model.records import MediaStats

# A caller that vanished without a word is let go after this.
_MEDIA_TIMEOUT_MS = 15_000.0
_FLUSH_AFTER_S = 0.02
_TRUTH_FIELDS = tuple(f.name for f in fields(Truth))


@dataclass(frozen=True, slots=True)
class Line:
    """Where one call's media comes from and goes to, and how it is told from others'."""

    port: MediaPort
    remote: Address
    codec: Codec
    payload_type: int
    ssrc: int
    remote_ssrc: int | None = None
    by_ssrc: bool = False
    any_source: bool = False
    outgoing: Session | None = None
    incoming: Session | None = None


@dataclass(slots=True)
class _Open:
    media: MediaCall
    agent: Agent
    port: Address
    release: Callable[[], None]


class Desk:
    """Takes calls: each gets an agent and a row of the media loop."""

    def __init__(self, behaviour: Behaviour, truth: IO[str], media_loop: MediaLoop) -> None:
        self.behaviour = behaviour
        self.media_loop = media_loop
        self._truth = truth
        self._shelf = AnswerShelf(behaviour)
        self._calls: dict[str, _Open] = {}
        self._count = 0
        self._told: list[Truth] = []
        self._is_flush_due = False
        # One thread, so that lines stay in order.
        self._writer = ThreadPoolExecutor(1, "truth")
        self._done = MediaStats()
        self._drops: dict[Address, int] = {}
        self._overflows = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def name(self, wanted: str) -> str:
        """Return the name of a new call: what its caller calls it, with a number where that is taken or nothing."""
        self._count += 1
        return wanted if wanted and wanted not in self._calls else f"{wanted or 'call'}-{self._count}"

    def take(self, call: str, line: Line, release: Callable[[], None]) -> None:
        """Begin the media of `call`; `release` is called once, when it has ended. Raises GeneratorError."""
        draws = Draws(self.behaviour, call)
        agent = Agent(
            call, line.codec, self.behaviour, draws, self._shelf, self._tell, on_gone=lambda: self.hang_up(call)
        )
        media = self.media_loop.add_call(
            line.port,
            MediaSpec(
                remote=line.remote,
                ssrc=line.ssrc,
                first_sequence=secrets.randbits(15),
                first_timestamp=secrets.randbits(32),
                cname="responder",
                quiet_ms=self.behaviour.hangover_ms,
                media_timeout_ms=_MEDIA_TIMEOUT_MS,
                post=agent.on_event,
                codec=line.codec,
                payload_type=line.payload_type,
                outgoing=line.outgoing,
                incoming=line.incoming,
                background=self._shelf.background(line.codec),
                dtx=self.behaviour.silence == "dtx",
                by_ssrc=line.by_ssrc,
                remote_ssrc=line.remote_ssrc,
                any_source=line.any_source,
                by_size=agent.hears_by_size,
                impair_outgoing=draws.impairment(),
            ),
        )
        self._calls[call] = _Open(media, agent, line.port.address, release)
        agent.begin(media)

    def media(self, call: str) -> MediaCall | None:
        """Return the media of a call, None when it has none."""
        opened = self._calls.get(call)
        return None if opened is None else opened.media

    def hang_up(self, call: str) -> None:
        """End a call, in the background; one that is not there has ended already."""
        task = asyncio.get_running_loop().create_task(self.end(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self, call: str) -> None:
        """End a call and wait for it."""
        ended = self._calls.pop(call, None)
        if ended is None:
            return
        last = await ended.media.close()
        self._note_drops(ended.port, last)
        self._done = _sum(self._done, last)
        ended.agent.end()
        ended.release()

    async def aclose(self) -> None:
        """End every call."""
        await asyncio.gather(*(self.end(call) for call in list(self._calls)), return_exceptions=True)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._flush()
        await asyncio.get_running_loop().run_in_executor(None, self._writer.shutdown)

    def _tell(self, truth: Truth) -> None:
        self._told.append(truth)
        if not self._is_flush_due:
            # One write for the answers of this while; a reader waits no longer than that for a line.
            self._is_flush_due = True
            asyncio.get_running_loop().call_later(_FLUSH_AFTER_S, self._flush)

    def _flush(self) -> None:
        """Write beside the event loop: a disk that takes seconds must not hold up the answers."""
        self._is_flush_due = False
        told, self._told = self._told, []
        self._writer.submit(_write, self._truth, told)

    # --- counts ----------------------------------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """Return counts since the start, and the lateness of ticks since the last time it was asked."""
        total = self._done
        for opened in self._calls.values():
            last = opened.media.stats()
            self._note_drops(opened.port, last)
            total = _sum(total, last)
        loop = self.media_loop.take_stats()
        self._overflows += loop.overflows
        return {
            "calls": len(self._calls),
            "taken": self._count,
            "packets_sent": total.packets_sent,
            "packets_received": total.packets_received,
            "packets_lost": total.packets_lost,
            "send_errors": total.send_errors,
            "socket_drops": sum(self._drops.values()),
            "tick_lateness_ms": loop.tick_lateness_ms.to_json(),
            "overflows": self._overflows,
            "media_loop": self.media_loop.mode,
        }

    def _note_drops(self, port: Address, last: MediaStats) -> None:
        """Keep the drops of each port once; all of its calls tell the same number."""
        self._drops[port] = max(self._drops.get(port, 0), last.socket_drops)


def _write(file: IO[str], told: Sequence[Truth]) -> None:
    # `asdict` alone would take longer than all the rest of an answer.
    lines = [{**{name: getattr(truth, name) for name in _TRUTH_FIELDS}, "ttfb_ms": truth.ttfb_ms} for truth in told]
    with contextlib.suppress(ValueError):
        # A file that was closed under us has no use for them.
        file.write("".join(f"{json.dumps(line)}\n" for line in lines))
        file.flush()


def _sum(total: MediaStats, last: MediaStats) -> MediaStats:
    return MediaStats(
        packets_sent=total.packets_sent + last.packets_sent,
        packets_received=total.packets_received + last.packets_received,
        packets_lost=total.packets_lost + max(0, last.packets_lost),
        send_errors=total.send_errors + last.send_errors,
    )
