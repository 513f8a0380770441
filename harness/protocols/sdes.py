"""SDES: SRTP keys carried in SDP's a=crypto lines (RFC 4568; the AEAD suites of RFC 7714 section 14).

What we read widely and write narrowly: one key a line, no lifetime, no MKI, no session parameters. A line that is legal
but asks for what our SRTP cannot do (several keys, an MKI, unencrypted or unauthenticated packets) is `UnusableCrypto`:
an offer's other lines may still do.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.model.errors import LocalProtocolError, RemoteProtocolError


class UnusableCrypto(RemoteProtocolError):  # noqa: N818 - a property of the line, not a failure of its sender
    """A legal a=crypto line whose suite or parameters we do not have."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A crypto suite: lengths in bytes."""

    name: str
    key_bytes: int
    salt_bytes: int

    @property
    def material_bytes(self) -> int:
        """Master key and salt, as they stand behind one another in a line."""
        return self.key_bytes + self.salt_bytes


AES_CM_80 = Suite("AES_CM_128_HMAC_SHA1_80", 16, 14)
AES_CM_32 = Suite("AES_CM_128_HMAC_SHA1_32", 16, 14)
AES_GCM_128 = Suite("AEAD_AES_128_GCM", 16, 12)
AES_GCM_256 = Suite("AEAD_AES_256_GCM", 32, 12)
# In the order in which we offer them: GCM is the cheaper one on any machine with AES instructions.
SUITES = (AES_GCM_128, AES_GCM_256, AES_CM_80, AES_CM_32)


def suite_named(name: str) -> Suite | None:
    """Return the suite called `name` (case does not matter), None where we have none of that name."""
    return next((suite for suite in SUITES if suite.name == name.upper()), None)


@dataclass(frozen=True, slots=True)
class Crypto:
    """One a=crypto line: under `tag`, the sender of the line encrypts what it sends with this key."""

    tag: int
    suite: Suite
    # Master key, then master salt. Never shown.
    material: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.material) != self.suite.material_bytes:
            wanted = self.suite.material_bytes
            raise LocalProtocolError(
                f"{self.suite.name} takes {wanted} bytes of key and salt, got {len(self.material)}"
            )
        if not 0 <= self.tag <= _LARGEST_TAG:
            raise LocalProtocolError(f"crypto tag {self.tag}; legal: 0 to {_LARGEST_TAG}")


_LARGEST_TAG = 999_999_999
_TAG = re.compile(r"[0-9]{1,9}")
_LIFETIME = re.compile(r"(2\^)?[0-9]{1,20}")
_MKI = re.compile(r"[0-9]+:([0-9]{1,3})")
# Session parameters that change nothing about how packets are protected: a hint of the replay window's size.
_HARMLESS = re.compile(r"WSH=[0-9]{2,}", re.IGNORECASE)


def build(crypto: Crypto) -> str:
    """Return the value of an a=crypto line."""
    key = base64.b64encode(crypto.material).decode()
    return f"{crypto.tag} {crypto.suite.name} inline:{key}"


def parse(value: str) -> Crypto:
    """Read the value of an a=crypto line.

    Raises UnusableCrypto for a legal line we cannot follow, RemoteProtocolError for an illegal one; neither message
    holds a key.
    """
    words = value.split()
    if len(words) < 3:
        raise RemoteProtocolError("a=crypto needs a tag, a suite and key parameters")
    tag, name, keys = words[:3]
    if not _TAG.fullmatch(tag):
        raise RemoteProtocolError(f"a=crypto: tag {tag[:20]!r}; legal: 1 to 9 digits")
    suite = suite_named(name)
    if suite is None:
        legal = ", ".join(s.name for s in SUITES)
        raise UnusableCrypto(f"a=crypto:{tag}: suite {name[:40]!r} is not known here; known: {legal}")
    where = f"a=crypto:{tag} {suite.name}"
    material = _material(where, suite, keys)
    for parameter in words[3:]:
        # A leading dash: may be ignored by who does not know it (RFC 4568 6.3.7).
        if not parameter.startswith("-") and not _HARMLESS.fullmatch(parameter):
            raise UnusableCrypto(f"{where}: session parameter {parameter[:40]!r} is not supported")
    return Crypto(int(tag), suite, material)


def _material(where: str, suite: Suite, keys: str) -> bytes:
    method, colon, info = keys.partition(":")
    if not colon:
        raise RemoteProtocolError(f"{where}: key parameters must read inline:KEY")
    if method.lower() != "inline":
        raise UnusableCrypto(f"{where}: key method {method[:20]!r}; known: inline")
    if ";" in info:
        raise UnusableCrypto(f"{where}: several keys, told apart by MKI, are not supported")
    encoded, *options = info.split("|")
    _check_options(where, options)
    try:
        # Some senders leave the padding off.
        material = base64.b64decode(encoded.rstrip("=") + "=" * (-len(encoded.rstrip("=")) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RemoteProtocolError(f"{where}: the key is not base64") from error
    if len(material) != suite.material_bytes:
        wanted = f"{suite.material_bytes} ({suite.key_bytes} of key, {suite.salt_bytes} of salt)"
        raise RemoteProtocolError(f"{where}: the key has {len(material)} bytes, the suite wants {wanted}")
    return material


def _check_options(where: str, options: Sequence[str]) -> None:
    """Lifetime, then MKI, each may be left out. A lifetime outlasts any call and is let pass."""
    left = list(options)
    if left and _LIFETIME.fullmatch(left[0]):
        left.pop(0)
    if left and (mki := _MKI.fullmatch(left[0])):
        if 1 <= int(mki[1]) <= 128:
            raise UnusableCrypto(f"{where}: an MKI in every packet is not supported")
        raise RemoteProtocolError(f"{where}: MKI length {mki[1]}; legal: 1 to 128")
    if left:
        raise RemoteProtocolError(f"{where}: {left[0][:20]!r} behind the key is neither a lifetime nor an MKI")


def choose(offered: Sequence[Crypto], legal: Sequence[Suite] = SUITES) -> Crypto | None:
    """Return the first offered line whose suite is among `legal`: the offerer's order decides (RFC 4568 5.1.2)."""
    return next((crypto for crypto in offered if crypto.suite in legal), None)


def chosen_by_answer(offered: Sequence[Crypto], answered: Sequence[Crypto]) -> tuple[Crypto, Crypto]:
    """Return (our line, the peer's line) that the answer settled on; RemoteProtocolError says how it broke the rules.

    An answer has exactly one line, of an offered tag and that tag's suite (RFC 4568 5.1.2).
    """
    if len(answered) != 1:
        raise RemoteProtocolError(f"the answer has {len(answered)} usable a=crypto lines; legal: exactly 1")
    theirs = answered[0]
    ours = next((crypto for crypto in offered if crypto.tag == theirs.tag), None)
    if ours is None:
        legal = ", ".join(str(crypto.tag) for crypto in offered)
        raise RemoteProtocolError(f"the answer takes a=crypto:{theirs.tag}, which was not offered; offered: {legal}")
    if ours.suite != theirs.suite:
        raise RemoteProtocolError(
            f"the answer's a=crypto:{theirs.tag} is {theirs.suite.name}; offered under that tag: {ours.suite.name}"
        )
    return ours, theirs
