"""A certificate that ran out, made from one that has not: for the same hosts, with the same key, of other dates."""

import contextlib
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519

_LIFE, _AGO = timedelta(days=90), timedelta(days=1)
# Of what a certificate says beside its name: what makes it good for its hosts.
_KEPT = (x509.SubjectAlternativeName, x509.ExtendedKeyUsage)


def expired_pem(certificate: bytes, key: bytes, now: datetime) -> bytes:
    """Return a certificate for the same hosts and key that ran out a day ago, signed by that certificate itself.

    Who trusts the old one finds nothing wrong with the new one but its date (OpenSSL would call one with the same name
    self-signed and not trusted, so its subject has a word more). Raises ValueError for one that is not its own
    authority: what somebody else has signed cannot be signed again here, and callers would see a forgery instead.
    """
    old = x509.load_pem_x509_certificate(certificate)
    _need_own_authority(old)
    signer: Any = serialization.load_pem_private_key(key, None)
    builder = x509.CertificateBuilder(
        subject_name=x509.Name([*old.subject, x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, "expired")]),
        issuer_name=old.subject,
        public_key=old.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - _AGO - _LIFE,
        not_valid_after=now - _AGO,
    )
    for extension in old.extensions:
        if isinstance(extension.value, _KEPT):
            builder = builder.add_extension(extension.value, extension.critical)
    is_edwards = isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    made = builder.sign(signer, None if is_edwards else hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


def _need_own_authority(certificate: x509.Certificate) -> None:
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature) as error:
        issuer = certificate.issuer.rfc4514_string()
        raise ValueError(f"the certificate is signed by {issuer}; only a self-signed one can be made anew") from error
    try:
        is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    if not is_authority:
        raise ValueError("the certificate is self-signed, but no authority (CA:TRUE), so that it can sign no other")


@contextlib.contextmanager
def expired_chain(certificate: Path, key: Path) -> Iterator[Path]:
    """Have the expired certificate in a file for a moment, as OpenSSL wants it. Raises ValueError, OSError."""
    pem = expired_pem(certificate.read_bytes(), key.read_bytes(), datetime.now(UTC))
    with tempfile.TemporaryDirectory(prefix="callquake-") as folder:
        path = Path(folder) / "expired.pem"
        path.write_bytes(pem)
        yield path
