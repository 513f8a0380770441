"""TLS contexts for SIP over TLS (RFC 3261 26.3)."""

import ssl
from pathlib import Path

from harness.model.errors import ScenarioError


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the context of a listener; ScenarioError when certificate or key cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ScenarioError(f"certificate {certificate} with key {key} cannot be used: {error}") from error
    return context


def client_context(ca: Path | None = None, *, verify: bool = True) -> ssl.SSLContext:
    """Return the context of a client that trusts `ca` (None: the system's store), or everybody when not `verify`."""
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        raise ScenarioError(f"{ca} cannot be used as a file of certificates: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
