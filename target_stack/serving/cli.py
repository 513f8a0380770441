"""`serve stt | tts`: recogniser or voice as a server of its own."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable

from harness.model.errors import ScenarioError
from target_stack import config, gpu_check
from target_stack.remote_config import KEY_VARIABLE
from target_stack.until_stopped import is_loaded, stop_signals

ABOUT = """\
Recogniser or voice as a server of its own, in OpenAI's shapes, for agents that are started with --stt-url and
--tts-url: several agents, or media servers, then share one model and one queue, and their sentences share batches.

  callquake serve stt --port 8091                        POST /v1/audio/transcriptions
  callquake serve tts --port 8092 --tts-batch 8          POST /v1/audio/speech
  callquake serve tts --profile gpu --tts-model kokoro-v1_0.pth
  callquake up --stt-url http://127.0.0.1:8091 --tts-url http://127.0.0.1:8092

GET /readyz answers 200 when the model is loaded; /metrics has queue, batches and answers. Full: 429 with Retry-After.
CALLQUAKE_SPEECH_KEY, where set, is asked for as a bearer token. Every option of `up` that is about models counts.
"""
PORTS = {"stt": 8091, "tts": 8092}

# Adds the options of `up` for a stage.
_AddOptions = Callable[[argparse.ArgumentParser, str], None]


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", add_options: _AddOptions) -> None:
    """Add `serve` to a command line."""
    parser = commands.add_parser(
        "serve",
        help="recogniser or voice as a server of its own",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    stages = parser.add_subparsers(required=True, metavar="stt | tts")
    for stage, what in (("stt", "serve the recogniser"), ("tts", "serve the voice")):
        serving = stages.add_parser(stage, help=what)
        add_options(serving, stage)
        serving.set_defaults(run=run_serve, stage=stage)


def run_serve(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; return the exit status. Raises ScenarioError, NoGpuError, OSError."""
    level = logging.getLevelNamesMapping().get(options.log_level.upper())
    if level is None:
        raise ScenarioError(f"--log-level {options.log_level}: legal: debug, info, warning, error")
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if options.profile == "emulated":
        raise ScenarioError("--profile emulated: has no models to serve; media servers share its stages by themselves")
    # Nothing but this stage is here, so nothing of the others is asked for.
    options.llm = "scripted"
    if options.stage == "stt":
        options.tts_engine, options.tts_device = options.tts_engine or "onnx", options.tts_device or "cpu"
    settings = config.config_from(options, os.environ)
    if options.stt_url or options.tts_url:
        raise ScenarioError("--stt-url, --tts-url: the model is to be here; legal: with `up`")
    if settings.profile == "gpu":
        wanted = {"GPU", options.stage.upper(), f"{options.stage.upper()} weights"}
        checks = {name: check for name, check in gpu_check.checks_of(settings).items() if name in wanted}
        gpu_check.require(settings, checks)
    return asyncio.run(_serve(options.stage, settings, os.environ.get(KEY_VARIABLE, "")))


async def _serve(stage: str, settings: config.StackConfig, key: str) -> int:
    # After the checks: a wrong option is told without waiting for the imports.
    from target_stack.serving.server import SpeechServer  # noqa: PLC0415

    server = SpeechServer(stage, settings, key)
    try:
        async with stop_signals() as stopping:
            port = await server.start()
            address = f"http://{settings.host}:{port}"
            print(f"serve {stage}: {address} (loading)", file=sys.stderr, flush=True)
            if await is_loaded(server.load(), stopping):
                print(f"serve {stage}: ready on {address}", file=sys.stderr, flush=True)
                await stopping
        await server.drain()
        return 0
    finally:
        await server.aclose()
