"""Calls to a fixed address of somebody else's: SIPp's RTP echo, which has all calls on one port."""

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
import time

import pytest
from rtp_bench import Bench, say_and_hear

from harness.media.codecs import CODECS

pytestmark = pytest.mark.peer


def free_udp_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextlib.contextmanager
def sipp_echo():
    """Run SIPp; gives the rtp:// address at which it echoes."""
    if shutil.which("sipp") is None:
        pytest.skip("SIPp is not installed (apt install sip-tester)")
    media, sip, control = free_udp_port(), free_udp_port(), free_udp_port()
    words = ["sipp", "-sn", "uas", "-rtp_echo", "-nostdin", "-i", "127.0.0.1", "-p", str(sip), "-cp", str(control)]
    words += ["-mi", "127.0.0.1", "-mp", str(media)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for_echo(media)
            yield f"rtp://127.0.0.1:{media}"
        finally:
            process.send_signal(signal.SIGKILL)


def _wait_for_echo(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sock.settimeout(0.1)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                sock.send(b"\x80\x00" + bytes(20))
                if sock.recv(100):
                    return
        pytest.fail("SIPp does not echo")


@pytest.mark.parametrize("codec", CODECS, ids=[c.name for c in CODECS])
@pytest.mark.parametrize("source_ports", ["auto", "shared"])
def test_sipp_returns_every_call_to_its_caller(codec, source_ports):
    async def main(url):
        async with Bench() as bench:
            calls = [
                await bench.connect(url, f"call-{i}", codec=codec.name, source_ports=source_ports) for i in range(6)
            ]
            await asyncio.gather(*(say_and_hear(caller, events, codec) for caller, events in calls))
            for caller, _events in calls:
                await caller.close()
                stats = caller.media.stats()
                assert (stats.packets_lost, stats.packets_discarded, stats.send_errors) == (0, 0, 0)
                assert stats.packets_received > 0

    with sipp_echo() as url:
        asyncio.run(main(url))
