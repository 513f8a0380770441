"""Options of `up` that say how a turn is heard and answered: overlap, recognition in parts, where spans go."""

import argparse
from dataclasses import dataclass, field

from harness.model.errors import ScenarioError
from target_stack.pipeline.recognition import SttRules
from target_stack.pipeline.reply import ReplyRules
from target_stack.stages.endpointing import EndpointRules

SWITCH = ("on", "off")
COMPUTES = ("auto", "int8", "int8_float16", "float16", "float32")


@dataclass(frozen=True)
class TurnConfig:
    """How a turn is heard and answered."""

    stt: SttRules = field(default_factory=SttRules)
    reply: ReplyRules = field(default_factory=ReplyRules)
    endpointing: EndpointRules = field(default_factory=EndpointRules)
    # Of the recogniser: cpu or cuda, and faster-whisper's compute type.
    stt_device: str = "cpu"
    stt_compute: str = "int8"
    # Collector that spans go to; "": none.
    otlp: str = ""


def add_options(up: argparse.ArgumentParser) -> None:
    """Add the options."""
    up.add_argument(
        "--overlap",
        default="on",
        metavar="WORD",
        help="off: each stage waits for the whole of the one before it (%(default)s)",
    )
    up.add_argument(
        "--stt-chunked",
        default="on",
        metavar="WORD",
        help="on: utterances are recognised in parts while they are spoken; off: in one pass at the end (%(default)s)",
    )
    up.add_argument(
        "--stt-timeout-ms",
        type=float,
        default=8000.0,
        metavar="MS",
        help="for the words of one part, or of the one pass; then the turn fails (%(default)g)",
    )
    up.add_argument(
        "--partials-ms",
        type=float,
        default=1000.0,
        metavar="MS",
        help="speech after which the words so far are told, where the recogniser is free; 0: never (%(default)g)",
    )
    up.add_argument(
        "--pause-ms",
        type=float,
        default=160.0,
        metavar="MS",
        help="silence after which a reply is drafted, in case it was the turn's end (%(default)g)",
    )
    up.add_argument(
        "--reply-sentences", type=int, default=1, metavar="N", help="longest reply of the agent (%(default)s)"
    )
    up.add_argument("--stt-device", metavar="NAME", help="cpu or cuda (cpu; gpu: cuda)")
    up.add_argument(
        "--stt-compute", default="auto", metavar="WORD", help="auto: int8 on cpu, float16 on cuda (%(default)s)"
    )
    up.add_argument(
        "--otlp", default="", metavar="URL", help="OpenTelemetry collector for spans, as http://host:4318 (extra: otel)"
    )


def turn_from(options: argparse.Namespace) -> TurnConfig:
    """Return the checked configuration. Raises ScenarioError."""
    is_overlapped, is_chunked = _is_on("overlap", options), _is_on("stt_chunked", options)
    limits = {
        "stop_ms": (100, 5000),
        "barge_in_ms": (50, 5000),
        "stt_timeout_ms": (100, 120_000),
        "partials_ms": (0, 60_000),
        "pause_ms": (60, 5000),
        "reply_sentences": (1, 10),
    }
    for name, (low, high) in limits.items():
        value = getattr(options, name)
        if not low <= value <= high:
            raise ScenarioError(f"--{name.replace('_', '-')} {value:g}: must be {low:g} to {high:g}")
    return TurnConfig(
        stt=SttRules(is_chunked, options.stt_timeout_ms, options.partials_ms),
        reply=ReplyRules(max_sentences=options.reply_sentences, is_overlapped=is_overlapped),
        endpointing=EndpointRules(
            stop_after_ms=options.stop_ms,
            barge_in_ms=options.barge_in_ms,
            pause_ms=options.pause_ms if is_overlapped and is_chunked else 0.0,
        ),
        stt_device=_device(options.stt_device),
        stt_compute=_compute(options.stt_compute, options.stt_device),
        otlp=_collector(options.otlp),
    )


def _is_on(name: str, options: argparse.Namespace) -> bool:
    value = getattr(options, name)
    if value not in SWITCH:
        raise ScenarioError(f"--{name.replace('_', '-')} {value}: legal: {', '.join(SWITCH)}")
    return bool(value == "on")


def _device(name: str) -> str:
    if name not in ("cpu", "cuda"):
        raise ScenarioError(f"--stt-device {name}: legal: cpu, cuda")
    return name


def _compute(name: str, device: str) -> str:
    if name not in COMPUTES:
        raise ScenarioError(f"--stt-compute {name}: legal: {', '.join(COMPUTES)}")
    return {"cpu": "int8", "cuda": "float16"}[device] if name == "auto" else name


def _collector(url: str) -> str:
    if url and not url.startswith(("http://", "https://")):
        raise ScenarioError(f"--otlp {url}: must begin with http:// or https://, and end before /v1/traces")
    return url
