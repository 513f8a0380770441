"""The engine: hosts calls in an asyncio process without gevent and talks wire.py to Locust over one socket."""

import asyncio
import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp

from harness.callers.call import Call, CallContext, codecs_of
from harness.callers.exchange import Milestone
from harness.callers.media_stream_host import StreamHost
from harness.callers.plain.calls import Place, PlainCalls, compile_plain
from harness.callers.plain.desk import Listener
from harness.callers.plain.hot.jit import INTERPRETED
from harness.callers.plain.record import quote
from harness.callers.plain.row import Row
from harness.callers.setup_queue import SetupQueue
from harness.callers.sip_begun import Begun
from harness.callers.sip_host import SipHost
from harness.callers.source_ports import SourcePorts
from harness.corpus.manifest import load_corpus
from harness.engine import headroom, wire
from harness.engine.clip_store import ClipStore
from harness.engine.due_calls import DueCalls
from harness.engine.fault_desk import FaultDesk
from harness.engine.health import HealthMeter, sleep_and_measure_lag
from harness.engine.plan_reader import PlanReader
from harness.media.codecs import Codec
from harness.media.hot.stream_ear import compile_stream_ears
from harness.media.loop import MediaLoop
from harness.media.peer import seam
from harness.media.peer.host import PeerHost
from harness.media.priority import at_normal_priority
from harness.model.clock import NS_PER_S, monotonic_ns
from harness.model.codec import from_json, to_json
from harness.model.errors import CallquakeError, GeneratorError, LocalProtocolError, ScenarioError
from harness.model.fault import Evidence, Fault
from harness.model.needs import Needs
from harness.model.plan import CallPlan
from harness.model.records import Cause, Outcome, TurnRecord

HEALTH_INTERVAL_S = 1.0
FLUSH_AFTER_S = 0.02
DRAIN_LIMIT_S = 10.0
_logger = logging.getLogger(__name__)


