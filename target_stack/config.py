"""Options of `up`, parsed once into frozen dataclasses and checked; nothing further in reads the environment."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.model.errors import ScenarioError
from target_stack import emulation_config, sip_config, tts_config, turn_config
from target_stack.compliance.settings import Settings, read_settings
from target_stack.edge.sip_options import SipOptions
from target_stack.edge.webrtc_kinds import WebRtc
from target_stack.emulation_config import EmulationConfig
from target_stack.llm_config import LlmConfig, llm_from
from target_stack.models.store import default_cache
from target_stack.profiles import settle
from target_stack.remote_config import RemoteSpeech, remote_from
from target_stack.routing.routes import Routes, read_routes
from target_stack.servers.config import ServersConfig, servers_from, webrtc_from
from target_stack.stages.tts import DEFAULT_VOICE, VOICES
from target_stack.tts_config import TtsConfig
from target_stack.turn_config import TurnConfig

VADS = ("silero", "level")
DEFAULT_GREETING = "Hello, thank you for calling. How can I help you today?"


@dataclass(frozen=True)
class ModelPaths:
    """Where weights come from. A path given here is used as it is; None means our own, from `cache`."""

    cache: Path
    stt: Path | None = None
    tts: Path | None = None
    llm: Path | None = None
    may_fetch: bool = True


@dataclass(frozen=True)
class StackConfig:
    """Everything `up` needs."""

    models: ModelPaths
    llm: LlmConfig
    host: str = "127.0.0.1"
    # 0: any free port, printed at start-up.
    port: int = 8080
    max_calls: int = 16
    sip: SipOptions = field(default_factory=SipOptions)
    tts: TtsConfig = field(default_factory=TtsConfig)
    # Our own providers only, where no file names others.
    routes: Routes = field(default_factory=lambda: read_routes(None))
    greeting: str = DEFAULT_GREETING
    voice: str = DEFAULT_VOICE
    turn: TurnConfig = field(default_factory=TurnConfig)
    # Recogniser and voice elsewhere (`callquake serve`); by default both are in this process.
    remote: RemoteSpeech = field(default_factory=RemoteSpeech)
    stt_workers: int = 1
    tts_workers: int = 1
    # Jobs that may wait for a busy model before new ones are refused.
    waiting: int = 16
    model_threads: int = 2
    events: Path | None = None
    # None: no disclosure, no consent, no recording.
    compliance: Settings | None = None
    profile: str = "cpu"
    vad: str = "silero"
    # None: real models.
    emulation: EmulationConfig | None = None
    # Of the admin API, which breaks the agent on purpose; "": this machine alone may.
    admin_token: str = ""
    # Processes that serve the calls, behind a front; none: this one does.
    servers: ServersConfig = field(default_factory=ServersConfig)
    # Whether the agent's own voice in a caller's audio is kept from the pipeline.
    detects_echo: bool = True
    # Whether WebRTC callers are told of a WebSocket to go on by when their ICE fails.
    has_fallback: bool = False
    # What WebRTC calls are made of.
    webrtc: WebRtc = "aiortc"


def config_from(options: argparse.Namespace, environment: Mapping[str, str]) -> StackConfig:
    """Return the checked configuration. Raises ScenarioError naming the option and its legal values."""
    options = settle(options)
    is_emulated = options.profile == emulation_config.PROFILE
    cache = options.models or default_cache(environment)
    _within("--port", options.port, 0, 65_535)
    # Under emulated 0 stands for what the file of service times says.
    least = 0 if is_emulated else 1
    for name in ("stt_workers", "tts_workers", "waiting"):
        _within(f"--{name.replace('_', '-')}", getattr(options, name), least, 64)
    for name in ("max_calls", "model_threads"):
        _within(f"--{name.replace('_', '-')}", getattr(options, name), 1, 10_000 if name == "max_calls" else 64)
    servers, llm = servers_from(options), llm_from(options, environment, cache)
    if servers.is_on and llm.vllm is not None and not is_emulated:
        raise ScenarioError(
            "--llm vllm with --media-servers: each would start its own; start one, name it by --llm-url"
        )
    return StackConfig(
        models=ModelPaths(cache, options.stt_model, options.tts_model, options.llm_model, not options.no_fetch),
        llm=llm,
        host=options.host,
        port=options.port,
        max_calls=options.max_calls,
        sip=sip_config.options_from(options),
        tts=TtsConfig() if is_emulated or options.tts_url else tts_config.tts_from(options),
        routes=read_routes(options.routes),
        greeting=" ".join(options.greeting.split()),
        voice=_voice(options.voice),
        turn=turn_config.turn_from(options),
        remote=RemoteSpeech() if is_emulated else remote_from(options, environment),
        stt_workers=options.stt_workers,
        tts_workers=options.tts_workers,
        waiting=options.waiting,
        model_threads=options.model_threads,
        events=options.events,
        compliance=read_settings(options.compliance, environment) if options.compliance is not None else None,
        profile=options.profile,
        vad=_vad(options.vad),
        emulation=emulation_config.emulation_from(options) if is_emulated else None,
        admin_token=options.admin_token,
        servers=servers,
        detects_echo=_is_on("--echo-detection", options.echo_detection),
        has_fallback=_is_on("--websocket-fallback", options.websocket_fallback),
        webrtc=webrtc_from(options),
    )


def _is_on(option: str, word: str) -> bool:
    if word not in ("on", "off"):
        raise ScenarioError(f"{option} {word}: legal: on, off")
    return word == "on"


def _vad(name: str) -> str:
    if name not in VADS:
        raise ScenarioError(f"--vad {name}: legal: {', '.join(VADS)}")
    return name


def _voice(name: str) -> str:
    legal = sorted(path.stem for path in VOICES.glob("*.npy"))
    if name not in legal:
        raise ScenarioError(f"--voice {name}: legal: {', '.join(legal)}")
    return name


def _within(option: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ScenarioError(f"{option} {value:g}: must be {low:g} to {high:g}")
