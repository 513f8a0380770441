"""SIPp as the agent: its own `uas` and `branchs`, and scenarios written here. Each runs as a process on free ports."""

import asyncio
import contextlib
import shutil
import signal
from pathlib import Path

import pytest
from test_sipp_rtp_echo import free_udp_port


def response(status, *headers, body="", retrans=False):
    """Return a <send> of a response to the last request."""
    tag = ";tag=[pid]SIPpTag[call_number]"
    lines = ["[last_Via:]", "[last_From:]", f"[last_To:]{tag}", "[last_Call-ID:]", "[last_CSeq:]"]
    lines += ["Contact: <sip:[local_ip]:[local_port];transport=[transport]>", "Server: SIPp test", *headers]
    if body:
        lines.append("Content-Type: application/sdp")
    text = "\n".join([f"SIP/2.0 {status}", *lines, "Content-Length: [len]" if body else "Content-Length: 0", "", body])
    again = ' retrans="500"' if retrans else ""
    return f"<send{again}><![CDATA[\n{text}\n]]></send>"


SDP = """\
v=0
o=user1 53655765 2353687637 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
"""
INVITE = '<recv request="INVITE" crlf="true"/>'
ACK = '<recv request="ACK" crlf="true"/>'
BYE = '<recv request="BYE"/>'
OK = response("200 OK", body=SDP, retrans=True)
BYE_OK = response("200 OK")


def hang_up(reason=""):
    """Return the steps of a BYE from SIPp's side."""
    extra = f"Reason: {reason}\n" if reason else ""
    return f"""<send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From:[$to]
To:[$from]
Call-ID: [call_id]
CSeq: 1 BYE
Max-Forwards: 70
{extra}Content-Length: 0

]]></send>
<recv response="200"/>"""


# Keeps who called whom, for a BYE the other way round.
INVITE_KEPT = """<recv request="INVITE" rrs="true" crlf="true"><action>
<ereg regexp=".*" search_in="hdr" header="From:" assign_to="from"/>
<ereg regexp=".*" search_in="hdr" header="To:" assign_to="plain"/>
<assignstr assign_to="to" value="[$plain];tag=[pid]SIPpTag[call_number]"/>
</action></recv>"""


def scenario(*steps):
    """Return the file of a scenario."""
    head = '<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="agent">'
    return "\n".join([head, *steps, "</scenario>"])


@contextlib.asynccontextmanager
async def sipp_agent(folder, *, xml=None, name="uas", transport="u1", words=()):
    """Run SIPp as a server; yields its SIP URI."""
    if shutil.which("sipp") is None:
        pytest.skip("SIPp is not installed (apt install sip-tester)")
    port, control, media = free_udp_port(), free_udp_port(), free_udp_port()
    if xml is not None:
        (folder / "agent.xml").write_text(xml)
    what = ["-sn", name] if xml is None else ["-sf", str(folder / "agent.xml")]
    command = ["sipp", *what, "-i", "127.0.0.1", "-p", str(port), "-cp", str(control), "-mi", "127.0.0.1"]
    command += ["-mp", str(media), "-t", transport, "-nostdin", "-trace_err", "-error_file", str(folder / "errors.log")]
    process = await asyncio.create_subprocess_exec(
        *command, *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, cwd=folder
    )
    try:
        await _until_bound(port, transport)
        assert process.returncode is None, (folder / "errors.log").read_text()
        yield f"sip:agent@127.0.0.1:{port}" + (";transport=tcp" if transport == "t1" else "")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def _until_bound(port, transport):
    table = "/proc/net/tcp" if transport == "t1" else "/proc/net/udp"
    async with asyncio.timeout(20):
        while f":{port:04X} " not in await asyncio.to_thread(_read, table):
            await asyncio.sleep(0.05)


def _read(path):
    return Path(path).read_text()
