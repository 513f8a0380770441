"""`python -m target_stack up | serve | models | stages | compliance`; `callquake` runs it for these commands."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path

from harness.media.event_loop import ClosingLoop
from harness.model.errors import CallquakeError, ScenarioError
from target_stack import (
    config,
    emulation_config,
    gpu_check,
    llm_config,
    remote_config,
    sip_config,
    tts_config,
    turn_config,
)
from target_stack.compliance import cli as compliance_cli
from target_stack.emulation import cli as stages_cli
from target_stack.models import cli as models_cli
from target_stack.priority import yield_to_other_sessions
from target_stack.profiles import PROFILES
from target_stack.servers import config as servers_config
from target_stack.serving import cli as serving_cli
from target_stack.settled_heap import settle_heap
from target_stack.stages.tts import DEFAULT_VOICE
from target_stack.until_stopped import is_loaded, stop_signals

# As `callquake` exits: harness/exit_codes.py.
BAD_OPTION = 104
START_FAILED = 1

# Read by the model libraries when they are imported. onnxruntime otherwise looks for its telemetry host; OpenMP threads
# otherwise spin for 200 ms after each job, on cores that the load generator needs.
LIBRARY_ENVIRONMENT = {"ORT_DISABLE_TELEMETRY": "1", "OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}

UP = """\
Start the voice agent that ships with Callquake: calls in by WebRTC, carriers' media streams and SIP; Silero VAD,
faster-whisper, a language model, Kokoro; speech out. HTTP is up at once; GET /readyz answers 200 when the models are
loaded and calls are taken.

  callquake up                                 everything real, on this CPU; weights are fetched on first use
  callquake up --llm scripted                  fixed replies: less to fetch, the same replies every run
  callquake up --llm-url http://host:8000      your own OpenAI-compatible server (key in CALLQUAKE_LLM_API_KEY)
  callquake up --port 0 --events turns.jsonl   any free port; one JSON line a turn with every stage's time
  callquake up --sip-port 5060                 SIP calls as well, over UDP and TCP; a trunk of 16 (--sip-trunk-calls)
  callquake up --sip-port 5060 --media-servers 3  3 processes of 100 calls each behind a front (docs/media-servers.md)
  callquake up --profile gpu --llm-url URL --tts-model kokoro-v1_0.pth   float16 and CUDA (docs/gpu.md); without
                                               --llm-url vLLM is started here: --vllm-model NAME
  callquake up --profile emulated              no models: service times before real queues, for thousands of calls

