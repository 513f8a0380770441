"""Starts our own callers as a process of their own, commanded like every peer."""

import sys
from pathlib import Path

from benchmarks.bench import Ground
from benchmarks.processes import CommandedCallers

_ROOT = Path(__file__).resolve().parents[1]


def _callers(arguments: list[str], ground: Ground) -> CommandedCallers:
    command = [sys.executable, "-m", "benchmarks.our_callers", *arguments]
    return CommandedCallers(command, ground.caller_core, ground.log("our-callers"), cwd=_ROOT)


def rtp_callers(host: str, port: int, ground: Ground) -> CommandedCallers:
    """Start our RTP callers to one address."""
    return _callers(["rtp", f"rtp://{host}:{port}"], ground)


def webrtc_callers(url: str, ground: Ground) -> CommandedCallers:
    """Start our WebRTC callers to the signalling address `url`."""
    return _callers(["webrtc", url], ground)
