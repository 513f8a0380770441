"""Options of `up` that say how speech is made."""

import argparse
from dataclasses import dataclass, field
from typing import Literal, cast

from harness.model.errors import ScenarioError
from target_stack.pipeline.batch_queue import BatchRules

Engine = Literal["onnx", "torch"]
ENGINES = ("onnx", "torch")


@dataclass(frozen=True)
class TtsConfig:
    """Batches of one are today's plain worker, without a batch queue."""

    engine: Engine = "onnx"
    # Of PyTorch: cpu, cuda, cuda:1 ...
    device: str = "cpu"
    batch: BatchRules = field(default_factory=lambda: BatchRules(size=1))

    @property
    def is_batched(self) -> bool:
        """PyTorch always goes through the queue."""
        return self.batch.size > 1 or self.engine == "torch"


def add_options(up: argparse.ArgumentParser) -> None:
    """Add the options."""
    up.add_argument("--tts-engine", metavar="WORD", help="onnx, or torch, which needs --tts-model (onnx; gpu: torch)")
    up.add_argument("--tts-device", metavar="NAME", help="for torch: cpu or cuda (cpu; gpu: cuda)")
    up.add_argument(
        "--tts-batch",
        type=int,
        metavar="N",
        help="sentences of several calls in one batch (1; emulated: as many as its file says)",
    )
    up.add_argument(
        "--tts-batch-wait-ms", type=float, default=50.0, metavar="MS", help="that a batch waits to fill (%(default)g)"
    )
    up.add_argument(
        "--tts-deadline-ms",
        type=float,
        default=5000.0,
        metavar="MS",
        help="with batches: a sentence not spoken by then is refused (%(default)g)",
    )


def tts_from(options: argparse.Namespace) -> TtsConfig:
    """Return the checked configuration. Raises ScenarioError."""
    if options.tts_engine not in ENGINES:
        raise ScenarioError(f"--tts-engine {options.tts_engine}: legal: {', '.join(ENGINES)}")
    if options.tts_engine == "torch" and options.tts_model is None:
        raise ScenarioError("--tts-engine torch: needs --tts-model FILE.pth, Kokoro-82M's PyTorch weights")
    limits = {"tts_batch": (1, 64), "tts_batch_wait_ms": (0, 1000), "tts_deadline_ms": (100, 60_000)}
    for name, (low, high) in limits.items():
        value = getattr(options, name)
        if not low <= value <= high:
            raise ScenarioError(f"--{name.replace('_', '-')} {value:g}: must be {low:g} to {high:g}")
    rules = BatchRules(
        size=options.tts_batch,
        wait_ms=options.tts_batch_wait_ms,
        deadline_ms=options.tts_deadline_ms,
        waiting=options.waiting,
        replicas=options.tts_workers,
    )
    return TtsConfig(cast("Engine", options.tts_engine), options.tts_device, rules)
