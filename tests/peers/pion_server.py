"""Pion's echo server, built from Debian's sources with Debian's compiler."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("pion") / "echo.go"
GO_SOURCES = Path("/usr/share/gocode")
WEBRTC = Path("src/github.com/pion/webrtc")


def build(folder):
    """Return the server's binary in `folder`; skip where its compiler or its sources are not installed."""
    if shutil.which("go") is None or not (GO_SOURCES / WEBRTC).is_dir():
        pytest.skip("needs Pion: apt-get install golang-go golang-github-pion-webrtc.v3-dev")
    # Debian lays the sources at pion/webrtc; programs import pion/webrtc/v3.
    shutil.copytree(GO_SOURCES / WEBRTC, folder / "gopath" / WEBRTC / "v3")
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": f"{folder / 'gopath'}{os.pathsep}{GO_SOURCES}",
        "GOFLAGS": "",
    }
    binary = folder / "echo"
    subprocess.run(["go", "build", "-o", str(binary), str(SOURCE)], env=environment, check=True, timeout=600)
    return binary


@contextlib.contextmanager
def serving(binary, *arguments):
    """Yield the URL of a server."""
    process = subprocess.Popen([str(binary), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
