"""Scenarios for SIPp as the agent, put together step by step, and SIPp running them."""

import contextlib
import socket

from foreign import free_port, installed, running

SDP = """\
v=0
o=user1 53655765 {version} IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
a={direction}
"""
_REQUEST = """\
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:agent@[local_ip]:[local_port]>;tag=[pid]S[call_number]
To[$caller]
Call-ID: [call_id]
CSeq: {cseq} {sequence}
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
"""


def sdp(direction="sendrecv", version=1):
    return SDP.format(direction=direction, version=version)


def recv(method, *, optional=False, action=""):
    flag = ' optional="true"' if optional else ""
    return f'<recv request="{method}"{flag} rrs="true">{action}</recv>\n'


def invited(*, action=""):
    """Take an INVITE and keep what later requests of the agent need."""
    keep = '<ereg regexp=":.*" search_in="hdr" header="From" assign_to="caller"/>'
    contact = '<ereg regexp="sip:[^>]*" search_in="hdr" header="Contact:" assign_to="target"/>'
    return recv("INVITE", action=f"<action>{keep}{contact}{action}</action>") + _USED


_USED = '<nop><action><log message="[$caller] [$target]"/></action></nop>\n'


def answer(status, *headers, body="", again=False, extra=""):
    """Answer the last request; a response with a body, or `again`, is sent until it is acknowledged."""
    lines = [f"SIP/2.0 {status}", "[last_Via:]", "[last_From:]", "[last_To:];tag=[pid]S[call_number]"]
    lines += ["[last_Call-ID:]", "[last_CSeq:]", "[last_Record-Route:]"]
    lines += ["Contact: <sip:[local_ip]:[local_port];transport=[transport]>", *headers]
    lines += ["Content-Type: application/sdp"] if body else []
    head = "\n".join([*lines, "Content-Length: [len]"])
    retrans = ' retrans="500"' if again else ""
    return f"<send{retrans}{extra}><![CDATA[\n{head}\n\n{body}]]></send>\n"


def done(status, *headers, body="", extra=""):
    """Answer a request within the dialog: its To has the tag already."""
    return answer(status, *headers, body=body, extra=extra).replace(";tag=[pid]S[call_number]", "")


def request(method, cseq, *, body="", headers=(), sequence=None, again=True):
    """Send a request of the agent's own within the dialog."""
    head = f"{method} [$target] SIP/2.0\n" + _REQUEST.format(cseq=cseq, sequence=sequence or method)
    head += "".join(f"{line}\n" for line in headers)
    head += "Content-Type: application/sdp\n" if body else ""
    retrans = ' retrans="500"' if again else ""
    return f"<send{retrans}><![CDATA[\n{head}Content-Length: [len]\n\n{body}]]></send>\n"


def expect(status, *, optional=False):
    flag = ' optional="true"' if optional else ""
    return f'<recv response="{status}"{flag}/>\n'


def pause(milliseconds):
    return f'<pause milliseconds="{milliseconds}"/>\n'


ANSWERED = answer("200 OK", body=sdp(), again=True) + recv("ACK")
HUNG_UP = recv("BYE") + done("200 OK")


@contextlib.contextmanager
def sipp_agent(folder, *steps, name="agent", transport="u1", calls=1, stock="uas", echo=True):
    """Run SIPp as an agent; gives it and its sip: address. It ends with 0 when each call went as written."""
    sipp = installed("sipp", "sip-tester")
    port, media = free_port(), free_port(pair=True)
    script = ["-sn", stock]
    if steps:
        path = folder / f"{name}.xml"
        path.write_text(
            f'<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="{name}">\n{"".join(steps)}</scenario>\n'
        )
        script = ["-sf", path]
    words = [sipp, *script, "-i", "127.0.0.1", "-p", port, "-cp", free_port(), "-t", transport, "-m", calls, "-nostdin"]
    words += ["-mi", "127.0.0.1", "-mp", media, *(["-rtp_echo"] if echo else [])]
    words += [
        "-trace_err",
        "-error_file",
        folder / f"{name}.errors",
        "-trace_msg",
        "-message_file",
        folder / f"{name}.messages",
    ]
    with running(words, folder, name) as agent:
        agent.wait_for(lambda: _is_bound(port, transport), "listening")
        agent.messages = folder / f"{name}.messages"
        agent.errors = folder / f"{name}.errors"
        agent.port = port
        yield agent, f"sip:agent@127.0.0.1:{port}" + (";transport=tcp" if transport[0] == "t" else "")


def _is_bound(port, transport):
    kind = socket.SOCK_STREAM if transport[0] == "t" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False
