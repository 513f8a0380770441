"""`python -m benchmarks.overlap`: what the overlap of the stages gains, on the real models of the CPU profile.

The same clips of the corpus are spoken in real time to two agents that share the models: the stages of one overlap, in
the other each waits for the whole of the one before (`up --overlap on | off`). A call is one clip and its answer. Both
calls of a clip follow each other, the first one changing, one call at a time. No network is between: TTFB is from the
arrival of the last voiced audio to the first audible packet handed over.

Told are TTFB of both, the sum of the stages' own times of both (each as if it had waited for the whole of the one
before), and TTFB with overlap over that sum, call by call; intervals are bootstrapped over clips.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.failure import BenchmarkError
from benchmarks.table import machine_line, replaced
from harness.corpus.audio import read_pcm
from harness.corpus.manifest import load_corpus
from harness.model.clock import monotonic_ns
from target_stack.__main__ import LIBRARY_ENVIRONMENT, parser
from target_stack.app import Stack
from target_stack.config import config_from
from target_stack.edge.playout import FRAME_MS, Playout
from target_stack.frames import INPUT_RATE, AgentEvent, AgentSession, CallFacts, Pcm, SpeechOut
from target_stack.pipeline.reply import NO_SAMPLES
from target_stack.pipeline.session import Greeting, Session, SessionRules
from target_stack.telemetry.events import EventLog
from target_stack.telemetry.record import Telemetry
from target_stack.telemetry.spans import STAGE_SUM, TTFB, Trace
from target_stack.telemetry.stats import Stats

BEGIN = "<!-- overlap: written by `python -m benchmarks.overlap`; do not edit -->"
END = "<!-- end of overlap -->"
MODES = ("on", "off")
PACKET = INPUT_RATE * FRAME_MS // 1000
PATIENCE_S = 180.0
DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Answered:
    """One call's figures in ms. `work_ms`: each stage's own time; `spans`: name, kind, begin and end, from the last
    voiced audio on.
    """

    clip: str
    mode: str
    ttfb_ms: float
    stage_sum_ms: float
    gap_ms: float
    work_ms: dict[str, float]
    spans: list[tuple[str, str, float, float]]
    # Of the caller's audio as the recogniser had it, and of the reply's speech.
    user_audio_ms: float = 0.0
    spoken_ms: float = 0.0


class SplitError(BenchmarkError):
    """The agent took a pause within the clip for its end: no single answer that two modes could be compared by."""


class _Traces(Telemetry):
    """Keeps the traces."""

    def __init__(self) -> None:
        super().__init__(Stats(), EventLog())
        self.traces: list[Trace] = []

    def turn_traced(self, trace: Trace) -> None:
        """Keep it."""
        self.traces.append(trace)


@dataclass
class _Line:
    """An edge without a network: a frame every 20 ms."""

    session: AgentSession | None = None
    playout: Playout = field(default_factory=Playout)
    facts: CallFacts = field(default_factory=CallFacts)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    turns: list[int] = field(default_factory=list)

    def play(self, speech: SpeechOut) -> None:
        """Queue it."""
        self.playout.play(speech)

    def flush(self) -> float:
        """Drop what is queued."""
        return self.playout.flush()

    def decline(self) -> None:
        """Nothing here declines."""

    def tell(self, event: AgentEvent) -> None:
        """Nobody listens."""

    async def run(self) -> None:
        """Send until cancelled."""
        assert self.session is not None
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += FRAME_MS / 1000
            await asyncio.sleep(due - loop.time())
            frame = self.playout.next_frame()
            if frame.started is not None:
                self.session.playout_started(frame.started, monotonic_ns())
            for turn in frame.drained:
                self.session.playout_drained(turn, monotonic_ns())
                self.turns.append(turn)
                self.over.set()


async def call(stack: Stack, mode: str, clip: str, speech: Pcm, options: Sequence[str]) -> Answered:
    """Speak the clip to an agent in this mode, and hear its answer out. Raises BenchmarkError."""
    turn = config_from(parser({}).parse_args(["up", *options, "--overlap", mode]), {}).turn
    traces, line = _Traces(), _Line()
    rules = SessionRules(turn.endpointing, turn.reply, turn.stt)
    stages = stack._stages  # noqa: SLF001 - two agents of different rules over the same models
    assert stages is not None
    line.session = session = Session(
        clip, line, stages=stages, rules=rules, greeting=Greeting("", NO_SAMPLES), telemetry=traces
    )
    await session.start()
    sending = asyncio.create_task(line.run())
    speaking = asyncio.create_task(_speak(session, speech))
    try:
        async with asyncio.timeout(PATIENCE_S + len(speech) / INPUT_RATE):
            await line.over.wait()
    except TimeoutError:
        raise BenchmarkError(f"{clip}, overlap {mode}: no answer within {PATIENCE_S:g} s of its end") from None
    finally:
        for task in (speaking, sending):
            task.cancel()
        await asyncio.gather(speaking, sending, return_exceptions=True)
        await session.aclose()
    heard = [trace for trace in traces.traces if TTFB in trace.root.attributes]
    if len(heard) != 1 or len(traces.traces) != 1:
        raise SplitError(f"{clip}, overlap {mode}: answered in {len(traces.traces)} turns, not in one")
    return _answered(clip, mode, heard[0])


async def _speak(session: AgentSession, speech: Pcm) -> None:
    loop = asyncio.get_running_loop()
    began, number = loop.time(), 0
    while True:
        packet = speech[number * PACKET : (number + 1) * PACKET]
        # Silence behind it for as long as the call lasts.
        session.push_audio(np.pad(packet, (0, PACKET - len(packet))), monotonic_ns())
        number += 1
        await asyncio.sleep(max(0.0, began + number * FRAME_MS / 1000 - loop.time()))


def _answered(clip: str, mode: str, trace: Trace) -> Answered:
    attributes, spans = trace.root.attributes, [span for _, span in trace.children]
    zero_ns = next(span.start_ns for span in spans if span.name == "endpointing")
    counted = [span for span in spans if span.name != "stt" and not span.attributes.get("callquake.cancelled")]
    work = {name: sum(s.duration_ms for s in counted if s.name == name) for name in ("endpointing", "llm", "tts")}
    total = float(attributes[STAGE_SUM])
    playout = sum(span.duration_ms for span in spans if span.name == "playout")
    work |= {"playout": playout, "stt": total - sum(work.values()) - playout}
    rows = [
        (
            span.name,
            str(span.attributes.get("callquake.stt.work", "cancelled" if span not in counted else "")),
            (span.start_ns - zero_ns) / 1e6,
            (span.end_ns - zero_ns) / 1e6,
        )
        for span in spans
    ]
    return Answered(
        clip,
        mode,
        float(attributes[TTFB]),
        total,
        float(attributes["callquake.gap_ms"]),
        work,
        rows,
        float(attributes["callquake.user_audio_ms"]),
        sum(float(span.attributes.get("callquake.tts.speech_ms", 0.0)) for span in counted),
    )


async def measure(clips: Sequence[str], rounds: int, options: Sequence[str]) -> tuple[list[Answered], list[str]]:
    """Place both calls of every clip, `rounds` times; return also what was left out, and why."""
    corpus = load_corpus()
    speech = {clip: read_pcm(corpus.utterances[clip], INPUT_RATE) for clip in clips}
    stack = Stack(config_from(parser({}).parse_args(["up", "--port", "0", "--greeting", "", *options]), os.environ))
    answers: list[Answered] = []
    left_out: list[str] = []
    try:
        await stack.start()
        await stack.load()
        for number in range(rounds * len(clips)):
            clip = clips[number % len(clips)]
            modes = MODES if number % 2 else MODES[::-1]
            try:
                pair = [await call(stack, mode, clip, speech[clip], options) for mode in modes]
            except SplitError as error:
                left_out.append(str(error))
                print(f"left out: {error}", file=sys.stderr)
                continue
            answers += pair
            told = "; ".join(f"{a.mode}: TTFB {a.ttfb_ms:,.0f}, stages {a.stage_sum_ms:,.0f} ms" for a in pair)
            print(f"{number + 1}/{rounds * len(clips)} {clip}, overlap {told}", file=sys.stderr)
    finally:
        await stack.aclose()
    return answers, left_out


def interval(values: Sequence[float], middle: Callable[[Sequence[float]], float] = statistics.median) -> str:
    """Return the median with its 95 % bootstrap interval and n."""
    rng = random.Random(1)
    draws = sorted(middle(rng.choices(values, k=len(values))) for _ in range(DRAWS))
    low, high = draws[round(0.025 * DRAWS)], draws[round(0.975 * DRAWS) - 1]
    digits = 2 if middle(values) < 10 else 0
    return f"{middle(values):,.{digits}f} ({low:,.{digits}f}-{high:,.{digits}f})"


def table(answers: Sequence[Answered], left_out: Sequence[str]) -> str:
    """Return the figures as Markdown."""
    on, off = ([a for a in answers if a.mode == mode] for mode in MODES)
    pairs = list(zip(on, sorted_like(off, on), strict=True))
    rows = {
        "TTFB p50, ms": ([a.ttfb_ms for a in on], [a.ttfb_ms for a in off]),
        "sum of the stages' own times p50, ms": ([a.stage_sum_ms for a in on], [a.stage_sum_ms for a in off]),
        **{
            f"{name}, ms": ([a.work_ms[name] for a in on], [a.work_ms[name] for a in off])
            for name in ("endpointing", "stt", "llm", "tts", "playout")
        },
        "silence within the reply, ms": ([a.gap_ms for a in on], [a.gap_ms for a in off]),
    }
    lines = ["| median (95 % interval) | overlap on | overlap off |", "| --- | --- | --- |"]
    lines += [f"| {name} | {interval(a)} | {interval(b)} |" for name, (a, b) in rows.items()]
    ratios = {
        "TTFB on / sum of the stages' times, off": [a.ttfb_ms / b.stage_sum_ms for a, b in pairs],
        "TTFB on / sum of the stages' times, on": [a.ttfb_ms / a.stage_sum_ms for a in on],
        "TTFB on / TTFB off": [a.ttfb_ms / b.ttfb_ms for a, b in pairs],
    }
    lines += ["", "| of the same calls | median (95 % interval) | n |", "| --- | --- | --- |"]
    lines += [f"| {name} | {interval(values)} | {len(values)} |" for name, values in ratios.items()]
    lines += ["", f"Left out, as the agent took a pause in the clip for its end: {len(left_out)}."]
    return "\n".join(lines)


def sorted_like(ours: Sequence[Answered], others: Sequence[Answered]) -> list[Answered]:
    """Return ours in the order of the others' clips."""
    left = list(ours)
    ordered = []
    for other in others:
        match = next(a for a in left if a.clip == other.clip)
        left.remove(match)
        ordered.append(match)
    return ordered


