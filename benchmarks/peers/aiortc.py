"""Starts stock aiortc callers (aiortc_callers.py) as a process of their own."""

import sys
from pathlib import Path

from benchmarks.bench import Ground
from benchmarks.processes import CommandedCallers

_ROOT = Path(__file__).resolve().parents[2]


def callers(talk: float, url: str, ground: Ground) -> CommandedCallers:
    """Start stock callers to the signalling address `url`; `talk` as in turns.py, 0 = digital silence all the time."""
    command = [sys.executable, "-m", "benchmarks.peers.aiortc_callers", url, "--talk", str(talk)]
    return CommandedCallers(command, ground.caller_core, ground.log("aiortc-callers"), cwd=_ROOT)
