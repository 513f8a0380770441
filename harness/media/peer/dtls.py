"""DTLS-SRTP of one peer (RFC 5763, RFC 5764): one certificate and one SSL context for all peers of a process.

OpenSSL works on memory: datagrams go in by `receive`, come out by `send`, and every time-out is a timer of the process.
"""

import binascii
import contextlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from pylibsrtp import Policy, Session

from harness.media.srtp import INCOMING, OUTGOING, srtp_session
from harness.media.timers import Timer, Timers
from harness.model.errors import GeneratorError, ScenarioError

# What one datagram carries at most: fits every path that WebRTC works on.
_DATAGRAM_BYTES = 1200
_RECORD_HEADER_BYTES = 13
_READ_BYTES = 16_384
_DTLS_1_2 = 0xFEFD
# ECDSA for peers of our kind, RSA for gateways with a certificate of their own.
_CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    b"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    b"ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA"
)
# RFC 8122 5.
_HASHES = {"sha-224": "sha224", "sha-256": "sha256", "sha-384": "sha384", "sha-512": "sha512"}
_EXPORTER = b"EXTRACTOR-dtls_srtp"


@dataclass(frozen=True, slots=True)
class Profile:
    """An SRTP protection profile: its name in DTLS, its number in libsrtp, its key and salt in bytes."""

    name: str
    libsrtp: int
    key_bytes: int
    salt_bytes: int


# In the order of preference: the cheapest first.
PROFILES = (
    Profile("SRTP_AEAD_AES_128_GCM", Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12),
    Profile("SRTP_AEAD_AES_256_GCM", Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 32, 12),
    Profile("SRTP_AES128_CM_SHA1_80", Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14),
)
_BY_NAME = {p.name: p for p in PROFILES}


class DtlsIdentity:
    """The certificate of this process and the SSL context made from it; costs a key pair, once."""

    def __init__(self, profiles: Sequence[str] | None = None) -> None:
        names = list(profiles) if profiles else list(_BY_NAME)
        unknown = [name for name in names if name not in _BY_NAME]
        if unknown:
            raise ScenarioError(f"SRTP profile '{unknown[0]}' is unknown; legal: {', '.join(_BY_NAME)}")
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _self_signed(key)
        digest = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
        # (algorithm, value), as SDP writes them.
        self.fingerprint = ("sha-256", digest)
        self.context = _context(key, certificate, names)


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, binascii.hexlify(secrets.token_bytes(8)).decode())])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
    )
    return builder.sign(key, hashes.SHA256())


def _context(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, profiles: list[str]) -> SSL.Context:
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_QUERY_MTU)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_max_proto_version(_DTLS_1_2)
    # Self-signed on both sides: the fingerprint in the SDP is what is checked (RFC 5763 5).
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    context.set_cipher_list(_CIPHERS)
    context.set_tlsext_use_srtp(b":".join(name.encode() for name in profiles))
    return context


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """The two SRTP sessions a handshake gave, and the profile both follow."""

    profile: str
    outgoing: Session
    incoming: Session


