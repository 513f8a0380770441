"""`python -m benchmarks.engine_calls URL FOLDER --core N`: short SIP calls of one engine, driven as a run drives it.

The engine is the product's own process, on core N; plans go to it over its wire a second ahead of their due times, and
milestones and records come back. Plans are written before and records read after a rate is held: what a load generator
costs is no part of the figure. Calls carry no audio and are hung up as soon as they are answered.

    (start)            {"event": "ready", "pid": of the engine}
    hold RATE SECONDS  {"event": "held", "placed": .., "completed": .., "seconds": .., "resent": .., "cpu_s": .., ...}
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.accounting import read_cpu
from benchmarks.commands import tell
from benchmarks.engine_link import EngineLink
from harness.calibrate.utterances import write_corpus
from harness.engine import wire
from harness.engine.wire import Message
from harness.media.codecs import PCMU
from harness.model.clock import NS_PER_MS, NS_PER_S, monotonic_ns
from harness.model.needs import Needs
from harness.model.plan import CallPlan
from harness.scenario.check import prepare

_SCENARIO = """
name: short-calls
seed: 1
target:
  url: {url}
  sip: {{media: false, hold_s: 0}}
callers:
  - {{name: benchmark, turns: 1, patience: unlimited}}
load:
  arrivals: {{distribution: uniform, stages: [{{duration_s: 1, rate_per_minute: 60}}]}}
"""
_WARM_UP_CALLS = 300
_WARM_UP_PER_S = 100.0
# As far ahead of its due time a run hands over a plan (harness/load/session.py).
AHEAD_S = 1.0
# Plans leave in steps of this, and reading what came has its turn between two.
_STEP_S = 0.02
# To write a plan down, with some room.
_WRITING_NS = 30_000
_END_LIMIT_S = 40.0


def plan_of(url: str, folder: Path) -> CallPlan:
    """Return a plan as the product makes it from a scenario; writes scenario and corpus into `folder`."""
    write_corpus(folder / "corpus", PCMU)
    scenario = folder / "scenario.yaml"
    scenario.write_text(_SCENARIO.format(url=url))
    return prepare(scenario, corpus_dir=folder / "corpus").planner.plan_for_index(0, 0.0)


class Placed:
    """Calls of one rate: their plans, due evenly, and what came back of them."""

    def __init__(self, name: str, plan: CallPlan, rate: float, count: int) -> None:
        self._gap_ns = NS_PER_S / rate
        self._plans = [
            replace(plan, call_id=f"{name}-{i:06d}", index=i, due_ms=self._gap_ns * i / NS_PER_MS) for i in range(count)
        ]

    def frames(self, writer: wire.AlikeWriter, first_due_ns: int) -> list[tuple[int, bytes]]:
        """Return the messages that place the calls as a run does (harness/load/engine_client.py), and when each is due.

        A message has the calls that fall due within _STEP_S.
        """
        calls = [(plan, first_due_ns + round(self._gap_ns * i)) for i, plan in enumerate(self._plans)]
        size = max(1, int(_STEP_S * NS_PER_S / self._gap_ns))
        parts = [calls[begin : begin + size] for begin in range(0, len(calls), size)]
        return [(part[0][1], writer.write(part)) for part in parts]

    def outcome(self, first_due_ns: int, messages: Sequence[Message]) -> dict[str, Any]:
        """Return what became of the calls, by the engine's messages."""
        rows = [message["record"] for message in messages if message["t"] == "call"]
        samples = [message["sample"] for message in messages if message["t"] == "health"]
        sip = [row["sip"] for row in rows if row.get("sip")]
        late = sorted(row["arrival_lateness_ms"] for row in rows)
        last_ns = max((row["ended_at_ns"] for row in rows), default=first_due_ns)
        return {
            "placed": len(self._plans),
            # As SIPp counts them: with the answer to the BYE.
            "completed": sum(r["outcome"] == "completed" and (r["sip"] or {}).get("bye") == "answered" for r in rows),
            "seconds": max(1, last_ns - first_due_ns) / NS_PER_S,
            "resent": sum(facts["retransmissions"] for facts in sip),
            "byes": dict(Counter(facts["bye"] for facts in sip)),
            "causes": dict(Counter(row["cause"] for row in rows)),
            "lateness_p99_ms": late[int(0.99 * (len(late) - 1))] if late else None,
            "socket_drops": sum(sample["socket_drops"] for sample in samples),
            "loop_lag_ms": max((sample["loop_lag_ms"] for sample in samples), default=None),
        }


class Driver:
    """One engine and the calls it is given."""

    def __init__(self, engine: EngineLink, plan: CallPlan, peers: Sequence[int]) -> None:
        """`peers`: the process ids of the agent's side, whose CPU time is told beside the engine's."""
        self._engine = engine
        self._peers = peers
        self._plan = plan
        self._count = 0
        self._writer = wire.AlikeWriter()

    def hold(self, rate: float, count: int) -> dict[str, Any]:
        """Place `count` calls, `rate` a second, and wait for their ends."""
        self._count += 1
        placed = Placed(f"rate{self._count}", self._plan, rate, count)
        first_ns = monotonic_ns() + int((AHEAD_S + 0.2) * NS_PER_S + count * _WRITING_NS)
        frames = placed.frames(self._writer, first_ns)
        self._engine.take()
        self._engine.listen((first_ns - monotonic_ns()) / NS_PER_S - AHEAD_S)
        before = [read_cpu(pid) for pid in (self._engine.pid, *self._peers)]
        self._drive(frames, count)
        after = [read_cpu(pid) for pid in (self._engine.pid, *self._peers)]
        cpu_s, *peers = [now.since(then) / NS_PER_S for then, now in zip(before, after, strict=True)]
        return {**placed.outcome(first_ns, self._engine.take()), "cpu_s": cpu_s, "peer_cpu_s": sum(peers)}

    def _drive(self, frames: list[tuple[int, bytes]], count: int) -> None:
        limit_ns, sent = frames[-1][0] + int(_END_LIMIT_S * NS_PER_S), 0
        while self._engine.ended < count and monotonic_ns() < limit_ns:
            until_ns, first = monotonic_ns() + int(AHEAD_S * NS_PER_S), sent
            while sent < len(frames) and frames[sent][0] <= until_ns:
                sent += 1
            if sent > first:
                self._engine.send(b"".join(frame for _due, frame in frames[first:sent]))
            self._engine.listen(_STEP_S)


def main() -> None:
    """Run until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine_calls", description=__doc__)
    parser.add_argument("url", help="sip:HOST:PORT")
    parser.add_argument("folder", type=Path, help="for the corpus and the engine's log")
    parser.add_argument("--core", type=int, help="that the engine is pinned to (default: none)")
    parser.add_argument("--peer", type=int, action="append", default=[], help="process id on the agent's side")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    plan = plan_of(options.url, options.folder)
    needs = Needs(1, is_certain=False, transport=plan.target.transport, audio=False)
    with EngineLink(options.folder, options.core, needs) as engine:
        driver = Driver(engine, plan, options.peer)
        driver.hold(_WARM_UP_PER_S, _WARM_UP_CALLS)
        tell("ready", pid=engine.pid)
        while line := sys.stdin.readline().strip():
            word, rate, seconds = line.split()
            if word != "hold":
                raise ValueError(f"unknown command '{line}'; legal: hold RATE SECONDS")
            tell("held", **driver.hold(float(rate), max(1, round(float(rate) * float(seconds)))))


if __name__ == "__main__":
    main()
