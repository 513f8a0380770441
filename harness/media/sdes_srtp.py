"""SDES keys to libsrtp sessions (RFC 3711, RFC 7714)."""

from pylibsrtp import Policy, Session

from harness.media.srtp import INCOMING, OUTGOING, srtp_session
from harness.protocols import sdes

_PROFILES = {
    sdes.AES_CM_80: Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    # SRTCP keeps its 80-bit tag (RFC 4568 6.2.2); libsrtp does so by itself.
    sdes.AES_CM_32: Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    sdes.AES_GCM_128: Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    sdes.AES_GCM_256: Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}


def outgoing_session(crypto: sdes.Crypto) -> Session:
    """Return the session that protects what the sender of this line sends, whatever its SSRC."""
    return _session(crypto, OUTGOING)


def incoming_session(crypto: sdes.Crypto) -> Session:
    """Return the session that opens what the sender of this line sends, whatever its SSRC."""
    return _session(crypto, INCOMING)


def _session(crypto: sdes.Crypto, direction: int) -> Session:
    return srtp_session(crypto.material, direction, _PROFILES[crypto.suite])