def draw(count: int, seed: int, longest_s: float) -> list[str]:
    """Return clips of the corpus, clean ones without long pauses, drawn with the seed."""
    found = [
        name
        for name, utterance in sorted(load_corpus().utterances.items())
        if utterance.noise == "clean" and utterance.duration_ms <= 1000 * longest_s and not utterance.pauses_ms
    ]
    random.Random(seed).shuffle(found)
    return found[:count]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    command = argparse.ArgumentParser(prog="python -m benchmarks.overlap", description=__doc__)
    command.add_argument("--clips", type=int, default=20, help="of the corpus, drawn with --seed (%(default)s)")
    command.add_argument("--rounds", type=int, default=1, help="%(default)s")
    command.add_argument("--seed", type=int, default=1, help="%(default)s")
    command.add_argument("--longest-s", type=float, default=10.0, help="of a clip (%(default)g)")
    command.add_argument("--llm", default="real", help="real or scripted (%(default)s)")
    command.add_argument("--reply-sentences", default="1", help="longest reply (%(default)s)")
    command.add_argument("--json", type=Path, metavar="FILE", help="write every call's figures")
    command.add_argument("--into", type=Path, metavar="PAGE", help="replace the table of this page, too")
    options = command.parse_args(arguments)
    # Before the model libraries are imported, which the stages do as they load.
    for name, value in LIBRARY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    clips = draw(options.clips, options.seed, options.longest_s)
    try:
        stack_options = ["--llm", options.llm, "--reply-sentences", options.reply_sentences]
        answers, left_out = asyncio.run(measure(clips, options.rounds, stack_options))
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not answers:
        print("error: no clip was answered in one turn; nothing is measured", file=sys.stderr)
        return 1
    document: dict[str, Any] = {
        "benchmark": "overlap",
        "machine": machine.facts(),
        "llm": options.llm,
        "calls": [asdict(answer) for answer in answers],
        "left_out": left_out,
    }
    content = f"{table(answers, left_out)}\n\n{machine_line(f'overlap, --llm {options.llm}', document)}"
    print(content)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1, default=str) + "\n")
    if options.into is not None:
        options.into.write_text(replaced(options.into.read_text(), content, BEGIN, END))
    return 0


if __name__ == "__main__":
    sys.exit(main())
