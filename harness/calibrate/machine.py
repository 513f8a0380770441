"""Which machine this is, as far as a calibration depends on it."""

import importlib.util
import os
import platform
import re
from pathlib import Path

import harness


def cpu_model() -> str:
    """Return the processor's name, "unknown" where /proc does not tell."""
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return "unknown"
    return match[1] if match else "unknown"


def machine_key() -> str:
    """Return host, CPU, kernel and version of callquake: what a calibration is valid for."""
    cpus = len(os.sched_getaffinity(0))
    return " | ".join(
        [
            platform.node() or "unnamed",
            f"{cpu_model()}, {cpus} CPU{'s' if cpus != 1 else ''}",
            f"{platform.system()} {platform.release()} {platform.machine()}",
            f"callquake {harness.__version__}",
        ]
    )


def media_loop_mode() -> str:
    """Return how an engine's media loop will run here, "compiled" or "python"; numba stays unloaded."""
    is_python = os.environ.get("CALLQUAKE_MEDIA") == "python" or importlib.util.find_spec("numba") is None
    return "python" if is_python else "compiled"


def split_cpus() -> tuple[set[int], set[int]]:
    """Return the CPUs of the engine and of the responder: the last one is the responder's, where there are two."""
    mine = sorted(os.sched_getaffinity(0))
    return (set(mine[:-1]), {mine[-1]}) if len(mine) > 1 else (set(mine), set(mine))


def describe_affinity(engine: set[int], responder: set[int]) -> str:
    """Word which CPUs engine and responder run on."""
    if engine == responder:
        return f"engine and responder share CPU {_span(engine)}: its figures are those of half a core"
    return f"engine on CPU {_span(engine)}, responder on CPU {_span(responder)}"


def _span(cpus: set[int]) -> str:
    ordered = sorted(cpus)
    is_run = len(ordered) > 2 and ordered[-1] - ordered[0] == len(ordered) - 1
    return f"{ordered[0]}-{ordered[-1]}" if is_run else ", ".join(map(str, ordered))
