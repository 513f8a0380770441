"""Digest authentication of SIP, both sides (RFC 7616 with RFC 8760's algorithms; RFC 2617 for peers without qop)."""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.model.clock import NS_PER_S
from harness.model.errors import LocalProtocolError
from harness.protocols.sip.grammar import BadMessage, Params, quote
from harness.protocols.sip.headers import parse_auth

# Strongest last; the strongest challenge is the one answered.
_HASHES: dict[str, str] = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}
_STRENGTH = {name: rank for rank, name in enumerate(_HASHES)}
_SESS = "-sess"
# Another realm's challenge may follow the first; a peer that goes on with fresh nonces is not followed for ever.
_MOST_STALE = 3


@dataclass(frozen=True, slots=True)
class Challenge:
    """One WWW-Authenticate or Proxy-Authenticate value."""

    realm: str
    nonce: str
    # As written by the peer, or "MD5" where it was left out.
    algorithm: str = "MD5"
    qop: tuple[str, ...] = ()
    opaque: str | None = None
    stale: bool = False

    @property
    def base(self) -> str:
        """The hash's name without -sess, in upper case; may be one that is not known here."""
        return self.algorithm.upper().removesuffix(_SESS.upper())

    @property
    def chosen_qop(self) -> str | None:
        """`auth` where offered, else `auth-int`, else None (RFC 2617's older form)."""
        return next((word for word in ("auth", "auth-int") if word in self.qop), None)

    @property
    def is_usable(self) -> bool:
        """Whether its algorithm and protection are known here."""
        return self.base in _HASHES and (not self.qop or self.chosen_qop is not None)


def challenges_in(values: Iterable[str]) -> list[Challenge]:
    """Return the digest challenges of WWW-Authenticate or Proxy-Authenticate values; other schemes are left out.

    Raises BadMessage for a value that is no challenge, and where realm or nonce are missing.
    """
    found = [auth.params for value in values for auth in parse_auth(value, "challenge") if auth.is_digest]
    return [_challenge(params) for params in found]


def _challenge(params: Params) -> Challenge:
    realm, nonce = params.get("realm"), params.get("nonce")
    if realm is None or nonce is None:
        raise BadMessage("a digest challenge without realm or nonce")
    words = (params.get("qop") or "").lower().split(",")
    return Challenge(
        realm=realm,
        nonce=nonce,
        algorithm=params.get("algorithm") or "MD5",
        qop=tuple(word.strip() for word in words if word.strip()),
        opaque=params.get("opaque"),
        stale=(params.get("stale") or "").lower() == "true",
    )


def _octets(text: str) -> bytes:
    """Return the octets as they stood in the message, UTF-8 or not."""
    return text.encode("utf-8", "surrogateescape")


def _hash(base: str, text: str | bytes) -> str:
    octets = text if isinstance(text, bytes) else _octets(text)
    return hashlib.new(_HASHES[base], octets, usedforsecurity=False).hexdigest()


def secret_of(challenge: Challenge, username: str, password: str, cnonce: str) -> str:
    """Return H(A1) (RFC 7616 3.4.2); for -sess algorithms it is bound to nonce and `cnonce`."""
    secret = _hash(challenge.base, f"{username}:{challenge.realm}:{password}")
    if challenge.algorithm.lower().endswith(_SESS):
        secret = _hash(challenge.base, f"{secret}:{challenge.nonce}:{cnonce}")
    return secret


def response_of(
    challenge: Challenge, secret: str, method: str, uri: str, *, body: bytes = b"", cnonce: str = "", nc: str = ""
) -> str:
    """Return the `response` parameter (RFC 7616 3.4.1) for H(A1) = `secret`; without qop as RFC 2617 3.2.2.1."""
    base, qop = challenge.base, challenge.chosen_qop
    a2 = f"{method}:{uri}"
    if qop == "auth-int":
        a2 += f":{_hash(base, body)}"
    middle = challenge.nonce if qop is None else f"{challenge.nonce}:{nc}:{cnonce}:{qop}"
    return _hash(base, f"{secret}:{middle}:{_hash(base, a2)}")


def strongest(challenges: Iterable[Challenge]) -> Challenge | None:
    """Return the usable challenge with the strongest hash, the first of equals; None when none is usable."""
    usable = [challenge for challenge in challenges if challenge.is_usable]
    return max(usable, key=lambda challenge: _STRENGTH[challenge.base], default=None)


