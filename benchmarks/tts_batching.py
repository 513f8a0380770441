"""`python -m benchmarks.tts_batching`: what the batch queue gains, by batch size and by callers at once.

Each cell has so many callers that ask for a sentence, wait for its speech and ask for the next, until all sentences
have been spoken. Every answer is held against the sentence spoken alone. A cell's gain is its sentences a second over
those of batches of one with as many callers in the same round, in which all sizes follow each other; so what drifts on
the machine drops out. Beside it stands the same by CPU time, which other processes do not lengthen.

With files that `--json` wrote it measures nothing and makes one table of them all; `--into PAGE` puts it into the page.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Before NumPy is imported: as many cores for batches of eight as for batches of one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np

from benchmarks import machine
from benchmarks.comparison import spread_of
from benchmarks.failure import BenchmarkError
from benchmarks.gru_voice import GruVoice
from benchmarks.table import machine_line, replaced
from target_stack.frames import SPEECH_RATE, Pcm
from target_stack.models.catalogue import KOKORO
from target_stack.models.store import ModelStore, default_cache, find_model
from target_stack.pipeline.batch_queue import BatchRules
from target_stack.pipeline.batched_tts import BatchedTts
from target_stack.stages.scripted_llm import REPLIES
from target_stack.stages.tts import KokoroOnnx, Voice
from target_stack.telemetry.batch_stats import BatchStats
from target_stack.telemetry.stats import Stats

BEGIN = "<!-- batching: written by `python -m benchmarks.tts_batching`; do not edit -->"
END = "<!-- end of batching -->"
MODELS = ("gru", "kokoro-onnx", "kokoro-torch")


@dataclass(frozen=True, slots=True)
class Cell:
    """One measurement. `busy_ratio`: share of the time that a replica worked, the mean of all."""

    model: str
    replicas: int
    size: int
    callers: int
    sentences: int
    seconds: float
    # Of this process, all threads.
    cpu_s: float
    speech_s: float
    mean_batch: float
    busy_ratio: float
    p50_ms: float
    p95_ms: float

    @property
    def per_s(self) -> float:
        """Sentences a second."""
        return self.sentences / self.seconds

    @property
    def per_cpu_s(self) -> float:
        """Sentences a second of CPU time."""
        return self.sentences / self.cpu_s

    @property
    def kind(self) -> tuple[str, int, int, int]:
        """What its rounds have in common."""
        return self.model, self.replicas, self.size, self.callers


class _SameSpeech:
    """Knows what each sentence sounds like alone. Kokoro draws breath at random: only its length can be told."""

    def __init__(self, voice: Voice, *, is_exact: bool) -> None:
        self._alone: dict[str, Pcm] = {}
        self._is_exact = is_exact
        for sentence in REPLIES:
            spoken = voice.speak([sentence])[0]
            if isinstance(spoken, Exception):
                raise spoken
            self._alone[sentence] = spoken

    def check(self, sentence: str, samples: Pcm) -> None:
        """Raise BenchmarkError where this is not the sentence's own speech."""
        own = self._alone[sentence]
        if not self._is_exact:
            if abs(len(samples) - len(own)) > SPEECH_RATE // 20:
                raise BenchmarkError(f"'{sentence}' came out {len(samples)} samples long, alone {len(own)}")
            return
        # Another order of summing moves the last bits.
        if len(samples) != len(own) or int(np.abs(samples.astype(int) - own).max(initial=0)) > 64:
            raise BenchmarkError(f"'{sentence}' came out with another's speech")


async def measure(
    name: str,
    voices: Sequence[Voice],
    rules: BatchRules,
    callers: int,
    sentences: int,
    check: Callable[[str, Pcm], None],
) -> Cell:
    """Return one cell's figures."""
    stats = BatchStats()
    tts = BatchedTts(voices, rules, Stats(), stats)
    took_ms: list[float] = []
    speech_s = 0.0
    asked: Iterator[int] = iter(range(sentences))

    async def caller() -> None:
        nonlocal speech_s
        for number in asked:
            sentence = REPLIES[number % len(REPLIES)]
            began = time.perf_counter()
            samples = (await tts.synthesise(sentence)).samples
            took_ms.append(1000 * (time.perf_counter() - began))
            check(sentence, samples)
            speech_s += len(samples) / SPEECH_RATE

    began, began_cpu = time.perf_counter(), time.process_time()
    try:
        await asyncio.gather(*(caller() for _ in range(callers)))
    finally:
        await tts.aclose()
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    cuts = statistics.quantiles(took_ms, n=20, method="inclusive") if len(took_ms) > 1 else took_ms * 19
    return Cell(
        name,
        rules.replicas,
        rules.size,
        callers,
        sentences,
        seconds,
        cpu_s,
        speech_s,
        sentences / sum(stats.sizes.values()),
        stats.work.sum_ms / 1000 / seconds / rules.replicas,
        statistics.median(took_ms),
        cuts[18],
    )


def table(cells: Sequence[Cell]) -> str:
    """Return the cells as Markdown, a line for the rounds of one kind: medians, gains with lowest and highest."""
    kinds: dict[tuple[str, int, int, int], list[Cell]] = {}
    for cell in cells:
        kinds.setdefault(cell.kind, []).append(cell)
    lines = [
        "| model | replicas | batch size | callers | sentences/s | gain | gain by CPU | mean batch | p50 ms | p95 ms |",
        "|" + " --- |" * 10,
    ]
    for (model, replicas, size, callers), rounds in kinds.items():
        alone = kinds.get((model, 1, 1, callers), [])
        told = (
            f"{statistics.median(cell.per_s for cell in rounds):.2f}",
            _ratios([cell.per_s for cell in rounds], [cell.per_s for cell in alone]),
            _ratios([cell.per_cpu_s for cell in rounds], [cell.per_cpu_s for cell in alone]),
            f"{statistics.median(cell.mean_batch for cell in rounds):.1f}",
            f"{statistics.median(cell.p50_ms for cell in rounds):,.0f}",
            f"{statistics.median(cell.p95_ms for cell in rounds):,.0f}",
        )
        lines.append(f"| {model} | {replicas} | {size} | {callers} | " + " | ".join(told) + " |")
    return "\n".join(lines)


