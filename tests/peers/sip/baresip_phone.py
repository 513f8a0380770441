"""baresip as a phone on loopback that returns what it hears; it is told what to do over its control connection."""

import asyncio
import contextlib
import json
from pathlib import Path

from coturn import write_certificate
from foreign import LIMIT_S, free_port, installed, is_listening, running

MODULES = Path("/usr/lib/baresip/modules")
# What is heard is what is said next: `aubridge` joins the loudspeaker to the microphone, without a sound card.
CONFIG = """\
poll_method epoll
sip_listen 127.0.0.1:{sip}
sip_certificate {folder}/phone.pem
sip_cafile {folder}/cert.pem
call_max_calls 8
audio_player aubridge,heard
audio_source {source}
audio_alert aubridge,alert
rtp_ports {media}-{last}
net_interface 127.0.0.1
module_path {modules}
module g711.so
module g722.so
module opus.so
module aubridge.so
module ausine.so
module srtp.so
module_tmp uuid.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
"""
PORTS = 40
# The bridge does not start again after a hold; the tone does, and is made at 48 kHz with two channels only.
ECHO, TONE = "aubridge,heard", "ausine,440\nausrc_srate 48000\nausrc_channels 2"


class Phone:
    """`url(transport)` calls it; it answers at once."""

    def __init__(self, program, folder, sip, control):
        self.program, self.folder, self.sip, self._control = program, folder, sip, control
        self.events = []

    @property
    def ca(self):
        return self.folder / "cert.pem"

    @property
    def key(self):
        return self.folder / "key.pem"

    def url(self, transport="udp"):
        # It takes TLS at the port behind that of UDP and TCP.
        port = self.sip + (transport == "tls")
        return f"sip:phone@127.0.0.1:{port}" + ("" if transport == "udp" else f";transport={transport}")

    async def __aenter__(self):
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._control)
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_):
        self._listening.cancel()
        self._writer.close()
        await asyncio.gather(self._listening, return_exceptions=True)

    async def _listen(self):
        """Take netstrings of JSON: events, and answers to commands."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                length = int((await self._reader.readuntil(b":"))[:-1])
                self.events.append(json.loads((await self._reader.readexactly(length + 1))[:-1]))

    def tell(self, command, params=""):
        """Have it do what its menu offers."""
        text = json.dumps({"command": command, "params": params, "token": ""})
        self._writer.write(f"{len(text)}:{text},".encode())

    def told(self, kind):
        return [event for event in self.events if event.get("type") == kind]

    async def until(self, kind, times=1):
        """Wait until it has told of so many events of a kind; return the last one."""
        try:
            async with asyncio.timeout(LIMIT_S):
                while len(self.told(kind)) < times:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"never {times} {kind}: {self.events}\n{self.program.log[-5000:]}") from None
        return self.told(kind)[-1]

    def digits(self):
        """Return the keys that it heard, each when it was let go."""
        return [event["param"] for event in self.told("CALL_DTMF_START")]


@contextlib.contextmanager
def baresip(folder, *, encryption=None, codecs=None, source=ECHO, registers=None):
    """Run it; `async with` what this gives.

    `encryption`: srtp (offered), srtp-mand, srtp-mandf (required). `registers`: port of its registrar, user, password.
    """
    program = installed("baresip", "baresip-core")
    write_certificate(folder)
    (folder / "phone.pem").write_bytes((folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())
    sip, control, media = free_port(pair=True), free_port(), free_port(pair=True)
    words = {"sip": sip, "control": control, "media": media, "last": media + PORTS, "source": source}
    (folder / "config").write_text(CONFIG.format(folder=folder, modules=MODULES, **words))
    account = f"<sip:phone@127.0.0.1:{sip}>;regint=0;answermode=auto"
    if registers is not None:
        port, user, password = registers
        account = f"<sip:{user}@127.0.0.1:{port}>;regint=60;answermode=auto;auth_user={user};auth_pass={password}"
    account += f";mediaenc={encryption}" if encryption else ""
    account += f";audio_codecs={codecs}" if codecs else ""
    (folder / "accounts").write_text(account + "\n")
    (folder / "contacts").write_text("")
    with running([program, "-f", folder, "-s"], folder, "baresip") as process:
        process.wait_for(lambda: "baresip is ready" in process.log and is_listening(control), "ready")
        yield Phone(process, folder, sip, control)