@dataclass(slots=True)
class _Space:
    """What is known of one protection space: the challenge in use and how often it was."""

    challenge: Challenge
    secret: str
    cnonce: str
    uses: int = 0


@dataclass(slots=True)
class Attempts:
    """What one request answered so far, so that wrong credentials are sent once and not again."""

    # By (is a proxy's, realm): a registrar and a proxy may share a realm and even a nonce, and both ask.
    nonces: set[tuple[bool, str, str]] = field(default_factory=set)
    # Realms already answered with a nonce they had just issued.
    fresh: dict[tuple[bool, str], int] = field(default_factory=dict)


class DigestClient:
    """Credentials for one target; may be shared by its calls, which then reuse its nonces with rising nc."""

    def __init__(self, username: str, password: str) -> None:
        self.username = username
        self._password = password
        # By (is a proxy's, realm).
        self._spaces: dict[tuple[bool, str], _Space] = {}

    def __repr__(self) -> str:
        return f"DigestClient({self.username!r})"

    def take(self, values: Sequence[str], attempts: Attempts, cnonce: str, *, proxy: bool) -> str | None:
        """Take in the challenges of a 401 or 407 (`proxy`); return None when they can be answered, else why not.

        A nonce is not answered twice within one request, and a realm that asks again without stale=true has refused us.
        """
        try:
            challenges = challenges_in(values)
        except BadMessage as error:
            return error.reason
        chosen: dict[str, Challenge] = {}
        for realm in dict.fromkeys(challenge.realm for challenge in challenges):
            best = strongest(challenge for challenge in challenges if challenge.realm == realm)
            if best is not None:
                chosen[realm] = best
        if not chosen:
            known = ", ".join(_HASHES)
            return f"no challenge that can be answered (Digest with {known}): {'; '.join(values) or 'none given'}"
        refused = [why for best in chosen.values() if (why := self._why_refused(best, attempts, proxy=proxy))]
        if refused:
            for realm in chosen:
                self._spaces.pop((proxy, realm), None)
            return refused[0]
        for realm, best in chosen.items():
            attempts.nonces.add((proxy, realm, best.nonce))
            attempts.fresh[proxy, realm] = attempts.fresh.get((proxy, realm), 0) + 1
            secret = secret_of(best, self.username, self._password, cnonce)
            self._spaces[proxy, realm] = _Space(best, secret, cnonce)
        return None

    def _why_refused(self, challenge: Challenge, attempts: Attempts, *, proxy: bool) -> str | None:
        answered = attempts.fresh.get((proxy, challenge.realm), 0)
        if (proxy, challenge.realm, challenge.nonce) in attempts.nonces or (answered and not challenge.stale):
            return f"user {self.username!r} or its password was refused by realm {challenge.realm!r}"
        if answered > _MOST_STALE:
            return f"realm {challenge.realm!r} called {answered} nonces stale"
        return None

    def header_lines(self, method: str, uri: str, body: bytes, attempts: Attempts | None = None) -> str:
        """Return the Authorization and Proxy-Authorization lines for a request, "" before any challenge.

        `attempts`, where given, notes the nonces used, so that a refusal of them is recognised.
        """
        lines = []
        for (proxy, realm), space in self._spaces.items():
            space.uses += 1
            if attempts is not None:
                attempts.nonces.add((proxy, realm, space.challenge.nonce))
            name = "Proxy-Authorization" if proxy else "Authorization"
            lines.append(f"{name}: {self._credentials(space, method, uri, body)}\r\n")
        return "".join(lines)

    def _credentials(self, space: _Space, method: str, uri: str, body: bytes) -> str:
        challenge, nc = space.challenge, f"{space.uses:08x}"
        answer = response_of(challenge, space.secret, method, uri, body=body, cnonce=space.cnonce, nc=nc)
        parts = [
            f"Digest username={quote(self.username)}",
            f"realm={quote(challenge.realm)}",
            f"nonce={quote(challenge.nonce)}",
            f"uri={quote(uri)}",
            f'response="{answer}"',
            f"algorithm={challenge.algorithm}",
        ]
        if challenge.chosen_qop is not None:
            parts += [f"qop={challenge.chosen_qop}", f"nc={nc}", f'cnonce="{space.cnonce}"']
        elif challenge.algorithm.lower().endswith(_SESS):
            parts.append(f'cnonce="{space.cnonce}"')
        if challenge.opaque is not None:
            parts.append(f"opaque={quote(challenge.opaque)}")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a server found in a request's credentials."""

    accepted: bool
    # The credentials fit a nonce that is no longer taken: ask again with stale=true.
    stale: bool = False
    username: str | None = None


