"""A scripted engine that speaks wire.py: `python scripted_engine.py MODE --fd N`. No media: it tells what a call was.

MODE  complete   every call connects and answers all its turns, about CALL_S after it was due
      die        as complete, but exits with status 3 during the second call
      hang       as complete, but ignores `stop`
      slow       calls never end by themselves
      unreachable every call fails at once: the target is gone
      broken     sends nonsense instead of `ready`
"""

import asyncio
import os
import signal
import socket
import sys
import time

from harness.corpus.manifest import load_corpus
from harness.engine import wire
from harness.model.codec import from_json, to_json
from harness.model.histogram import Histogram
from harness.model.plan import CallPlan
from harness.model.records import CallRecord, Cause, HealthSample, MediaStats, Outcome, SetupTimes, TurnRecord

CALL_S = 0.3
TTFB_MS = 640.0


class ScriptedEngine:
    def __init__(self, mode, reader, writer):
        self.mode, self.reader, self.writer = mode, reader, writer
        self.calls, self.begun, self.stopping = {}, 0, asyncio.Event()

    def send(self, kind, **fields):
        self.writer.write(wire.encode(kind, **fields))

    async def serve(self):
        decoder = wire.Decoder()
        while data := await self.reader.read(65536):
            for message in decoder.feed(data):
                await self.take(message)
            if self.stopping.is_set() and self.mode != "hang":
                await asyncio.gather(*self.calls.values(), return_exceptions=True)
                self.send("stopped")
                await self.writer.drain()
                return

    async def take(self, message):
        if message["t"] == "hello":
            if self.mode == "broken":
                self.writer.write(b"\xff\xff\xff\xffHTTP/1.1 400 Bad Request")
                return
            self.worker = message["worker"]
            self.corpus = load_corpus(message["corpus"], verify=False)
            self.send("ready", protocol=wire.PROTOCOL_VERSION, pid=os.getpid(), media_loop="scripted")
        elif message["t"] == "place":
            plan = from_json(CallPlan, message["plan"])
            self.calls[plan.call_id] = asyncio.create_task(self.run_call(plan, message["due_at_ns"]))
        elif message["t"] in {"hang_up", "stop"}:
            self.stopping.set()

    async def run_call(self, plan, due_at_ns):
        if due_at_ns is not None:
            while time.monotonic_ns() < due_at_ns:
                if self.stopping.is_set():
                    return
                await asyncio.sleep(0.01)
        self.begun += 1
        started = time.monotonic_ns()
        if self.mode == "unreachable":
            self.end(plan, due_at_ns, started, None, Outcome.FAILED, Cause.SIGNALLING_UNREACHABLE)
            return
        self.send("milestone", call_id=plan.call_id, name="connected", at_ns=started, value_ms=12.5)
        if self.mode == "die" and self.begun == 2:
            await self.writer.drain()
            os._exit(3)
        seconds = 3600.0 if self.mode == "slow" else CALL_S
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            for number, _ in enumerate(plan.turns, 1):
                self.turn(plan, number)
            self.end(plan, due_at_ns, started, started, Outcome.COMPLETED, Cause.NONE)
        else:
            self.end(plan, due_at_ns, started, started, Outcome.INTERRUPTED, Cause.OPERATOR)

    def turn(self, plan, number):
        clip = self.corpus.utterances[plan.turns[number - 1].utterance_id]
        ended = time.monotonic_ns()
        ttfb_ms = TTFB_MS + plan.index
        record = TurnRecord(
            call_id=plan.call_id,
            turn=number,
            attempt=0,
            caller=plan.caller,
            utterance_id=clip.id,
            reference=clip.transcript,
            accent=clip.accent,
            native=clip.native,
            noise=clip.noise,
            snr_db=clip.snr_db,
            vocabulary=clip.vocabulary,
            utterance_ms=clip.duration_ms,
            codec="opus",
            speech_started_at_ns=ended - round(clip.duration_ms * 1e6),
            speech_ended_at_ns=ended,
            onset_at_ns=ended + round(ttfb_ms * 1e6),
            ttfb_ms=ttfb_ms,
            censored=False,
            waited_ms=ttfb_ms,
            false_endpoint=False,
            cut=False,
            hypothesis=clip.transcript,
            transcript_channel="rtvi",
            agent_text="Certainly.",
            target=plan.target.name,
            transport=plan.target.transport,
        )
        self.send("turn", record=to_json(record))

    def end(self, plan, due_at_ns, started, connected, outcome, cause):
        now = time.monotonic_ns()
        record = CallRecord(
            call_id=plan.call_id,
            index=plan.index,
            worker=self.worker,
            caller=plan.caller,
            persona=plan.persona,
            outcome=outcome,
            cause=cause,
            detail="scripted",
            transport=plan.target.transport,
            target=plan.target.name,
            story=plan.story,
            codec="opus" if connected else None,
            due_at_ns=due_at_ns,
            started_at_ns=started,
            connected_at_ns=connected,
            ended_at_ns=now,
            arrival_lateness_ms=None if due_at_ns is None else (started - due_at_ns) / 1e6,
            setup=SetupTimes(total_ms=12.5 if connected else None),
            greeting_ms=300.0 if connected else None,
            turns_planned=len(plan.turns),
            turns_answered=len(plan.turns) if outcome is Outcome.COMPLETED else 0,
            media=MediaStats(packets_sent=500, packets_received=500),
        )
        self.send("call", record=to_json(record))

    async def report_health(self):
        while True:
            await asyncio.sleep(0.2)
            sample = HealthSample(
                worker=getattr(self, "worker", "?"),
                at_ns=time.monotonic_ns(),
                interval_ms=200.0,
                calls_active=1,
                ticks=10,
                tick_lateness_ms=Histogram.of([0.1] * 10).to_json(),
                cpu_ratio=0.1,
                host_cpu_ratio=0.1,
                packets_sent=10,
                packets_received=10,
                send_errors=0,
                socket_drops=0,
                loop_lag_ms=0.1,
            )
            self.send("health", sample=to_json(sample))


async def main(mode, descriptor):
    # As the real one: who starts it decides when it ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
    engine = ScriptedEngine(mode, reader, writer)
    health = asyncio.create_task(engine.report_health())
    await engine.serve()
    health.cancel()
    writer.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[sys.argv.index("--fd") + 1])))
