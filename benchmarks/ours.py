"""Starts our own callers as a process of their own, commanded like every peer."""

import sys
from pathlib import Path

from benchmarks.bench import Ground
from benchmarks.processes import CommandedCallers

_ROOT = Path(__file__).resolve().parents[1]


def callers(talk: float, url: str, ground: Ground) -> CommandedCallers:
    """Start our callers to `url`: WebRTC for http://, plain RTP for rtp://; `talk` as in turns.py."""
    command = [sys.executable, "-m", "benchmarks.our_callers", url, "--talk", str(talk)]
    return CommandedCallers(command, ground.caller_core, ground.log("our-callers"), cwd=_ROOT)