class Verifier:
    """The server's side: issues challenges, checks answers; keeps the last nc of each nonce that was used.

    `passwords` gives the password of a user, None (or a missing key) for an unknown one. `secret` signs nonces.
    """

    def __init__(
        self,
        realm: str,
        passwords: Mapping[str, str] | Callable[[str], str | None],
        *,
        secret: bytes,
        algorithms: Sequence[str] = ("SHA-256", "MD5"),
        qop: str = "auth",
        nonce_ttl_s: float = 300.0,
    ) -> None:
        unknown = [name for name in algorithms if name.upper().removesuffix("-SESS") not in _HASHES]
        if unknown or not algorithms:
            raise LocalProtocolError(
                f"digest algorithms {unknown}: known here are {', '.join(_HASHES)}, each with -sess"
            )
        self.realm = realm
        self._password = passwords if callable(passwords) else passwords.get
        self._key = secret
        self._algorithms = tuple(algorithms)
        self._qop = qop
        self._ttl_ns = int(nonce_ttl_s * NS_PER_S)
        self._last_nc: dict[str, tuple[int, int]] = {}

    def challenges(self, now_ns: int, *, stale: bool = False) -> tuple[str, ...]:
        """Return the values of WWW-Authenticate headers, the preferred algorithm first."""
        for nonce in [nonce for nonce, (issued, _) in self._last_nc.items() if now_ns - issued > self._ttl_ns]:
            del self._last_nc[nonce]
        end = ", stale=true" if stale else ""
        return tuple(
            f'Digest realm={quote(self.realm)}, nonce="{self._nonce(now_ns)}", algorithm={name}, qop="{self._qop}"{end}'
            for name in self._algorithms
        )

    def _nonce(self, now_ns: int) -> str:
        return f"{now_ns:x}.{hmac.digest(self._key, f'{now_ns:x}'.encode(), 'sha256').hex()[:32]}"

    def _issued_ns(self, nonce: str) -> int | None:
        head = nonce.partition(".")[0]
        try:
            issued = int(head, 16)
        except ValueError:
            return None
        return issued if issued >= 0 and hmac.compare_digest(_octets(self._nonce(issued)), _octets(nonce)) else None

    def check(self, method: str, values: Sequence[str], body: bytes, now_ns: int) -> Verdict:
        """Judge the Authorization values of a request; nothing a peer may send raises.

        The digest's own `uri` is taken as sent: proxies on the way may have rewritten the request's.
        """
        for value in values:
            try:
                found = parse_auth(value, "Authorization")
            except BadMessage:
                continue
            for auth in found:
                if auth.is_digest and auth.params.get("realm") == self.realm:
                    return self._judge(method, auth.params, body, now_ns)
        return Verdict(accepted=False)

    def _judge(self, method: str, params: Params, body: bytes, now_ns: int) -> Verdict:
        nonce, username = params.get("nonce") or "", params.get("username") or ""
        qop = params.get("qop")
        challenge = Challenge(
            self.realm, nonce, params.get("algorithm") or "MD5", () if qop is None else (qop.lower(),)
        )
        issued, password = self._issued_ns(nonce), self._password(username)
        if issued is None or password is None or challenge.algorithm not in self._algorithms or not challenge.is_usable:
            return Verdict(accepted=False)
        if qop is None or qop.lower() not in self._qop.split(","):
            return Verdict(accepted=False)
        cnonce, nc = params.get("cnonce") or "", params.get("nc") or ""
        secret = secret_of(challenge, username, password, cnonce)
        wanted = response_of(challenge, secret, method, params.get("uri") or "", body=body, cnonce=cnonce, nc=nc)
        if not hmac.compare_digest(_octets(wanted), _octets((params.get("response") or "").lower())):
            return Verdict(accepted=False)
        return self._count(nonce, nc, issued, username, now_ns)

    def _count(self, nonce: str, nc: str, issued: int, username: str, now_ns: int) -> Verdict:
        try:
            number = int(nc, 16)
        except ValueError:
            return Verdict(accepted=False)
        if now_ns - issued > self._ttl_ns or number <= self._last_nc.get(nonce, (0, 0))[1]:
            return Verdict(accepted=False, stale=True)
        self._last_nc[nonce] = (issued, number)
        return Verdict(accepted=True, username=username)