Call it at http://HOST:PORT/api/offer (WebRTC; also /whip, /v1/realtime/calls), ws://HOST:PORT/twilio (media streams)
and sip:agent@HOST:PORT, or open http://HOST:PORT/ in a browser and talk. Ctrl-C stops it. Every option can also be set
in the environment as CALLQUAKE_<OPTION>, for example CALLQUAKE_PORT=9000. docs/target-stack.md tells more.
"""


def parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    """Return the command line; defaults come from the environment."""
    root = argparse.ArgumentParser(prog="callquake", description=__doc__)
    commands = root.add_subparsers(required=True, metavar="up | serve | models | stages | compliance")
    up = commands.add_parser(
        "up", help="start the agent", description=UP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    _add_up_options(up, environment)
    up.set_defaults(run=run_up)
    models_cli.add_parser(commands)
    stages_cli.add_parser(commands, lambda measuring: _add_up_options(measuring, environment))
    serving_cli.add_parser(commands, lambda serving, stage: _add_serve_options(serving, stage, environment))
    compliance_cli.add_parser(commands)
    return root


def _add_up_options(up: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
    _add_edge_options(up)
    sip_config.add_options(up)
    servers_config.add_options(up)
    llm_config.add_options(up)
    _add_model_options(up)
    tts_config.add_options(up)
    remote_config.add_options(up)
    turn_config.add_options(up)
    emulation_config.add_options(up)
    _add_turn_options(up)
    _read_environment(up, environment)


def _add_serve_options(serving: argparse.ArgumentParser, stage: str, environment: Mapping[str, str]) -> None:
    _add_up_options(serving, environment)
    if "CALLQUAKE_PORT" not in environment:
        # Beside an agent of this machine.
        serving.set_defaults(port=serving_cli.PORTS[stage])


def _add_edge_options(up: argparse.ArgumentParser) -> None:
    up.add_argument(
        "--profile",
        default="cpu",
        metavar="NAME",
        help=f"{', '.join(PROFILES)}: real models, or service times in their place (docs/emulated.md)",
    )
    up.add_argument("--host", default="127.0.0.1", metavar="HOST", help="address to listen on (%(default)s)")
    up.add_argument(
        "--port", type=int, default=8080, metavar="N", help="TCP port for HTTP, 0 for any free one (%(default)s)"
    )
    up.add_argument(
        "--max-calls",
        type=int,
        default=16,
        metavar="N",
        help="WebRTC calls at once, and as many media streams; more get 503 (%(default)s)",
    )
    up.add_argument(
        "--websocket-fallback",
        default="off",
        metavar="WORD",
        help="on: answers to WebRTC offers name a WebSocket for callers whose ICE fails; off (%(default)s)",
    )
    up.add_argument("--events", type=Path, metavar="FILE", help="append one JSON line per turn, barge-in and call")
    up.add_argument(
        "--compliance",
        type=Path,
        metavar="FILE",
        help="disclosure, consent and recording by the caller's region: a YAML file with a block `compliance:`",
    )
    up.add_argument(
        "--routes",
        type=Path,
        metavar="FILE",
        help="providers that STT, LLM and TTS overflow to, with limits and prices (docs/target-stack.md)",
    )
    up.add_argument(
        "--admin-token",
        default="",
        metavar="TOKEN",
        help="what /admin asks for; without one it is for this machine alone (better set as CALLQUAKE_ADMIN_TOKEN)",
    )
    up.add_argument(
        "--log-level", default="warning", metavar="WORD", help="debug, info, warning or error (%(default)s)"
    )


def _add_model_options(up: argparse.ArgumentParser) -> None:
    up.add_argument("--models", type=Path, metavar="DIR", help="cache of weights (see `callquake models --help`)")
    up.add_argument("--stt-model", type=Path, metavar="DIR", help="a faster-whisper folder of your own")
    up.add_argument("--tts-model", type=Path, metavar="FILE", help="a Kokoro ONNX file of your own")
    up.add_argument("--llm-model", type=Path, metavar="FILE", help="a GGUF base model of your own")
    up.add_argument("--no-fetch", action="store_true", help="fail rather than download weights")
    up.add_argument(
        "--stt-workers", type=int, metavar="N", help="utterances recognised at once (1; emulated: the file's slots)"
    )
    up.add_argument(
        "--tts-workers", type=int, metavar="N", help="sentences spoken at once (1; emulated: the file's slots)"
    )
    up.add_argument(
        "--waiting", type=int, metavar="N", help="jobs that may wait for each before refusal (16; emulated: the file's)"
    )
    up.add_argument(
        "--model-threads", type=int, default=2, metavar="N", help="CPU threads of STT and TTS each (%(default)s)"
    )


def _add_turn_options(up: argparse.ArgumentParser) -> None:
    up.add_argument(
        "--greeting",
        default=config.DEFAULT_GREETING,
        metavar="TEXT",
        help="said when a call begins; empty for none",
    )
    up.add_argument("--voice", default=DEFAULT_VOICE, metavar="NAME", help="Kokoro voice (%(default)s)")
    up.add_argument(
        "--echo-detection",
        default="on",
        metavar="WORD",
        help="on: the agent's own voice in a caller's audio is not taken for the caller; off (%(default)s)",
    )
    up.add_argument(
        "--vad", metavar="WORD", help="who hears that the user speaks: silero, or level (silero; emulated: level)"
    )
    up.add_argument(
        "--stop-ms", type=float, default=500.0, metavar="MS", help="silence that ends the user's turn (%(default)g)"
    )
    up.add_argument(
        "--barge-in-ms", type=float, default=250.0, metavar="MS", help="speech that interrupts the agent (%(default)g)"
    )


def _read_environment(up: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
    """Let CALLQUAKE_<OPTION> stand in for an option; argparse converts and reports it like the option itself."""
    for action in up._actions:  # noqa: SLF001 - argparse has no public list of options
        value = environment.get(f"CALLQUAKE_{action.dest.upper()}")
        if value is None or not action.option_strings or action.dest == "help":
            continue
        action.default = value not in ("", "0") if action.nargs == 0 else value


def run_up(options: argparse.Namespace) -> int:
    """Run the stack until SIGINT or SIGTERM; return the exit status."""
    for name, value in LIBRARY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    level = logging.getLevelNamesMapping().get(options.log_level.upper())
    if level is None:
        raise ScenarioError(f"--log-level {options.log_level}: legal: debug, info, warning, error")
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    yield_to_other_sessions()
    settings = config.config_from(options, os.environ)
    if settings.profile == "gpu":
        gpu_check.require(settings)
    if settings.servers.is_on:
        # Needed by who asks for it.
        from target_stack.servers.serve import serve_front  # noqa: PLC0415

        serving = serve_front(settings)
    else:
        serving = _serve(settings)
    with asyncio.Runner(loop_factory=ClosingLoop) as runner:
        return runner.run(serving)


async def _serve(settings: config.StackConfig) -> int:
    # After the checks: a wrong option is told without waiting for the imports.
    from target_stack.app import Stack  # noqa: PLC0415

    stack = Stack(settings)
    try:
        async with stop_signals() as stopping:
            port = await stack.start()
            addresses = [f"http://{settings.host}:{port}"]
            addresses += [uri for uri in astuple(await stack.start_sip()) if uri]
            print(f"up: {' '.join(addresses)} (loading models)", file=sys.stderr, flush=True)
            if await is_loaded(stack.load(), stopping):
                settle_heap()
                print(f"up: ready on {' '.join(addresses)}", file=sys.stderr, flush=True)
                await stopping
        return 0
    finally:
        await stack.aclose()


def main(arguments: list[str] | None = None) -> int:
    """Parse, run, and turn errors made for people into one line and an exit status."""
    options = parser(os.environ).parse_args(arguments)
    try:
        return int(options.run(options))
    except ScenarioError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_OPTION
    except ImportError as error:
        print(f"error: {error}; the cpu profile needs: pip install -e '.[cpu]' in the checkout", file=sys.stderr)
        return START_FAILED
    except (CallquakeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return START_FAILED


if __name__ == "__main__":
    sys.exit(main())
