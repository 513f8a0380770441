"""Debian packages a peer needs: installed when this user may, asked for by the exact command when not."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

from benchmarks.failure import BenchmarkError

_LIMIT_S = 600


def need(peer: str, packages: list[str], is_there: Callable[[], bool]) -> None:
    """Install `packages` unless they are there; BenchmarkError with the command where this user may not."""
    if is_there():
        return
    command = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise BenchmarkError(f"{peer} is missing. As root: {command}\n(or leave it out: --peers with the others)")
    print(f"installing {' '.join(packages)}", file=sys.stderr)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["apt-get", "update", "-qq"], [*command.split(), "-y", "-qq"]):
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
        if done.returncode != 0:
            raise BenchmarkError(f"{' '.join(words)} failed: {done.stderr.strip()[-400:]}")
    if not is_there():
        raise BenchmarkError(f"{peer} is still missing after '{command}'")


def version_of(package: str) -> str:
    """Return the installed version of a Debian package, "unknown" where dpkg cannot tell."""
    command = ["dpkg-query", "--show", "--showformat=${Version}", package]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout or "unknown"
    except (OSError, subprocess.SubprocessError):
        return "unknown"