def _ratios(ours: Sequence[float], alone: Sequence[float]) -> str:
    """Return how many times ours is, round by round."""
    if len(ours) != len(alone):
        return "not measured"
    return str(spread_of([a / b for a, b in zip(ours, alone, strict=True)]))


def voices_of(model: str, options: argparse.Namespace) -> tuple[list[Voice], bool]:
    """Return as many voices as replicas, and whether they say the same every time. Raises BenchmarkError."""
    if model == "gru":
        return [GruVoice(options.width) for _ in range(options.replicas)], True
    if model == "kokoro-onnx":
        weights = find_model(ModelStore(default_cache(os.environ)), KOKORO, None)
        if weights is None:
            raise BenchmarkError("kokoro-onnx: no weights here; run `callquake models fetch` first")
        threads = max(1, options.threads // options.replicas)
        return [KokoroOnnx(weights, cpu_threads=threads) for _ in range(options.replicas)], False
    if options.weights is None:
        raise BenchmarkError("kokoro-torch: needs --weights FILE.pth")
    from target_stack.stages.kokoro_torch import KokoroTorch  # noqa: PLC0415 - only who asks for it has PyTorch

    return [
        KokoroTorch(options.weights, device=options.device, cpu_threads=options.threads)
        for _ in range(options.replicas)
    ], False


def run(options: argparse.Namespace) -> list[Cell]:
    """Measure every cell that was asked for, each said as it ends."""
    cells = []
    for model in options.models:
        voices, is_exact = voices_of(model, options)
        for voice in voices:
            voice.load()
        same = _SameSpeech(voices[0], is_exact=is_exact)
        for callers in options.callers:
            for size in _in_turns(options.sizes, options.rounds):
                rules = BatchRules(
                    size, options.wait_ms, deadline_ms=600_000, waiting=max(64, callers), replicas=len(voices)
                )
                cell = asyncio.run(measure(model, voices, rules, callers, options.sentences, same.check))
                print(f"{model}: batches of {size}, {callers} callers: {cell.per_s:.2f} sentences/s", file=sys.stderr)
                cells.append(cell)
    return cells


def _in_turns(sizes: Sequence[int], rounds: int) -> list[int]:
    """Return every size once a round, each round beginning with another."""
    return [sizes[(place + turn) % len(sizes)] for turn in range(rounds) for place in range(len(sizes))]


def _numbers(text: str) -> list[int]:
    numbers = [int(part) for part in text.split(",")]
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"'{text}': whole numbers from 1 on, separated by commas")
    return numbers


def _models(text: str) -> list[str]:
    wrong = [name for name in text.split(",") if name not in MODELS]
    if wrong:
        raise argparse.ArgumentTypeError(f"'{wrong[0]}' is not legal; legal: {', '.join(MODELS)}")
    return text.split(",")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.tts_batching", description=__doc__)
    options.add_argument("files", type=Path, nargs="*", metavar="FILE", help="written by --json: only make their table")
    options.add_argument("--into", type=Path, metavar="PAGE", help="with files: replace the table of this page")
    options.add_argument(
        "--models", type=_models, default=["gru", "kokoro-onnx"], help="of gru, kokoro-onnx, kokoro-torch"
    )
    options.add_argument("--sizes", type=_numbers, default=[1, 2, 4, 8], help="of batches (1,2,4,8)")
    options.add_argument("--callers", type=_numbers, default=[1, 4, 16], help="at once (1,4,16)")
    options.add_argument("--sentences", type=int, default=48, help="in each cell of each round (%(default)s)")
    options.add_argument("--rounds", type=int, default=3, help="%(default)s")
    options.add_argument("--replicas", type=int, default=1, help="voices, each with a thread of its own (%(default)s)")
    options.add_argument("--wait-ms", type=float, default=50.0, help="that a batch waits to fill (%(default)g)")
    options.add_argument("--threads", type=int, default=2, help="of Kokoro, all replicas together (%(default)s)")
    options.add_argument("--width", type=int, default=48, help="of gru (%(default)s)")
    options.add_argument("--weights", type=Path, metavar="FILE", help="of kokoro-torch")
    options.add_argument("--device", default="cpu", help="of kokoro-torch (%(default)s)")
    options.add_argument("--json", type=Path, metavar="FILE", help="write every figure, and what machine it is of")
    return options


def _tell(files: Sequence[Path], page: Path | None) -> int:
    documents = [json.loads(path.read_text()) for path in files]
    content = "\n".join(
        [
            table([Cell(**cell) for document in documents for cell in document["cells"]]),
            "",
            *(machine_line(path.stem, document) for path, document in zip(files, documents, strict=True)),
        ]
    )
    if page is None:
        print(content)
    else:
        page.write_text(replaced(page.read_text(), content, BEGIN, END))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    options = parser().parse_args(arguments)
    try:
        if options.files:
            return _tell(options.files, options.into)
        cells = run(options)
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(cells))
    if options.json is not None:
        document: dict[str, Any] = {
            "benchmark": "tts_batching",
            "machine": machine.facts(),
            "cells": [asdict(cell) for cell in cells],
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1, default=str) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