class State(Enum):
    """Of a session."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"
    FAILED = "failed"


class DtlsSession:
    """One handshake and what comes after it. Calls back `on_connected` or `on_failed` once, then `on_closed` once."""

    def __init__(
        self,
        identity: DtlsIdentity,
        timers: Timers,
        *,
        is_server: bool,
        fingerprints: Sequence[tuple[str, str]],
        send: Callable[[bytes], None],
        on_connected: Callable[[SrtpKeys], None],
        on_failed: Callable[[str], None],
        on_closed: Callable[[], None],
    ) -> None:
        self.is_server = is_server
        self.state = State.NEW
        # What the data channel's SCTP reads.
        self.on_data: Callable[[bytes], None] | None = None
        self._timers = timers
        self._fingerprints = fingerprints
        self._send = send
        self._on_connected = on_connected
        self._on_failed = on_failed
        self._on_closed = on_closed
        self._timer: Timer | None = None
        self._ssl = SSL.Connection(identity.context)
        self._ssl.set_ciphertext_mtu(_DATAGRAM_BYTES)
        if is_server:
            self._ssl.set_accept_state()
        else:
            self._ssl.set_connect_state()

    def begin(self) -> None:
        """Say hello, as the client, or await it."""
        self.state = State.CONNECTING
        self._shake()

    def receive(self, data: bytes) -> None:
        """Take one datagram."""
        if self.state in (State.CLOSED, State.FAILED):
            return
        self._ssl.bio_write(data)
        if self.state is State.CONNECTING:
            self._shake()
        elif self.state is State.CONNECTED:
            self._read()
            # A peer that lost our last flight repeats its own, and OpenSSL then repeats ours.
            self._flush()

    def send(self, data: bytes) -> None:
        """Encrypt and send; raises ConnectionError when the session is not up."""
        if self.state is not State.CONNECTED:
            raise ConnectionError(f"DTLS is {self.state.value}")
        self._ssl.send(data)
        self._flush()

    def close(self) -> None:
        """Say goodbye (close_notify) and forget everything."""
        if self._timer is not None:
            self._timer.cancel()
        if self.state in (State.CONNECTING, State.CONNECTED):
            with contextlib.suppress(SSL.Error):
                self._ssl.shutdown()
            self._flush()
        self.state = State.CLOSED
        self.on_data = None

    def words(self) -> dict[str, str]:
        """Return version, cipher and our role of a connected session, for people."""
        return {
            "version": self._ssl.get_protocol_version_name(),
            "cipher": self._ssl.get_cipher_name() or "",
            "role": "server" if self.is_server else "client",
        }

    # --- handshake -----------------------------------------------------------------------------------------------

    def _shake(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            self._ssl.do_handshake()
        except SSL.WantReadError:
            self._flush()
            self._await_timeout()
            return
        except SSL.Error as error:
            self._flush()
            self._fail(f"the DTLS handshake failed: {_reason(error)}")
            return
        self._flush()
        self._shaken()

    def _await_timeout(self) -> None:
        left_s = self._ssl.DTLSv1_get_timeout()
        if left_s is not None:
            self._timer = self._timers.after(left_s, self._timed_out)

    def _timed_out(self) -> None:
        self._timer = None
        if self.state is State.CONNECTING:
            with contextlib.suppress(SSL.Error):
                self._ssl.DTLSv1_handle_timeout()
            self._flush()
            self._await_timeout()

    def _shaken(self) -> None:
        problem = self._fingerprint_problem()
        profile = _BY_NAME.get(self._ssl.get_selected_srtp_profile().decode())
        if problem is not None:
            self._fail(problem)
        elif profile is None:
            self._fail("the agent agreed to no SRTP profile (use_srtp)")
        else:
            self.state = State.CONNECTED
            self._on_connected(self._keys(profile))
            # A datagram may carry data behind the end of the handshake.
            self._read()

    def _fingerprint_problem(self) -> str | None:
        """RFC 8122 5: every fingerprint whose hash we know must match, and there must be one."""
        certificate = self._ssl.get_peer_certificate()
        if certificate is None:
            return "the agent showed no certificate"
        known = 0
        for algorithm, value in self._fingerprints:
            digest = _HASHES.get(algorithm)
            if digest is None:
                continue
            known += 1
            if certificate.digest(digest).decode() != value:
                return f"the agent's certificate does not match the {algorithm} fingerprint of its SDP"
        return None if known else "the agent's SDP has no fingerprint of a known hash (sha-256)"

    def _keys(self, profile: Profile) -> SrtpKeys:
        size, salt = profile.key_bytes, profile.salt_bytes
        material = self._ssl.export_keying_material(_EXPORTER, 2 * (size + salt))
        # RFC 5764 4.2: client key, server key, client salt, server salt.
        client = material[:size] + material[2 * size : 2 * size + salt]
        server = material[size : 2 * size] + material[2 * size + salt :]
        ours, theirs = (server, client) if self.is_server else (client, server)
        return SrtpKeys(
            profile.name,
            _session(profile, ours, OUTGOING),
            _session(profile, theirs, INCOMING),
        )

    # --- data ----------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            while self.state is State.CONNECTED:
                data = self._ssl.recv(_READ_BYTES)
                if self.on_data is not None:
                    self.on_data(data)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self._over()
        except SSL.Error:
            # A forged or damaged record; OpenSSL has dropped it.
            pass

    def _over(self) -> None:
        if self.state is State.CONNECTED:
            self.close()
            self._on_closed()

    def _fail(self, detail: str) -> None:
        self.state = State.FAILED
        self._on_failed(detail)

    def _flush(self) -> None:
        """Send what OpenSSL has written: whole records, as many to a datagram as fit."""
        try:
            written = self._ssl.bio_read(_READ_BYTES)
        except SSL.Error:
            return
        if len(written) <= _DATAGRAM_BYTES:
            self._send(written)
            return
        begin = end = 0
        while end + _RECORD_HEADER_BYTES <= len(written):
            following = end + _RECORD_HEADER_BYTES + int.from_bytes(written[end + 11 : end + 13])
            if following - begin > _DATAGRAM_BYTES and end > begin:
                self._send(written[begin:end])
                begin = end
            end = following
        if begin < len(written):
            self._send(written[begin:])


def _session(profile: Profile, material: bytes, direction: int) -> Session:
    try:
        return srtp_session(material, direction, profile.libsrtp)
    except Exception as error:
        raise GeneratorError(f"libsrtp cannot do {profile.name}: {error}") from error


def _reason(error: SSL.Error) -> str:
    """Return OpenSSL's own words; its errors are lists of (library, function, reason)."""
    reasons = [entry[2] for entry in error.args[0]] if error.args and isinstance(error.args[0], list) else []
    return ", ".join(reasons) or repr(error)
