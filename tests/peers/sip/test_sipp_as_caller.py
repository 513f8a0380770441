"""SIPp as the caller of our agent: its scenario with recorded media, its branch client, holds, digests, codecs."""

import asyncio
import contextlib
from pathlib import Path

import pytest
import sipp_scenarios as steps
from edge_peer import Sessions, until
from foreign import free_port, installed, running
from sip_peer import running_sip_edge

from target_stack.edge.agent_call import EndReason

pytestmark = pytest.mark.peer

# What comes with SIPp: speech in G.711 A-law, and digits as telephone events.
RECORDINGS = Path("/usr/share/sip-tester")


@contextlib.contextmanager
def sipp_caller(address, folder, *words, transport="u1"):
    """Run SIPp against `address`; it ends with 0 when each call went as its scenario says."""
    sipp = installed("sipp", "sip-tester")
    command = [sipp, f"{address[0]}:{address[1]}", "-i", "127.0.0.1", "-p", free_port(), "-cp", free_port(), "-nostdin"]
    command += ["-t", transport, "-mi", "127.0.0.1", "-mp", free_port(pair=True), *words]
    command += ["-trace_err", "-error_file", folder / "errors", "-trace_msg", "-message_file", folder / "messages"]
    with running(command, folder, "caller") as caller:
        caller.messages = folder / "messages"
        yield caller


def test_what_sipp_plays_is_heard(tmp_path):
    """Stock uac_pcap: 8 s of recorded speech in PCMA, then the key 1 by RFC 4733."""
    installed("sipp", "sip-tester")
    if not (RECORDINGS / "g711a.pcap").exists():
        pytest.skip(f"this SIPp comes without recordings in {RECORDINGS}")
    (tmp_path / "pcap").symlink_to(RECORDINGS)

    async def main():
        sessions = Sessions(greeting_s=0.3, quiet_ms=150)
        async with running_sip_edge(sessions) as (edge, address):
            with sipp_caller(address, tmp_path, "-sn", "uac_pcap", "-m", "1") as sipp:
                assert await sipp.ended(40) == 0
            await until(lambda: not edge.counts.active_calls, "released")
        (session,) = sessions.made
        lines = edge.counts.lines
        # 236 packets of 30 ms, and 10 of the key: every one of the recordings.
        assert lines.heard == 236 + 10
        assert lines.strays == 0
        assert 16_000 < session.loud_samples < session.audio_samples
        assert session.turn >= 1
        assert [digit for digit, _ in session.digits] == ["1"]
        assert edge.counts.digits == 1
        assert edge.counts.calls_ended == {EndReason.PEER_LEFT: 1}
        assert "m=audio" in sipp.messages.read_text()

    asyncio.run(main())


HEAD = """\
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:load@[local_ip]:[local_port]>;tag=[pid]T[call_number]
To: <sip:agent@[remote_ip]:[remote_port]>{tag}
Call-ID: [call_id]
CSeq: {cseq}
Contact: <sip:load@[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
"""


def send(method, number, *headers, body="", again=True, cseq=None):
    """Send a request; those after the first answer have the agent's tag, and its Contact as their URI."""
    is_first = method == "INVITE" and not body.count("o=user1 53655765 2")
    uri = "sip:agent@[remote_ip]:[remote_port]" if is_first else "[next_url]"
    head = f"{method} {uri} SIP/2.0\n"
    head += HEAD.format(tag="" if is_first else "[peer_tag_param]", cseq=f"{number} {cseq or method}")
    head += "".join(f"{line}\n" for line in headers) + ("Content-Type: application/sdp\n" if body else "")
    retrans = ' retrans="500"' if again else ""
    return f"<send{retrans}><![CDATA[\n{head}Content-Length: [len]\n\n{body}]]></send>\n"


def expect(status, *, optional=False, auth=False):
    flags = (' optional="true"' if optional else "") + (' auth="true"' if auth else "")
    return f'<recv response="{status}" rrs="true"{flags}/>\n'


ANSWERED = expect(100, optional=True) + expect(200)
HUNG_UP = send("BYE", 9) + expect(200)


def write(folder, *written):
    path = folder / "caller.xml"
    head = '<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="caller">\n'
    path.write_text(head + "".join(written) + "</scenario>\n")
    return "-sf", path, "-m", "1"


def ack(number, *headers):
    return send("ACK", number, *headers, again=False)


def test_sipp_holds_the_agent_and_resumes(tmp_path):
    hold = send("INVITE", 2, body=steps.sdp("sendonly", 2)) + ANSWERED + ack(2)
    resume = send("INVITE", 3, body=steps.sdp("sendrecv", 2)) + ANSWERED + ack(3)
    first = send("INVITE", 1, body=steps.sdp()) + ANSWERED + ack(1)
    script = write(tmp_path, first, steps.pause(500), hold, steps.pause(1500), resume, steps.pause(800), HUNG_UP)

    async def main():
        sessions = Sessions(greeting_s=0.2)
        async with running_sip_edge(sessions) as (edge, address):
            with sipp_caller(address, tmp_path, *script) as sipp:
                assert await sipp.ended(30) == 0
            await until(lambda: not edge.counts.active_calls, "released")
        assert edge.counts.renegotiations == 2
        said = sipp.messages.read_text()
        assert said.count("a=recvonly") == 1
        assert edge.counts.calls_ended == {EndReason.PEER_LEFT: 1}
        # Nothing was said for the 1.5 s on hold: some 1.3 s of the call's 2.8 s.
        assert 40 <= edge.counts.lines.sent <= 100

    asyncio.run(main())


@pytest.mark.parametrize("password", ["s3cret", "wrong"])
def test_sipp_shows_its_account(tmp_path, password):
    account = f"[authentication username=load password={password}]"
    first = send("INVITE", 1, body=steps.sdp()) + expect(100, optional=True) + expect(401, auth=True)
    refused = send("ACK", 1, again=False).replace("[next_url]", "sip:agent@[remote_ip]:[remote_port]")
    again = send("INVITE", 2, account, body=steps.sdp())
    if password == "s3cret":
        rest = [ANSWERED, ack(2), steps.pause(300), HUNG_UP]
    else:
        rest = [expect(100, optional=True), expect(401), refused.replace("CSeq: 1", "CSeq: 2")]
    script = write(tmp_path, first, refused, again, *rest)

    async def main():
        sessions = Sessions(greeting_s=0.1)
        async with running_sip_edge(sessions, users={"load": "s3cret"}) as (edge, address):
            with sipp_caller(address, tmp_path, *script) as sipp:
                assert await sipp.ended(30) == 0
            await until(lambda: not edge.counts.active_calls, "released")
        assert len(sessions.made) == (1 if password == "s3cret" else 0)

    asyncio.run(main())


def test_sipps_branch_client_registers_and_calls(tmp_path):
    """Stock branchc: REGISTER, INVITE, BYE in one Call-ID, each a CSeq 1 of its own; 10 s with its own pauses."""

    async def main():
        sessions = Sessions(greeting_s=0.1)
        async with running_sip_edge(sessions) as (edge, address):
            words = ("-sn", "branchc", "-m", "3", "-r", "10")
            with sipp_caller(address, tmp_path, *words) as sipp:
                assert await sipp.ended(30) == 0
            await until(lambda: not edge.counts.active_calls, "released")
        assert edge.counts.answers == {200: 3}
        assert edge.counts.calls_ended == {EndReason.PEER_LEFT: 3}
        said = sipp.messages.read_text()
        assert said.count("\nREGISTER ") == 3
        assert "Contact: <sip:ua1@127.0.0.1" in said

    asyncio.run(main())
