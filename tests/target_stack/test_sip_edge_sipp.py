"""The agent's trunk under SIPp: its own uac, a scenario that takes a refusal for an answer, 150 % load, garbage."""

import asyncio
import contextlib
import csv
import shutil
import subprocess

import pytest
from edge_peer import Sessions, until
from sip_peer import SipClient, running_sip_edge

from target_stack.edge.agent_call import EndReason

PEER = pytest.mark.peer
SOAK = pytest.mark.soak

SDP = """\
v=0
o=user1 53655765 2353687637 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
"""
HEADERS = """\
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: sipp <sip:sipp@[local_ip]:[local_port]>;tag=[pid]T[call_number]
Call-ID: [call_id]
Contact: sip:sipp@[local_ip]:[local_port]
Max-Forwards: 70
"""
TO = "To: <sip:agent@[remote_ip]:[remote_port]>"
# A call refused with 503 and Retry-After is over and well; an accepted one must last and get its 200 to BYE.
OR_REFUSED = f"""\
<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="a call, or a refusal">
  <send retrans="500"><![CDATA[
INVITE sip:agent@[remote_ip]:[remote_port] SIP/2.0
{HEADERS}{TO}
CSeq: 1 INVITE
Content-Type: application/sdp
Content-Length: [len]

{SDP}]]></send>
  <recv response="100" optional="true"/>
  <recv response="503" optional="true" next="refused">
    <action><ereg regexp="Retry-After: *5" search_in="msg" check_it="true" assign_to="retry"/></action>
  </recv>
  <recv response="200"/>
  <send><![CDATA[
ACK sip:agent@[remote_ip]:[remote_port] SIP/2.0
{HEADERS}{TO}[peer_tag_param]
CSeq: 1 ACK
Content-Length: 0

]]></send>
  <pause/>
  <send retrans="500"><![CDATA[
BYE sip:agent@[remote_ip]:[remote_port] SIP/2.0
{HEADERS}{TO}[peer_tag_param]
CSeq: 2 BYE
Content-Length: 0

]]></send>
  <recv response="200" next="over"/>
  <label id="refused"/>
  <send><![CDATA[
ACK sip:agent@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch-8]
From: sipp <sip:sipp@[local_ip]:[local_port]>;tag=[pid]T[call_number]
Call-ID: [call_id]
Max-Forwards: 70
{TO}[peer_tag_param]
CSeq: 1 ACK
Content-Length: 0

]]></send>
  <label id="over"/>
  <Reference variables="retry"/>
</scenario>
"""


async def sipp(address, folder, *words, transport="u1", limit_s=60):
    """Run SIPp against `address`; return its last statistics row."""
    if shutil.which("sipp") is None:
        pytest.skip("SIPp is not installed (apt install sip-tester)")
    stat = folder / "stat.csv"
    command = ["sipp", f"{address[0]}:{address[1]}", "-i", "127.0.0.1", "-nostdin", "-t", transport, *words]
    command += [
        "-max_socket",
        "500",
        "-trace_stat",
        "-stf",
        str(stat),
        "-fd",
        "1",
        "-trace_err",
        "-error_file",
        str(folder / "errors.log"),
    ]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
    )
    try:
        await asyncio.wait_for(process.wait(), limit_s)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    with stat.open() as file:
        row = list(csv.DictReader(file, delimiter=";"))[-1]
    return {name: int(row[name]) for name in ("SuccessfulCall(C)", "FailedCall(C)", "TotalCallCreated")}


def outcome(row):
    return row["TotalCallCreated"], row["SuccessfulCall(C)"], row["FailedCall(C)"]


@PEER
@pytest.mark.parametrize("transport", ["u1", "t1", "tn"])
def test_sipps_own_uac(transport, tmp_path):
    async def scenario():
        sessions = Sessions(greeting_s=0.1)
        async with running_sip_edge(sessions) as (edge, address):
            row = await sipp(address, tmp_path, "-sn", "uac", "-m", "10", "-r", "10", "-d", "800", transport=transport)
            await until(lambda: not edge.counts.active_calls, "all released")
        assert outcome(row) == (10, 10, 0)
        assert edge.counts.answers == {200: 10}
        assert edge.counts.calls_ended == {EndReason.PEER_LEFT: 10}
        assert [s.closes for s in sessions.made] == [1] * 10
        # SIPp announces a port and takes audio there; each call was greeted.
        assert all(("drained", 0) in s.playout for s in sessions.made)
        assert edge.counts.lines.sent > 10 * 20

    asyncio.run(scenario())


