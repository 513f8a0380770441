"""Options of `up` that say which language model answers, and how long a conversation it is told."""

import argparse
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from harness.model.errors import ScenarioError
from target_stack import emulation_config
from target_stack.context.rules import LEAST_LIMIT, MODES, ContextRules, Mode
from target_stack.stages.prompt import Style
from target_stack.stages.vllm_launch import VllmLaunch

LlmKind = Literal["real", "scripted", "vllm"]
KINDS: tuple[LlmKind, ...] = ("real", "scripted", "vllm")
STYLES: tuple[Style, ...] = ("chat", "completion")


@dataclass(frozen=True)
class LlmConfig:
    """Which language model answers. A `url` is the user's own server; no process is started then."""

    kind: LlmKind = "real"
    url: str = ""
    # For `url`: how it is asked, and the model's name there.
    style: Style = "chat"
    model: str = "default"
    api_key: str = ""
    # For the local process. A second thread gains 0.1 s alone and loses seconds when the cores are shared.
    threads: int = 1
    log: Path = Path("llm-server.log")
    # For `vllm`: what is started.
    vllm: VllmLaunch | None = None
    context: ContextRules = field(default_factory=ContextRules)
    # How long a reply may wait for a server that is busy or failing and has no other to stand in for it.
    patience_ms: float = 1500.0
    # How long a server that is still coming up is waited for at the start.
    start_s: float = 30.0
    # A token is asked for when nothing else was for so long; 0: never.
    check_s: float = 30.0
    # The local model's process is begun by the first request.
    is_cold: bool = False


def add_options(up: argparse.ArgumentParser) -> None:
    """Add the options."""
    up.add_argument("--llm", metavar="WORD", help="real, scripted or vllm, started here (real; gpu: vllm)")
    up.add_argument("--llm-url", default="", metavar="URL", help="OpenAI-compatible server to use instead, without /v1")
    up.add_argument(
        "--llm-style", default="chat", metavar="WORD", help="for --llm-url: chat or completion (%(default)s)"
    )
    up.add_argument("--llm-name", default="default", metavar="NAME", help="for --llm-url: the model's name there")
    up.add_argument(
        "--llm-threads", type=int, default=1, metavar="N", help="CPU threads of the local model (%(default)s)"
    )
    up.add_argument("--llm-log", type=Path, metavar="FILE", help="log of the model's process")
    _add_vllm_options(up)
    _add_context_options(up)
    up.add_argument(
        "--llm-patience-ms",
        type=float,
        default=1500.0,
        metavar="MS",
        help="that a reply waits, with backoff, for a model that is busy (429) or failing (5xx) (%(default)g)",
    )
    up.add_argument(
        "--llm-start-s",
        type=float,
        default=30.0,
        metavar="S",
        help="that a server at --llm-url may take to come up (%(default)g)",
    )
    up.add_argument(
        "--llm-check-s",
        type=float,
        default=30.0,
        metavar="S",
        help="have the model write one token when idle for so long; 0: never (%(default)g)",
    )


def _add_vllm_options(up: argparse.ArgumentParser) -> None:
    up.add_argument(
        "--vllm-model", default="", metavar="NAME", help="for --llm vllm: a folder, or a name of the model hub"
    )
    up.add_argument(
        "--vllm-command", default="vllm", metavar="PATH", help="of any environment that has it (%(default)s)"
    )
    up.add_argument("--vllm-args", default="", metavar="TEXT", help="further arguments of `vllm serve`, as in a shell")
    up.add_argument(
        "--vllm-start-s", type=float, default=1200.0, metavar="S", help="that it may take to load (%(default)g)"
    )


def _add_context_options(up: argparse.ArgumentParser) -> None:
    up.add_argument(
        "--llm-context",
        default="summarise",
        metavar="WORD",
        help="of a long call: summarise old turns, or send it whole until the model refuses (%(default)s)",
    )
    up.add_argument(
        "--llm-context-tokens", type=int, default=0, metavar="N", help="of prompt and reply; 0: the server's own limit"
    )
    up.add_argument(
        "--llm-keep-turns",
        type=int,
        metavar="N",
        help="earlier turns sent along at most (as many as fit; the local base model: 0)",
    )


