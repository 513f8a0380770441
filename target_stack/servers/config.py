"""The options of `up` that make it a front with media servers, checked."""

import argparse
from dataclasses import dataclass, field
from typing import cast

from harness.model.errors import ScenarioError
from target_stack.edge.webrtc_kinds import WEBRTC, WebRtc
from target_stack.servers.registry import Rules


@dataclass(frozen=True, slots=True)
class ServersConfig:
    """How many processes, how large each, and when the front says no."""

    count: int = 0
    # Calls at once of one server, of all kinds together.
    calls_each: int = 100
    rules: Rules = field(default_factory=Rules)
    # How long SIGTERM, and a drain without a deadline of its own, let calls go on.
    drain_s: float = 30.0
    # SIP calls at once over all servers; None: as many as they take.
    trunk_calls: int | None = None

    @property
    def is_on(self) -> bool:
        """Tell whether there is a front at all."""
        return self.count > 0

    @property
    def names(self) -> tuple[str, ...]:
        """What the servers are called: labels of metrics, and part of what callers are given as names."""
        return tuple(f"s{number}" for number in range(1, self.count + 1))


def add_options(up: argparse.ArgumentParser) -> None:
    """Add the options."""
    up.add_argument(
        "--webrtc",
        metavar="WORD",
        help="what WebRTC calls are made of: aiortc, a dozen a core; light, some hundreds (aiortc; emulated: light)",
    )
    up.add_argument(
        "--media-servers",
        type=int,
        default=0,
        metavar="N",
        help="serve calls in N processes behind a front that routes, drains and refuses (0: all in this process)",
    )
    up.add_argument(
        "--calls-per-server",
        type=int,
        default=100,
        metavar="N",
        help="calls at once of one media server, of all kinds together (%(default)s)",
    )
    up.add_argument(
        "--spread-at",
        type=float,
        default=80.0,
        metavar="PERCENT",
        help="a media server this full gets no new call while another is emptier (%(default)g)",
    )
    up.add_argument(
        "--refuse-at",
        type=float,
        default=100.0,
        metavar="PERCENT",
        help="a media server this full gets no new call at all; 503 when all are (%(default)g)",
    )
    up.add_argument(
        "--drain-s",
        type=float,
        default=30.0,
        metavar="S",
        help="how long SIGTERM lets the calls of media servers go on; Ctrl-C does not wait (%(default)g)",
    )


def servers_from(options: argparse.Namespace) -> ServersConfig:
    """Return the checked options. Raises ScenarioError naming the option and its legal values."""
    _within("--media-servers", options.media_servers, 0, 64)
    _within("--calls-per-server", options.calls_per_server, 1, 10_000)
    _within("--spread-at", options.spread_at, 1, 100)
    _within("--refuse-at", options.refuse_at, 1, 100)
    _within("--drain-s", options.drain_s, 0, 86_400)
    if options.spread_at > options.refuse_at:
        raise ScenarioError(f"--spread-at {options.spread_at:g}: must not be above --refuse-at {options.refuse_at:g}")
    return ServersConfig(
        count=options.media_servers,
        calls_each=options.calls_per_server,
        rules=Rules(spread_at=options.spread_at / 100, refuse_at=options.refuse_at / 100),
        drain_s=options.drain_s,
        trunk_calls=options.sip_trunk_calls,
    )


def webrtc_from(options: argparse.Namespace) -> WebRtc:
    """Return what WebRTC calls are made of. Raises ScenarioError."""
    if options.webrtc not in WEBRTC:
        raise ScenarioError(f"--webrtc {options.webrtc}: legal: {', '.join(WEBRTC)}")
    return cast("WebRtc", options.webrtc)


def _within(option: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ScenarioError(f"{option} {value:g}: must be {low:g} to {high:g}")
