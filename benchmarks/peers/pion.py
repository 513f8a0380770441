"""Pion (Go): its callers, and the echo server that answers every WebRTC competitor. Built from Debian's sources."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.bench import Ground
from benchmarks.failure import BenchmarkError
from benchmarks.peers import apt
from benchmarks.processes import READY_LIMIT_S, Child, CommandedCallers
from benchmarks.turns import CYCLE_PACKETS, Cycle

PACKAGE = "golang-github-pion-webrtc.v3-dev"
_SOURCE = Path(__file__).with_name("pion_peer.go")
_GO_SOURCES = Path("/usr/share/gocode")
_WEBRTC = Path("src/github.com/pion/webrtc")
_BUILD_LIMIT_S = 600


def version() -> str:
    """Return the version of the Pion that is built."""
    return apt.version_of(PACKAGE)


def build(cache: Path) -> Path:
    """Return the peer's binary, built at the first call; its compiler and sources are installed as root."""
    apt.need("Pion", ["golang-go", PACKAGE], lambda: bool(shutil.which("go")) and (_GO_SOURCES / _WEBRTC).is_dir())
    key = hashlib.sha256(_SOURCE.read_bytes() + version().encode()).hexdigest()[:16]
    binary = cache / f"pion_peer-{key}"
    if not binary.exists():
        print("building the Pion peer", file=sys.stderr)
        cache.mkdir(parents=True, exist_ok=True)
        _compile(cache, binary)
    return binary


def _compile(cache: Path, binary: Path) -> None:
    # Debian lays the sources at pion/webrtc; programs import pion/webrtc/v3.
    gopath = cache / "gopath"
    shutil.copytree(_GO_SOURCES / _WEBRTC, gopath / _WEBRTC / "v3", dirs_exist_ok=True)
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": f"{gopath}{os.pathsep}{_GO_SOURCES}",
        "GOCACHE": str(cache / "gocache"),
        "GOFLAGS": "",
    }
    unfinished = binary.with_suffix(".part")
    command = ["go", "build", "-o", str(unfinished), str(_SOURCE)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=_BUILD_LIMIT_S)
    if done.returncode != 0:
        raise BenchmarkError(f"the Pion peer does not build: {done.stderr.strip()[-800:]}")
    unfinished.rename(binary)


class EchoServer(Child):
    """Answers WebRTC offers at `url` and echoes every RTP packet, on the answering side's core."""

    def __init__(self, binary: Path, ground: Ground) -> None:
        super().__init__([str(binary), "serve"], ground.answer_core, ground.log("pion-echo"))
        try:
            self.url = str(self.hear("ready", READY_LIMIT_S)["url"])
        except BaseException:
            self.close()
            raise


def callers(binary: Path, talk: float, url: str, ground: Ground, *, interceptors: bool = False) -> CommandedCallers:
    """Start Pion's callers to `url`; without its interceptors Pion sends no RTCP and is at its cheapest."""
    command = [str(binary), "call", url, str(Cycle(talk).quiet_packets), str(CYCLE_PACKETS)]
    return CommandedCallers(
        [*command, *(["interceptors"] if interceptors else [])], ground.caller_core, ground.log("pion-callers")
    )
