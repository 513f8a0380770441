"""What machine and what software a figure belongs to."""

import importlib.metadata
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

_PACKAGES = ("aiortc", "aioice", "av", "numba", "numpy", "pylibsrtp", "pyopenssl", "uvloop")
_SOCKET_LIMITS = ("rmem_default", "rmem_max", "wmem_max")


def facts() -> dict[str, Any]:
    """Return CPU model, cores, kernel, versions and what else moves a figure; call before changing namespaces."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "hypervisor": _is_virtual(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "commit": _commit(),
        "sockets": {name: _sysctl(f"net/core/{name}") for name in _SOCKET_LIMITS},
        "load_average": round(os.getloadavg()[0], 2),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def _cpuinfo(field: str) -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""


def _cpu_model() -> str:
    return _cpuinfo("model name") or platform.machine()


def _is_virtual() -> bool:
    return "hypervisor" in _cpuinfo("flags").split()


def version(package: str) -> str | None:
    """Return the installed version of a Python package, None where it is missing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the commit of this checkout, with a + where it has changes."""
    root = Path(__file__).resolve().parents[1]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _sysctl(name: str) -> int | None:
    try:
        return int(Path("/proc/sys", name).read_text())
    except (OSError, ValueError):
        return None
