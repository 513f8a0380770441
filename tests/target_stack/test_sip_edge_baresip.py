"""baresip calls the agent: every transport, three codecs, SRTP, a key, hold and resume, both ways of hanging up."""

import asyncio
import subprocess

import pytest
from baresip_peer import Baresip
from edge_peer import Sessions, until
from sip_peer import running_sip_edge

from target_stack.edge.agent_call import EndReason

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", paths[0], "-keyout", paths[1]]
    subprocess.run(command, check=True, capture_output=True)
    return paths


@pytest.mark.parametrize(
    ("transport", "codec", "encryption", "options"),
    [
        ("udp", "PCMU/8000/1", "", {}),
        ("udp", "PCMA/8000/1", "", {"users": {"tester": "secret"}, "early_media": "ringback", "ring_s": 0.5}),
        ("tcp", "G722/16000/1", ";mediaenc=srtp", {"session_expires_s": 90}),
        ("tls", "opus/48000/2", ";mediaenc=srtp-mand", {"srtp": "required", "early_media": "greeting"}),
    ],
    ids=["udp", "udp with digest", "tcp with srtp", "tls with srtp"],
)
def test_baresip_talks_to_the_agent(transport, codec, encryption, options, certificate, tmp_path):
    tls = {"port": None, "tls_port": 0, "certificate": certificate[0], "key": certificate[1]}
    account = f"<sip:tester@127.0.0.1;transport={transport}>;regint=0;audio_codecs={codec}{encryption}"
    account += ";auth_user=tester;auth_pass=secret"

    async def scenario():
        sessions = Sessions(greeting_s=0.5)
        options_now = options | (tls if transport == "tls" else {})
        async with (
            running_sip_edge(sessions, **options_now) as (edge, address),
            Baresip(tmp_path, account, certificate[0]) as baresip,
        ):
            await baresip.tell("dial", f"sip:agent@127.0.0.1:{address[1]}")
            await baresip.until("CALL_ESTABLISHED")
            await until(lambda: sessions.made and ("drained", 0) in sessions.made[0].playout, "greeted")
            (session,) = sessions.made
            await until(lambda: session.loud_samples > 16_000, f"its tone heard {baresip.log()}")
            # baresip has telephone events on an 8 kHz clock only, which do not fit into a stream of Opus.
            if "opus" not in codec:
                await baresip.tell("sndcode", "5")
                await until(lambda: [digit for digit, _ in session.digits] == ["5"], "a key")
            await baresip.tell("hold")
            await until(lambda: edge.counts.renegotiations == 1, "held")
            await baresip.tell("resume")
            await until(lambda: edge.counts.renegotiations == 2, "resumed")
            before = session.loud_samples
            await until(lambda: session.loud_samples > before + 8_000, "heard again")
            await baresip.tell("hangup")
            await until(lambda: not edge.counts.active_calls, "released")
        lines = edge.counts.lines
        assert edge.counts.calls_ended == {EndReason.PEER_LEFT: 1}
        # libre's first RTCP packet, an APP called PING, is not encrypted.
        assert (lines.lost, lines.srtp_failures) == (0, 1 if encryption else 0)
        assert lines.sent > 50

    asyncio.run(scenario())


def test_the_agent_hangs_up_on_baresip(certificate, tmp_path):
    async def scenario():
        sessions = Sessions()
        account = "<sip:tester@127.0.0.1;transport=udp>;regint=0;audio_codecs=PCMU/8000/1"
        async with (
            running_sip_edge(sessions) as (edge, address),
            Baresip(tmp_path, account, certificate[0]) as baresip,
        ):
            await baresip.tell("dial", f"sip:agent@127.0.0.1:{address[1]}")
            await until(lambda: sessions.made and sessions.made[0].playout, "greeting")
            edge.hang_up(sessions.made[0].call_id)
            await baresip.until("CALL_CLOSED")
        assert edge.counts.calls_ended == {EndReason.HUNG_UP: 1}

    asyncio.run(scenario())