class Engine:
    """Serves one Locust worker over `reader`/`writer` until told to stop, or until the worker is gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._media_loop = MediaLoop()
        self._calls: dict[str, Call] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._plans = PlanReader()
        self._due = DueCalls(self._begin)
        self._faults = FaultDesk(self._calls, self._tell_fault)
        self._clips: ClipStore | None = None
        self._context: CallContext | None = None
        self._streams: StreamHost | None = None
        self._sip: SipHost | None = None
        self._plain: PlainCalls | None = None
        self._worker = ""
        # Plans that calls are like, by their numbers on the wire; and where such calls are placed if they are plain.
        self._alike: dict[int, tuple[CallPlan, Place | None]] = {}
        # Messages that are written together: each write wakes a process.
        self._unsent: list[bytes] = []

    def compile(self) -> None:
        """Compile the media loop and the ears of media streams, if this state of them is not on disk yet."""
        self._media_loop.compile()
        compile_stream_ears()

    async def serve(self) -> None:
        """Run to the end."""
        if "gevent" in sys.modules:
            raise LocalProtocolError("the engine must not share a process with gevent: it falsifies its timing")
        seam.guard_versions()
        decoder = wire.Decoder()
        self._media_loop.start()
        peers = PeerHost(self._media_loop)
        self._sip = SipHost()
        health: asyncio.Task[None] | None = None
        try:
            # As many requests at a time as there are set-ups: a limit here would count as the agent's slowness.
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
                self._streams = StreamHost(http)
                while data := await self._reader.read(65536):
                    for message in decoder.feed(data):
                        if message["t"] == "hello":
                            self._hello(message, http, peers)
                            health = asyncio.create_task(self._report_health(str(message["worker"])))
                        elif message["t"] == "stop":
                            await self._drain("the run was stopped")
                            self._send("stopped")
                            self._flush()
                            await self._writer.drain()
                            return
                        else:
                            await self._command(message)
                if self._media_loop.failure is not None:
                    raise GeneratorError(f"the media loop died: {self._media_loop.failure!r}")
                # The worker is gone: nobody reads our records any more, so hang up and leave.
                await self._drain("the load generator went away")
        finally:
            if health is not None:
                health.cancel()
            peers.close()
            if self._streams is not None:
                self._streams.close()
            if self._plain is not None:
                self._plain.close()
            await self._sip.aclose()
            self._media_loop.stop()
            self._flush()

    def _send(self, kind: str, **fields: Any) -> None:
        self._put(wire.encode(kind, **fields))

    def _put(self, frame: bytes) -> None:
        if not self._unsent:
            asyncio.get_running_loop().call_later(FLUSH_AFTER_S, self._flush)
        self._unsent.append(frame)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent and not self._writer.is_closing():
            self._writer.write(b"".join(unsent))

    def _hello(self, message: wire.Message, http: aiohttp.ClientSession, peers: PeerHost) -> None:
        if message["protocol"] != wire.PROTOCOL_VERSION:
            raise LocalProtocolError(f"wire protocol {message['protocol']} is not {wire.PROTOCOL_VERSION}")
        told, room = message.get("needs"), headroom.room_here(self._media_loop.capacity)
        needs = None if told is None else from_json(Needs, told)
        warnings = [] if needs is None else headroom.check(needs, room)
        corpus = load_corpus(Path(message["corpus"]))
        self._clips = ClipStore(corpus)
        self._faults.know(corpus.utterances)
        self._worker = str(message["worker"])
        self._context = CallContext(
            worker=self._worker,
            run_dir=Path(message["run_dir"]),
            http=http,
            media_loop=self._media_loop,
            peers=peers,
            source_ports=SourcePorts(self._media_loop),
            setup_queue=SetupQueue(),
            timers=peers.timers,
            utterances=corpus.utterances,
            clip=self._clips.clip,
            on_turn=self._on_turn,
            on_milestone=self._on_milestone,
            streams=self._streams,
            sip=self._sip,
            on_up=self._faults.up,
        )
        if (
            needs is not None
            and self._sip is not None
            and any(p.transport == "sip" and not p.audio for p in needs.kinds)
        ):
            self._plain = plain_calls(self._sip, self)
        self._send(
            "ready",
            protocol=wire.PROTOCOL_VERSION,
            pid=os.getpid(),
            media_loop=self._media_loop.mode,
            warnings=warnings,
        )

    async def _command(self, message: wire.Message) -> None:
        kind = message["t"]
        if kind == "place":
            self._place(self._plans.read(message["plan"]), message.get("due_at_ns"))
        elif kind == "alike":
            await self._add_alike(message)
        elif kind == "rows":
            self._place_rows(message["number"], message["calls"])
        elif kind == "fault":
            self._faults.begin(from_json(Fault, message["fault"]))
        elif kind == "end_fault":
            self._faults.end(str(message["name"]))
        elif kind == "hang_up":
            self._hang_up(message["call_id"], "hung up by the operator")
        else:
            raise LocalProtocolError(
                f"unknown message '{kind}'; legal: hello, place, alike, rows, fault, end_fault, hang_up, stop"
            )

    def _hang_up(self, call_id: str, why: str) -> None:
        end = (Outcome.INTERRUPTED.value, Cause.OPERATOR.value, why)
        if self._plain is not None and self._plain.interrupt(call_id, end):
            return
        call = self._calls.get(call_id)
        if call is not None:
            call.interrupt(Cause.OPERATOR, why)

    async def _add_alike(self, message: wire.Message) -> None:
        plan = self._plans.read(message["plan"])
        place = None if self._plain is None else await self._plain.open(plan, self._worker)
        self._alike[message["number"]] = (plan, place)

    def _place_rows(self, number: int, calls: list[Any]) -> None:
        if number not in self._alike:
            raise LocalProtocolError(f"'rows' of {number} came before its 'alike'")
        alike, place = self._alike[number]
        rows = [Row(*call) for call in calls]
        if place is not None and self._plain is not None:
            rows = self._plain.place(place, rows)
        for row in rows:
            self._place(row.plan(alike), row.due_at_ns)

    # What becomes of plain calls (callers/plain).

    def on_plain_connected(self, call_id: str, at_ns: int, setup_ms: float) -> None:
        """Send a milestone."""
        body = (
            f'{{"t":"milestone","call_id":{quote(call_id)},"name":"connected","at_ns":{at_ns},"value_ms":{setup_ms}}}'
        )
        self._put(wire.framed("milestone", body.encode()))

    def on_plain_ended(self, _call_id: str, record: str) -> None:
        """Send a record."""
        self._put(wire.framed("call", f'{{"t":"call","record":{record}}}'.encode()))

    def on_plain_due(self, plan: CallPlan, due_at_ns: int | None) -> None:
        """Begin a call that may not be plain just now."""
        self._begin(plan, due_at_ns)

    def on_plain_handed(self, plan: CallPlan, due_at_ns: int | None, begun: Begun) -> None:
        """Go on with a call that is plain no more."""
        context = self._context
        assert context is not None
        call = self._calls[plan.call_id] = Call(plan, due_at_ns, context, begun)
        self._tasks[plan.call_id] = asyncio.create_task(self._run(plan.call_id, call))

    def _place(self, plan: CallPlan, due_at_ns: int | None) -> None:
        if due_at_ns is None or self._missing_clips(plan):
            self._begin(plan, due_at_ns)
        else:
            self._due.add(plan, due_at_ns)

    def _begin(self, plan: CallPlan, due_at_ns: int | None) -> None:
        self._tasks[plan.call_id] = asyncio.create_task(self._run_call(plan, due_at_ns))

    def _missing_clips(self, plan: CallPlan) -> list[tuple[str, Codec]]:
        if self._clips is None:
            raise LocalProtocolError("'place' came before 'hello'")
        wanted = [(turn.utterance_id, codec) for codec in codecs_of(plan.target) for turn in plan.turns]
        return [clip for clip in dict.fromkeys(wanted) if not self._clips.has(*clip)]

    async def _run_call(self, plan: CallPlan, due_at_ns: int | None) -> None:
        context, clips = self._context, self._clips
        if context is None or clips is None:
            raise LocalProtocolError("'place' came before 'hello'")
        unknown = [t.utterance_id for t in plan.turns if t.utterance_id not in context.utterances]
        if unknown:
            raise ScenarioError(f"call {plan.call_id}: the corpus has no utterance '{unknown[0]}'")
        # Before the call is due.
        await self._encode(plan, clips)
        if due_at_ns is not None and (early_ns := due_at_ns - monotonic_ns()) > 0:
            await asyncio.sleep(early_ns / NS_PER_S)
        due_at_ns = await self._faults.hold(plan, due_at_ns)
        call = Call(await self._varied(plan, clips), due_at_ns, context)
        self._calls[plan.call_id] = call
        self._faults.begun(call)
        await self._run(plan.call_id, call)

    async def _varied(self, plan: CallPlan, clips: ClipStore) -> CallPlan:
        """Return the plan as the faults in force have it, its clips encoded."""
        varied = self._faults.vary(plan)
        if varied is not plan:
            await self._encode(varied, clips)
        return varied

    async def _encode(self, plan: CallPlan, clips: ClipStore) -> None:
        """Have a call's clips, beside the event loop: each takes tens of ms."""
        for utterance_id, codec in self._missing_clips(plan):
            try:
                await asyncio.get_running_loop().run_in_executor(None, clips.clip, utterance_id, codec)
            except Exception:
                # The call asks again, and says so in its row if it fails again; here it would end without one.
                _logger.exception("call %s: the audio of '%s' cannot be read yet", plan.call_id, utterance_id)

    async def _run(self, call_id: str, call: Call) -> None:
        try:
            record = await call.run()
        finally:
            del self._calls[call_id]
            del self._tasks[call_id]
            self._faults.over(call_id)
        self._send("call", record=to_json(record))

    def _tell_fault(self, name: str, evidence: Evidence, is_over: bool) -> None:
        self._send("fault", name=name, evidence=to_json(evidence), is_over=is_over)

    def _on_turn(self, record: TurnRecord) -> None:
        self._send("turn", record=to_json(record))

    def _on_milestone(self, call_id: str, milestone: Milestone) -> None:
        self._send(
            "milestone", call_id=call_id, name=milestone.name, at_ns=milestone.at_ns, value_ms=milestone.value_ms
        )

    async def _drain(self, why: str) -> None:
        self._due.clear()
        # Before a herd is let go: nobody is to call any more.
        for call_id, task in self._tasks.items():
            if call_id not in self._calls:
                task.cancel()
        await self._faults.drain()
        if self._plain is not None:
            self._plain.interrupt_all((Outcome.INTERRUPTED.value, Cause.OPERATOR.value, why))
        for call in list(self._calls.values()):
            call.interrupt(Cause.OPERATOR, why)
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=DRAIN_LIMIT_S)
        if self._plain is not None:
            await self._plain.until_over(DRAIN_LIMIT_S)

    @property
    def _active(self) -> int:
        return len(self._calls) + (0 if self._plain is None else self._plain.active)

    async def _report_health(self, worker: str) -> None:
        meter = HealthMeter(worker, self._media_loop, self._streams, self._sip)
        with contextlib.suppress(ConnectionError):
            while True:
                lag_ms = await sleep_and_measure_lag(HEALTH_INTERVAL_S)
                if self._media_loop.failure is not None:
                    # Ends `serve`: an engine without media must die loudly, not report silence as the agent's.
                    self._reader.feed_eof()
                    return
                self._faults.report()
                self._send("health", sample=to_json(meter.sample(self._active, lag_ms)))


def plain_calls(host: SipHost, listener: Listener) -> PlainCalls | None:
    """Return what places plain SIP calls, compiled; None where nothing is compiled."""
    if INTERPRETED:
        return None
    # For some seconds of compiling, once an installation, nobody else must wait.
    with at_normal_priority():
        compile_plain()
    return PlainCalls(host, listener)


def fault_of(error: CallquakeError) -> str:
    """Return whose fault a fatal error is, as the wire says it."""
    return "scenario" if isinstance(error, ScenarioError) else "generator"