@PEER
def test_a_trunk_of_n_keeps_the_n_and_refuses_the_rest(tmp_path):
    (tmp_path / "uac.xml").write_text(OR_REFUSED)

    async def scenario():
        sessions = Sessions(greeting_s=0.1)
        async with running_sip_edge(sessions, trunk_calls=6) as (edge, address):
            words = ("-sf", str(tmp_path / "uac.xml"), "-m", "12", "-r", "100", "-d", "2000")
            row = await sipp(address, tmp_path, *words)
            await until(lambda: not edge.counts.active_calls, "all released")
        assert outcome(row) == (12, 12, 0)
        assert edge.counts.answers == {200: 6, 503: 6}
        assert edge.counts.calls_ended == {EndReason.PEER_LEFT: 6}
        assert [s.closes for s in sessions.made] == [1] * 6

    asyncio.run(scenario())


@SOAK
@pytest.mark.timeout(180)
def test_150_percent_load_for_a_minute_loses_none_of_the_accepted_calls(tmp_path):
    """30 calls offered at once, 20 taken: pytest --soak tests/target_stack/test_sip_edge_sipp.py -k 150."""
    (tmp_path / "uac.xml").write_text(OR_REFUSED)
    trunk, hold_s, seconds = 20, 4, 60
    rate = 1.5 * trunk / hold_s

    async def scenario():
        sessions = Sessions(greeting_s=0.2)
        async with running_sip_edge(sessions, trunk_calls=trunk) as (edge, address):
            calls = str(int(rate * seconds))
            words = ("-sf", str(tmp_path / "uac.xml"), "-m", calls, "-r", f"{rate:g}", "-d", str(hold_s * 1000))
            row = await sipp(address, tmp_path, *words, limit_s=150)
            await until(lambda: not edge.counts.active_calls, "all released")
        counts = edge.take_counts()
        accepted, refused = counts.answers[200], counts.answers[503]
        print(f"accepted {accepted}, refused {refused}, sent again {counts.resent}, SIPp: {outcome(row)}")
        assert outcome(row) == (int(calls), int(calls), 0)
        # SIPp and the edge are two threads of one busy machine; but nearly every message must be answered in time.
        assert counts.resent < accepted + refused
        assert accepted + refused == int(calls)
        # What an M/D/20/20 trunk at 30 erlangs takes is some 60 %; less would mean that places are lost.
        assert accepted >= 0.5 * int(calls)
        assert refused > 0
        assert counts.calls_ended == {EndReason.PEER_LEFT: accepted}
        assert all(("drained", 0) in s.playout and s.closes == 1 for s in sessions.made)
        assert len(sessions.made) == accepted

    asyncio.run(scenario())


def request(method, *lines, body="", to_tag=""):
    head = [f"{method} sip:a@b SIP/2.0", f"Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK{method}"]
    head += ["From: <sip:a@b>;tag=1", f"To: <sip:c@d>{to_tag}", f"Call-ID: {method}", f"CSeq: 1 {method}", *lines]
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode()


GARBAGE = [
    b"\0" * 100,
    b"\xff" * 1400,
    b"INVITE",
    b"INVITE sip:a SIP/2.0\r\n\r\n",
    b"SIP/2.0 200 OK\r\n\r\n",
    request(
        "INVITE",
        "Contact: <sip:a@127.0.0.1:9>",
        "Content-Type: application/sdp",
        "Content-Length: 9",
        body="v=garbage",
    ),
    request("BYE", "Content-Length: 0", to_tag=";tag=2"),
    request("OPTIONS").replace(b"SIP/2.0\r\nVia", b"SIP/7.0\r\nVia"),
    request("REGISTER", "Content-Length: 99999"),
]


@pytest.mark.loopback
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_garbage_leaves_the_edge_standing(transport):
    async def scenario():
        sessions = Sessions(greeting_s=0.05)
        async with running_sip_edge(sessions) as (edge, address), SipClient(address, transport) as client:
            call = await client.call()
            for data in GARBAGE:
                if transport == "udp":
                    client.endpoint._by_local[client.flow.local].send(data, address)
                else:
                    reader, writer = await asyncio.open_connection(*address)
                    writer.write(data)
                    writer.write_eof()
                    await asyncio.wait_for(reader.read(), 20)
                    writer.close()
            other = await client.call()
            other.hang_up()
            await until(lambda: client.ends(other), "another call ended")
            assert not client.ends(call)
            assert edge.counts.active_calls == 1
            assert edge.take_counts().malformed > 0
            assert edge.counts.answers[488] == 1

    asyncio.run(scenario())
