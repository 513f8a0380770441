"""baresip, run and told what to do over its ctrl_tcp module: netstrings of JSON."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from edge_peer import until

MODULES = Path("/usr/lib/baresip/modules")
CONFIG = """\
poll_method epoll
sip_listen 127.0.0.1:0
sip_cafile {ca}
call_max_calls 4
audio_player aufile,{folder}/heard.wav
audio_source ausine,400
audio_alert aufile,{folder}/alert.wav
ausrc_srate 48000
auplay_srate 48000
ausrc_channels 2
auplay_channels 2
audio_level no
rtcp_mux no
jitter_buffer_delay 1-5
net_interface 127.0.0.1
module_path {modules}
module g711.so
module g722.so
module opus.so
module ausine.so
module aufile.so
module srtp.so
module_app account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
"""


def installed():
    """Skip the test where there is no baresip and none can be installed."""
    if shutil.which("baresip") is None and os.geteuid() == 0:
        subprocess.run(
            ["apt-get", "install", "-y", "--no-install-recommends", "baresip-core"], check=False, timeout=300
        )
    if shutil.which("baresip") is None or not MODULES.is_dir():
        pytest.skip("baresip is not installed (apt install baresip-core)")


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Baresip:
    """One running baresip: `tell` commands, read `events`."""

    def __init__(self, folder, account, ca):
        self._folder, self._account, self._ca = folder, account, ca
        self.events, self.answers = [], []

    async def __aenter__(self):
        installed()
        control = free_port()
        text = CONFIG.format(folder=self._folder, ca=self._ca, modules=MODULES, control=control)
        (self._folder / "config").write_text(text)
        (self._folder / "accounts").write_text(self._account + "\n")
        (self._folder / "contacts").write_text("")
        self._log = (self._folder / "log").open("wb")
        self._process = await asyncio.create_subprocess_exec(
            "baresip", "-f", str(self._folder), stdin=subprocess.PIPE, stdout=self._log, stderr=self._log
        )
        for _ in range(100):
            with contextlib.suppress(OSError):
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", control)
                break
            await asyncio.sleep(0.1)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_):
        self._reading.cancel()
        self._writer.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), 10)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._log.close()

    async def _read(self):
        while True:
            size = await self._reader.readuntil(b":")
            message = json.loads((await self._reader.readexactly(int(size[:-1]) + 1))[:-1])
            (self.events if message.get("event") else self.answers).append(message)

    async def tell(self, command, params=""):
        """Send a command and wait until it is done."""
        before = len(self.answers)
        data = json.dumps({"command": command, "params": params, "token": command}).encode()
        self._writer.write(b"%d:%s," % (len(data), data))
        await until(lambda: len(self.answers) > before, f"{command} answered")
        assert self.answers[-1]["ok"], (self.answers[-1], self.log())

    async def until(self, kind, count=1):
        await until(lambda: sum(e["type"] == kind for e in self.events) >= count, f"{kind}: {self.events} {self.log()}")

    def log(self):
        return (self._folder / "log").read_text(errors="replace")[-2000:]
