"""The SIP options of `up`, checked; `--sip-port` or `--sips-port` turns the SIP edge on."""

import argparse
from pathlib import Path
from typing import cast

from harness.model.errors import ScenarioError
from target_stack.edge.rtp.ports import ANY
from target_stack.edge.sip_options import DIGESTS, EARLY_MEDIA, MAX_RING_S, EarlyMedia, SipOptions

_SRTP = ("off", "optional", "required")
_MIN_SESSION_S = 90
_TRUNK_CALLS = 16


def add_options(up: argparse.ArgumentParser) -> None:
    """Add the options."""
    up.add_argument("--sip-port", type=int, metavar="N", help="take SIP calls by UDP and TCP on it, 0 for any free one")
    up.add_argument("--sips-port", type=int, metavar="N", help="take SIP calls by TLS; needs --sip-cert and --sip-key")
    up.add_argument("--sip-cert", type=Path, metavar="FILE", help="certificate for TLS (PEM)")
    up.add_argument("--sip-key", type=Path, metavar="FILE", help="its key (PEM)")
    up.add_argument(
        "--sip-trunk-calls",
        type=int,
        metavar="N",
        help="SIP calls at once; more get 503 (16; with --media-servers: as many as they take)",
    )
    up.add_argument("--sip-retry-after", type=int, default=5, metavar="S", help="Retry-After of a 503 (%(default)s)")
    up.add_argument("--sip-users", type=Path, metavar="FILE", help="challenge callers: lines of NAME:PASSWORD")
    up.add_argument(
        "--sip-digest", default="md5", metavar="WORD", help="of such challenges: md5, sha-256 or both (%(default)s)"
    )
    up.add_argument(
        "--sip-early-media",
        default="none",
        metavar="WORD",
        help="before the 200: none, ringback or greeting (%(default)s)",
    )
    up.add_argument("--sip-ring-s", type=float, default=0.0, metavar="S", help="how long ringback lasts (%(default)g)")
    up.add_argument("--sip-srtp", default="optional", metavar="WORD", help="off, optional or required (%(default)s)")
    up.add_argument(
        "--sip-session-expires", type=int, metavar="S", help="session interval to ask callers for (RFC 4028)"
    )
    up.add_argument("--rtp-ports", metavar="A:B", help="UDP ports for the audio of SIP calls (any free ones)")


def options_from(options: argparse.Namespace) -> SipOptions:
    """Return the checked options. Raises ScenarioError naming the option and its legal values."""
    _within("--sip-port", options.sip_port, 0, 65_535)
    _within("--sips-port", options.sips_port, 0, 65_535)
    _within("--sip-trunk-calls", options.sip_trunk_calls, 1, 10_000)
    _within("--sip-retry-after", options.sip_retry_after, 0, 3600)
    _within("--sip-ring-s", options.sip_ring_s, 0, MAX_RING_S)
    _within("--sip-session-expires", options.sip_session_expires, _MIN_SESSION_S, 86_400)
    _among("--sip-early-media", options.sip_early_media, EARLY_MEDIA)
    _among("--sip-srtp", options.sip_srtp, _SRTP)
    _among("--sip-digest", options.sip_digest, tuple(DIGESTS))
    if options.sips_port is not None and not (options.sip_cert and options.sip_key):
        raise ScenarioError("--sips-port needs --sip-cert FILE and --sip-key FILE")
    return SipOptions(
        host=options.host,
        port=options.sip_port,
        tls_port=options.sips_port,
        certificate=options.sip_cert,
        key=options.sip_key,
        trunk_calls=_TRUNK_CALLS if options.sip_trunk_calls is None else options.sip_trunk_calls,
        retry_after_s=options.sip_retry_after,
        early_media=cast("EarlyMedia", options.sip_early_media),
        ring_s=options.sip_ring_s,
        rtp_ports=_ports(options.rtp_ports),
        srtp=options.sip_srtp,
        users=_users(options.sip_users),
        digest=options.sip_digest,
        session_expires_s=options.sip_session_expires,
    )


def _ports(text: str | None) -> tuple[int, int]:
    if text is None:
        return ANY
    low, colon, high = text.partition(":")
    if not (colon and low.isdecimal() and high.isdecimal() and 1024 <= int(low) < int(high) <= 65_535):
        raise ScenarioError(f"--rtp-ports {text}: legal: LOW:HIGH within 1024 to 65535, for example 20000:20999")
    return int(low), int(high)


def _users(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"--sip-users {path}: cannot be read: {error}") from error
    users: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, password = line.partition(":")
        if not (name.strip() and colon and password):
            raise ScenarioError(f"--sip-users {path}, line {number}: legal: NAME:PASSWORD, # for a comment")
        users[name.strip()] = password
    if not users:
        raise ScenarioError(f"--sip-users {path}: no user in it, so every call would be refused")
    return users


def _within(option: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise ScenarioError(f"{option} {value:g}: must be {low:g} to {high:g}")


def _among(option: str, value: str, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise ScenarioError(f"{option} {value}: legal: {', '.join(legal)}")
