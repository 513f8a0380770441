"""SRTP sessions of a call: libsrtp's, and for the AEAD suites the session keys too, so that the loop can do RTP itself.

libsrtp keeps a cipher per stream, kilobytes of it, and of a thousand calls each is cold again when its packet comes:
fetching it takes longer than the cipher (docs/benchmarks.md). The loop therefore keeps two ciphers that stay warm and
gives them each packet's key (hot/gcm.py). SRTCP, other suites and streams that change their SSRC stay with libsrtp.
"""

from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from pylibsrtp import Policy, Session

OUTGOING, INCOMING = Policy.SSRC_ANY_OUTBOUND, Policy.SSRC_ANY_INBOUND
# RFC 5764 4.1.2 and libwebrtc's choice: late and repeated packets are the receiver's to judge, not the cipher's.
REPLAY_WINDOW = 1024
# Labels of the key derivation (RFC 3711 4.3.2).
_ENCRYPTION_KEY, _SALT = 0, 2
_SALT_BYTES = 12
_AEAD_KEY_BYTES = {
    Policy.SRTP_PROFILE_AEAD_AES_128_GCM: 16,
    Policy.SRTP_PROFILE_AEAD_AES_256_GCM: 32,
}


class AeadSession(Session):
    """A libsrtp session that also tells the session keys of its RTP packets (RFC 7714)."""

    def __init__(self, policy: Policy, key: bytes, salt: bytes) -> None:
        super().__init__(policy)
        # 16 or 32 bytes, and 12.
        self.key, self.salt = key, salt


def srtp_session(material: bytes, direction: int, profile: int) -> Session:
    """Return the session of a master key and salt, laid end to end, for any SSRC; raises pylibsrtp.Error.

    `direction` is OUTGOING or INCOMING, `profile` one of Policy's numbers.
    """
    policy: Any = Policy(key=material, ssrc_type=direction, srtp_profile=profile)
    policy.allow_repeat_tx = True
    policy.window_size = REPLAY_WINDOW
    key_bytes = _AEAD_KEY_BYTES.get(profile)
    if key_bytes is None:
        return Session(policy)
    return AeadSession(policy, *_session_keys(material[:key_bytes], material[key_bytes:]))


def _session_keys(key: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """Derive the encryption key and the salt (RFC 3711 4.3.1 and 4.3.3, no derivation rate; RFC 7714 11)."""
    # The keystreams of AES-CM, two blocks of each: block j begins at the 16-byte salt, its label mixed in, plus j.
    begin = int.from_bytes(salt.ljust(16, b"\0"))
    blocks = ((begin ^ (label << 64)) + j for label in (_ENCRYPTION_KEY, _SALT) for j in range(2))
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - the block cipher itself
    stream = encryptor.update(b"".join(block.to_bytes(16) for block in blocks))
    return stream[: len(key)], stream[32 : 32 + _SALT_BYTES]
