"""SIP over TLS: the server's name and authority are checked, and what is wrong is said with what to do about it."""

import asyncio
import datetime as dt
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sip_agent import SipAgent
from sip_bench import SipBench

from harness.callers.setup_failure import SetupFailure
from harness.model.plan import CallLimits
from harness.model.records import Cause
from harness.model.sip_facts import Bye
from harness.signalling.tls import server_context

pytestmark = pytest.mark.loopback


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Return the files (certificate, key) of a server called localhost at 127.0.0.1, its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    return folder / "cert.pem", folder / "key.pem"


def agent_with(certificate):
    return SipAgent(transport="tls", tls=server_context(*certificate))


@pytest.mark.parametrize("trust", ["authority", "anybody"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_call_over_tls(certificate, trust, host):
    async def main():
        async with agent_with(certificate) as agent, SipBench() as bench:
            settings = {"tls_ca": str(certificate[0])} if trust == "authority" else {"tls_verify": False}
            caller, _heard = await bench.connect(agent.url.replace("127.0.0.1", host), **settings)
            await caller.close()
            assert (caller.facts().transport, caller.facts().bye) == ("tls", Bye.ANSWERED)

    asyncio.run(main())


def test_an_authority_that_nobody_knows_is_refused_and_said(certificate):
    async def main():
        async with agent_with(certificate) as agent, SipBench() as bench:
            with pytest.raises(SetupFailure) as caught:
                await bench.connect(agent.url)
            assert caught.value.cause is Cause.SIGNALLING_UNREACHABLE
            assert "its certificate is not accepted" in caught.value.detail
            assert "target.sip.tls_ca" in caught.value.detail
            assert agent.calls == []

    asyncio.run(main())


def test_a_certificate_of_another_name_is_refused(certificate):
    async def main():
        async with agent_with(certificate) as agent, SipBench() as bench:
            # 127.0.0.2 is this machine, too, but nothing the certificate speaks of.
            await agent.endpoint.listen_tcp("127.0.0.2", agent.port, tls=server_context(*certificate))
            with pytest.raises(SetupFailure) as caught:
                await bench.connect(agent.url.replace("127.0.0.1", "127.0.0.2"), tls_ca=str(certificate[0]))
            assert "certificate is not valid for '127.0.0.2'" in caught.value.detail

    asyncio.run(main())


def test_what_speaks_no_tls_is_told():
    async def main():
        async with SipAgent(transport="tcp") as agent, SipBench() as bench:
            limits = CallLimits(connect_timeout_ms=1_500)
            with pytest.raises(SetupFailure) as caught:
                await bench.connect(agent.url.replace("tcp", "tls"), limits=limits)
            assert caught.value.cause in (Cause.SIGNALLING_UNREACHABLE, Cause.SIGNALLING_TIMEOUT)

    asyncio.run(main())
