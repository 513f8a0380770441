"""Options of `up` that put recogniser and voice elsewhere: on servers that `callquake serve` runs, or of their kind."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from harness.model.errors import ScenarioError
from target_stack.routing.http_speech import SpeechEndpoint

KEY_VARIABLE = "CALLQUAKE_SPEECH_KEY"
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class RemoteSpeech:
    """Base URLs; "": in this process."""

    stt_url: str = ""
    tts_url: str = ""
    # Sent as a bearer token; "": none.
    key: str = ""
    # So long a server may take to be ready: it may be loading, too.
    start_s: float = 300.0
    # So long a request waits, with backoff, for a server that is full.
    full_ms: float = 1_500.0

    def stt(self) -> SpeechEndpoint:
        """Return where words are."""
        return SpeechEndpoint(self.stt_url, api_key=self.key, timeout_s=TIMEOUT_S)

    def tts(self) -> SpeechEndpoint:
        """Return where speech is."""
        return SpeechEndpoint(self.tts_url, api_key=self.key, timeout_s=TIMEOUT_S)

    @property
    def patience_ms(self) -> dict[str, float]:
        """How long requests of each stage wait for their server; a stage of this process has no row."""
        return {stage: self.full_ms for stage, url in (("stt", self.stt_url), ("tts", self.tts_url)) if url}


def add_options(up: argparse.ArgumentParser) -> None:
    """Add the options."""
    up.add_argument(
        "--stt-url",
        default="",
        metavar="URL",
        help=f"a server of words, as `callquake serve stt` is one: no recogniser here (key in {KEY_VARIABLE})",
    )
    up.add_argument(
        "--tts-url", default="", metavar="URL", help="a server of speech, as `callquake serve tts` is: no voice here"
    )
    up.add_argument(
        "--speech-start-s",
        type=float,
        default=300.0,
        metavar="S",
        help="that these servers may take to be ready (%(default)g)",
    )


def remote_from(options: argparse.Namespace, environment: Mapping[str, str]) -> RemoteSpeech:
    """Return the checked configuration. Raises ScenarioError."""
    if not 1 <= options.speech_start_s <= 7_200:
        raise ScenarioError(f"--speech-start-s {options.speech_start_s:g}: must be 1 to 7200")
    return RemoteSpeech(
        _base("--stt-url", options.stt_url),
        _base("--tts-url", options.tts_url),
        environment.get(KEY_VARIABLE, ""),
        options.speech_start_s,
    )


def _base(option: str, url: str) -> str:
    """Return the URL that `/v1/audio/...` is put behind."""
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ScenarioError(f"{option} {url}: legal: http://HOST:PORT or https://...")
    return url.rstrip("/").removesuffix("/v1")
