"""`target.ice`: which candidates a WebRTC call may use, and the STUN and TURN servers that give more of them."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from harness.model import plan
from harness.scenario.strict_model import StrictModel
from harness.scenario.target.values import CertificateFile, Secret

_HOST = r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])"
_URL = re.compile(rf"stun:{_HOST}(?::([0-9]{{1,5}}))?|turns?:{_HOST}(?::([0-9]{{1,5}}))?(?:\?transport=(?:udp|tcp))?")
_LEGAL = "stun:host:port, turn:host:port?transport=udp|tcp, turns:host:port?transport=tcp"


def _server_url(url: str) -> str:
    found = _URL.fullmatch(url)
    port = None if found is None else found[1] or found[2]
    if found is None or (port is not None and not 1 <= int(port) <= 65535):
        raise ValueError(f"got {url!r}; legal: {_LEGAL}")
    if url.startswith("turns:") and url.endswith("transport=udp"):
        raise ValueError(f"got {url!r}: TURN over DTLS is not spoken here; legal: {_LEGAL}")
    return url


def _as_list(value: Any) -> Any:
    """Take one address for a list of it, as WebRTC does."""
    return [value] if isinstance(value, str) else value


def _is_turn(url: str) -> bool:
    return url.startswith("turn")


class IceServer(StrictModel):
    """A STUN or TURN server (RFC 7064, RFC 7065)."""

    urls: Annotated[list[Annotated[str, AfterValidator(_server_url)]], BeforeValidator(_as_list)] = Field(min_length=1)
    username: Secret | None = Field(default=None, min_length=1, validate_default=True)
    credential: Secret | None = Field(default=None, min_length=1, validate_default=True)

    @field_validator("username", "credential")
    @classmethod
    def _turn_has_an_account(cls, value: str | None, info: ValidationInfo) -> str | None:
        urls = info.data.get("urls", [])
        if value is None and any(map(_is_turn, urls)):
            raise ValueError(
                f"missing; {urls[0]} asks for username and credential (RFC 8656 5); legal: text, ${{NAME}}"
            )
        return value


class Ice(StrictModel):
    """Which candidates a WebRTC call may use."""

    policy: Literal["all", "relay", "host"] = Field(
        default="all", description="relay: by a TURN server only; host: this machine's own addresses only"
    )
    servers: list[IceServer] = Field(default_factory=list)
    tls_ca: CertificateFile | None = Field(default=None, description="PEM file to trust for turns:")

    @field_validator("servers")
    @classmethod
    def _servers_are_asked(cls, servers: list[IceServer], info: ValidationInfo) -> list[IceServer]:
        if servers and info.data.get("policy") == "host":
            raise ValueError("servers that policy: host never asks; legal: policy: all, policy: relay, or no servers")
        return servers

    def check(self, dialect: str) -> None:
        """Raise ValueError unless this block goes with the dialect."""
        has_turn = any(_is_turn(url) for server in self.servers for url in server.urls)
        # WHIP's answer may name servers (RFC 9725 4.6), too late for an offer that was made, in time for a probe of it.
        if self.policy == "relay" and not has_turn and dialect != "whip":
            raise ValueError(f"policy: got relay without a TURN server in servers; legal: with one of {_LEGAL}")

    def to_plan(self) -> plan.IceSpec:
        """Return the same as a plan says it."""
        servers = tuple(plan.IceServer(tuple(s.urls), s.username, s.credential) for s in self.servers)
        return plan.IceSpec(self.policy, servers, self.tls_ca)
