"""`target.sip`: who calls over SIP, by which proxy, with which account."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from harness.model.plan import SipSpec
from harness.scenario.strict_model import StrictModel
from harness.scenario.target.address import parse_sip
from harness.scenario.target.codecs import CodecName, codec_name
from harness.scenario.target.values import CertificateFile, Secret

# RFC 4028 4: the smallest interval anybody may ask for.
_SHORTEST_SESSION_S = 90


def _uri(uri: str) -> str:
    parse_sip(uri)
    return uri


SipUri = Annotated[str, AfterValidator(_uri)]


class Sip(StrictModel):
    """What calls over SIP have besides an address."""

    from_: SipUri | None = Field(
        default=None,
        alias="from",
        description="the caller's address; default sip:callquake@ and this machine's",
    )
    proxy: SipUri | None = Field(default=None, description="outbound proxy, like sip:host:port;lr")
    username: Secret | None = Field(default=None, min_length=1, description="of the account; ${NAME} is a variable")
    password: Secret | None = Field(default=None, description="of the account; better ${NAME} than the word itself")
    register_: bool = Field(default=False, alias="register", description="REGISTER before the first call")
    transport: Literal["udp", "tcp", "tls"] | None = Field(default=None, description="instead of the address's own")
    tls_ca: CertificateFile | None = Field(default=None, description="PEM file to trust instead of the system's")
    tls_verify: bool = Field(default=True, description="false takes any certificate")
    session_expires_s: int | None = Field(
        default=None, ge=_SHORTEST_SESSION_S, le=86_400, description="asks for a session timer (RFC 4028)"
    )
    prack: bool = Field(default=True, description="take reliable provisional responses (RFC 3262)")
    media: bool = Field(default=True, description="false: signalling only, without any audio")
    hold_s: float | None = Field(
        default=None, ge=0, le=86_400, description="with media: false, how long an answered call lasts; default 5"
    )
    honour_retry_after: bool = Field(
        default=True, description="after a 503 with Retry-After, place no call there before its time"
    )
    codecs: list[Annotated[CodecName, BeforeValidator(codec_name)]] | None = Field(
        default=None, min_length=1, description="offered codecs, the best first; default target.codec alone"
    )

    @field_validator("password")
    @classmethod
    def _password_has_a_name(cls, password: str | None, info: ValidationInfo) -> str | None:
        if password is not None and "username" in info.data and info.data["username"] is None:
            raise ValueError("a password without a username; legal: with target.sip.username")
        return password

    @field_validator("tls_verify")
    @classmethod
    def _authority_is_used(cls, verify: bool, info: ValidationInfo) -> bool:
        if not verify and info.data.get("tls_ca") is not None:
            raise ValueError("got false, so that tls_ca would not be looked at; legal: one of the two")
        return verify

    @field_validator("hold_s")
    @classmethod
    def _length_is_ours_to_say(cls, hold_s: float | None, info: ValidationInfo) -> float | None:
        if hold_s is not None and info.data.get("media", True):
            raise ValueError(
                f"got {hold_s:g}, but a call with audio lasts as long as its turns; legal: with media: false"
            )
        return hold_s

    @field_validator("codecs")
    @classmethod
    def _codecs_differ(cls, codecs: list[Any] | None) -> list[Any] | None:
        if codecs and len(set(codecs)) != len(codecs):
            raise ValueError("a codec stands twice; legal: codecs that differ")
        return codecs

    def check(self, url: str, codec: str | None) -> None:
        """Raise ValueError unless this block goes with the target's address and codec."""
        hop = first_hop(url, self)
        if parse_sip(url).scheme == "sips" and hop != "tls":
            raise ValueError(f"transport: got {self.transport}; legal for the address {url}: tls")
        if hop != "tls" and (self.tls_ca is not None or not self.tls_verify):
            key = "tls_ca" if self.tls_ca is not None else "tls_verify"
            raise ValueError(f"{key}: calls go by {hop}; legal with it: transport: tls, or an address that says so")
        if self.codecs and codec is not None and codec != self.codecs[0]:
            raise ValueError(
                f"codecs: got {self.codecs[0]} as the best, but target.codec is {codec}; legal: {codec} first, or no "
                "target.codec"
            )


def first_hop(url: str, block: Sip | None) -> str:
    """Return "udp", "tcp" or "tls": by which a call leaves this machine."""
    override = None if block is None else block.transport
    proxy = None if block is None else block.proxy
    if proxy is not None and parse_sip(url).scheme == "sip":
        return parse_sip(proxy).first_hop(override)
    return parse_sip(url).first_hop(override)


def sip_spec(url: str, block: Sip | None) -> SipSpec:
    """Return what a plan says of it, with all defaults filled in."""
    said = block or Sip()
    return SipSpec(
        from_uri=said.from_,
        proxy=said.proxy,
        username=said.username,
        password=said.password,
        register=said.register_,
        transport=first_hop(url, block),
        tls_ca=said.tls_ca,
        tls_verify=said.tls_verify,
        session_expires_s=said.session_expires_s,
        prack=said.prack,
        codecs=tuple(said.codecs or ()),
        media=said.media,
        hold_ms=(5.0 if said.hold_s is None else said.hold_s) * 1000,
        honour_retry_after=said.honour_retry_after,
    )