def llm_from(options: argparse.Namespace, environment: Mapping[str, str], cache: Path) -> LlmConfig:
    """Return the checked configuration. Raises ScenarioError naming the option and its legal values."""
    kind, url = _server(options)
    return LlmConfig(
        kind=kind,
        url=url,
        style=cast("Style", _legal("--llm-style", options.llm_style, STYLES)),
        model=options.llm_name,
        api_key=environment.get("CALLQUAKE_LLM_API_KEY", ""),
        threads=int(_within("--llm-threads", options.llm_threads, 1, 64)),
        log=options.llm_log or cache.parent / "logs" / "llm-server.log",
        vllm=_launch(options) if kind == "vllm" and not url else None,
        context=_context(options, is_base_model=kind == "real" and not url),
        patience_ms=_within("--llm-patience-ms", options.llm_patience_ms, 0, 60_000),
        start_s=_within("--llm-start-s", options.llm_start_s, 0, 3600),
        check_s=_within("--llm-check-s", options.llm_check_s, 0, 3600),
        is_cold=_is_cold(options, is_local=kind == "real" and not url),
    )


def _is_cold(options: argparse.Namespace, *, is_local: bool) -> bool:
    _legal("--cold-start", options.cold_start, emulation_config.COLD_STARTS)
    if options.profile == emulation_config.PROFILE or options.cold_start != "first":
        return False
    if not is_local:
        raise ScenarioError("--cold-start first: not with a language model that is not started here by llama.cpp")
    return True


def _server(options: argparse.Namespace) -> tuple[LlmKind, str]:
    kind = cast("LlmKind", _legal("--llm", options.llm, KINDS))
    url = options.llm_url
    if url and not url.startswith(("http://", "https://")):
        raise ScenarioError(f"--llm-url {url}: must begin with http:// or https:// and end before /v1")
    if url and kind == "scripted":
        raise ScenarioError(
            "--llm scripted and --llm-url exclude each other: a server of your own gives its own replies"
        )
    return kind, url.rstrip("/").removesuffix("/v1")


def _launch(options: argparse.Namespace) -> VllmLaunch:
    if not options.vllm_model:
        raise ScenarioError(
            "--llm vllm: needs --vllm-model NAME, a folder or a name of the model hub, or --llm-url URL"
        )
    try:
        arguments = tuple(shlex.split(options.vllm_args))
    except ValueError as error:
        raise ScenarioError(f"--vllm-args {options.vllm_args}: {error}") from error
    return VllmLaunch(
        model=options.vllm_model,
        command=options.vllm_command,
        context_tokens=options.llm_context_tokens,
        arguments=arguments,
        start_timeout_s=_within("--vllm-start-s", options.vllm_start_s, 1, 86_400),
    )


def _context(options: argparse.Namespace, *, is_base_model: bool) -> ContextRules:
    mode = cast("Mode", _legal("--llm-context", options.llm_context, MODES))
    limit = options.llm_context_tokens
    if limit and not LEAST_LIMIT <= limit <= 10_000_000:
        raise ScenarioError(f"--llm-context-tokens {limit}: must be 0 or {LEAST_LIMIT} to 10000000")
    keep = options.llm_keep_turns
    if keep is not None:
        _within("--llm-keep-turns", keep, 0, 10_000)
    elif is_base_model:
        # A base model of 270 M parameters repeats what it said before; facts are told it anyway.
        keep = 0
    return ContextRules(mode=mode, limit_tokens=limit, keep_turns=keep)


def _legal(option: str, word: str, legal: tuple[str, ...]) -> str:
    if word not in legal:
        raise ScenarioError(f"{option} {word}: legal: {', '.join(legal)}")
    return word


def _within(option: str, value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise ScenarioError(f"{option} {value:g}: must be {low:g} to {high:g}")
    return value
