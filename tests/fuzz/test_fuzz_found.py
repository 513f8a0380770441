"""What fuzzing found, each kept as the smallest input that shows it."""

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection

from harness.model.errors import RemoteProtocolError
from harness.protocols import stun, webrtc_sdp
from harness.protocols.media_streams.web_socket import WebSocketClient
from harness.protocols.sip.config import AgentConfig
from harness.protocols.sip.digest import Verifier
from harness.protocols.sip.events import Answered, Failed
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.grammar import BadMessage
from harness.protocols.sip.headers import parse_auth, parse_name_addr, parse_valued, parse_via
from harness.protocols.sip.message import Response, serialise
from harness.protocols.sip.reading import parse
from harness.protocols.sip.refusal import refusal
from harness.protocols.sip.user_agent import UserAgent

pytestmark = pytest.mark.unit

REQUEST = (
    b"OPTIONS sip:b@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n"
    b"To: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n"
)
FLOW = Flow("udp", ("127.0.0.1", 5060), ("127.0.0.1", 5070))


def test_a_cut_off_address_in_a_stun_response_is_none():
    data = stun.success(b"t" * 12, ("::1", 4000), b"k")
    assert stun.mapped_address(data) == ("::1", 4000)
    assert stun.mapped_address(data[:36]) is None


def test_a_refusal_is_no_longer_than_what_it_refuses():
    data = REQUEST + b"To: <sip:b@h>\r\n" * 2000 + b"\r\n"
    with pytest.raises(BadMessage) as refused:
        parse(data)
    assert len(serialise(refusal(refused.value, "127.0.0.1", 5060))) < len(REQUEST) + 200


def test_a_lone_carriage_return_starts_no_field_in_an_answer():
    message = parse(REQUEST.replace(b"Call-ID: c", b"Call-ID: c\rX: 1") + b"\r\n")
    assert message.call_id == "c X: 1"
    assert b"\rX" not in serialise(message)


@pytest.mark.parametrize("value", ['nonce="1.\xe9"', 'nonce="\udce8"', 'response="\udce8"', 'username="\udce8"'])
def test_credentials_that_are_no_ascii_are_refused(value):
    verifier = Verifier("r", lambda _user: "p", secret=b"s")
    nonce = parse_auth(verifier.challenges(0)[0], "x")[0].params["nonce"]
    given = {
        "realm": '"r"',
        "username": '"u"',
        "nonce": f'"{nonce}"',
        "algorithm": "SHA-256",
        "qop": "auth",
        "nc": "1",
        "response": '"0"',
    }
    name, _, text = value.partition("=")
    given[name] = text
    credentials = "Digest " + ", ".join(f"{name}={text}" for name, text in given.items())
    assert not verifier.check("INVITE", [credentials], b"", 0).accepted


def test_octets_behind_a_websockets_close_are_the_peers_fault():
    client, server = WebSocketClient(), WSConnection(ConnectionType.SERVER)
    server.receive_data(client.request("h", "/"))
    assert list(server.events())
    client.receive(server.send(AcceptConnection()))
    assert client.receive(server.send(CloseConnection(1000)))
    with pytest.raises(RemoteProtocolError, match="data after its end"):
        client.receive(b"\x81\x01a")


@pytest.mark.parametrize("number", ["1" * 5000, "\u00b2", "\u0661"])
@pytest.mark.parametrize("line", ["m=audio {} UDP/TLS/RTP/SAVPF 0", "m=audio 9 UDP/TLS/RTP/SAVPF {}", "a=sctp-port:{}"])
def test_numbers_that_are_none_are_refused_or_passed_over(line, number):
    text = f"v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n{line.format(number)}\r\n"
    try:
        sections = webrtc_sdp.parse(text).sections
    except RemoteProtocolError:
        assert line.startswith("m=audio {}")
    else:
        assert [(s.port, s.sctp_port) for s in sections] == [(9, None)] * len(sections)
        assert sections[-1].rtpmaps == (() if line.startswith("m=audio 9") else sections[0].rtpmaps)


def test_a_retry_after_that_is_no_number_of_seconds_is_none():
    response = Response(503, None, [("Retry-After", "1" * 5000)])
    assert Failed(0, None, 503, "", response, "response").retry_after_s is None


@pytest.mark.parametrize(
    "field", [b"Contact: <x y>", b"Allow: <,", b"Record-Route: ", b"Session-Expires: ;", b"RSeq: -1"]
)
def test_an_unreadable_field_of_a_response_is_counted_and_stops_nothing(field):
    agent = UserAgent(AgentConfig(), seed=1)
    agent.invite("sip:b@127.0.0.1", FLOW, 0)
    ((_flow, invite),) = agent.take_outputs()
    sent = parse(invite)
    answer = b"SIP/2.0 200 OK\r\n" + b"".join(
        f"{name}: {sent.get(name)}\r\n".encode() for name in ("Via", "From", "To", "Call-ID", "CSeq")
    )
    agent.receive(
        answer.replace(b"To: <sip:b@127.0.0.1>", b"To: <sip:b@127.0.0.1>;tag=9") + field + b"\r\n\r\n", FLOW, 1
    )
    assert agent.counts.malformed == 1
    assert [type(event) for event in agent.take_events()] == [Answered]


# Regular expressions that try every way to cut a run of blanks would need hours for these.
@pytest.mark.parametrize("filling", [" ", "a", ",", ";", '"', "\\", "(", "a ", "a=", "<", "; ", "a;"])
def test_long_runs_take_no_more_than_their_length(filling):
    run = filling * (60_000 // len(filling))
    for read in (parse_name_addr, parse_via):
        for value in (run, f"x{run}x", f"<sip:a>{run}", f"SIP/2.0/UDP h{run}", f'"{run}" <sip:a>;{run}'):
            is_refused(lambda read=read, value=value: read(value))
    for read in (parse_auth, parse_valued):
        for value in (run, f"x{run})", f"Digest {run}", f"Digest a={run}="):
            is_refused(lambda read=read, value=value: read(value, "field"))
    for lines in (f"X{run}: 1", f"X: {run}", f" {run}:", run):
        is_refused(lambda lines=lines: parse(REQUEST + lines.encode() + b"\r\n Y\r\n\r\n"))


def is_refused(read):
    """Tell whether; both will do, only hanging fails."""
    try:
        read()
    except BadMessage:
        return True
    return False
