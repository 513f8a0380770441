"""The `target` of a scenario: where to call and how. Rules that need two of its keys are told at the later one."""

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from harness.model.plan import TargetSpec
from harness.scenario.impairments import Impairments
from harness.scenario.strict_model import StrictModel

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CODECS = ("PCMU", "PCMA", "G722", "opus")
_LEGAL_HTTP = "http://host:port/path or https://..., port 1 to 65535"
_LEGAL_RTP = "rtp://host:port, port 1 to 65535"


def check_url(url: str) -> str:
    """Return `url` when a caller can use it; ValueError says what is wrong with it."""
    legal = f"legal: {_LEGAL_HTTP}; with transport rtp also {_LEGAL_RTP}"
    if any(c.isspace() or ord(c) < 0x20 for c in url):
        raise ValueError(f"got {url!r}: white space in it; {legal}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"got {url!r}: {error}; {legal}") from error
    if parts.scheme not in ("http", "https", "rtp") or not parts.hostname or port == 0:
        raise ValueError(f"got {url!r}: nobody can be called there; {legal}")
    has_more = parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None
    if parts.scheme == "rtp" and (port is None or has_more):
        raise ValueError(f"got {url!r}: an address and a port is all there is to plain RTP; legal: {_LEGAL_RTP}")
    return url


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"header name {name!r}; legal: letters, digits and !#$%&'*+.^_`|~-")
        if any(ord(c) < 0x20 or ord(c) == 0x7F or ord(c) > 0xFF for c in value):
            raise ValueError(f"the value of header {name!r} holds a character no header can; legal: printable Latin-1")
    return headers


def _codec_name(value: Any) -> Any:
    """Spell a codec as SDP does, whatever the case it is written in."""
    names = {name.lower(): name for name in _CODECS}
    return names.get(value.lower(), value) if isinstance(value, str) else value


def _off(value: Any) -> Any:
    """Read YAML's bare `off`, which YAML 1.1 takes for False, as the word it is."""
    return "off" if value is False else value


Suite = Literal["AEAD_AES_128_GCM", "AEAD_AES_256_GCM", "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"]


class Target(StrictModel):
    """Where to call and how."""

    url: Annotated[str, AfterValidator(check_url)] = Field(
        pattern=r"^(https?://[^\s/]+(/\S*)?|rtp://[^\s/]+/?)$",
        description="the offer endpoint: http://host:port/path; or rtp://host:port, called without signalling",
    )
    transport: Literal["webrtc", "rtp"] = Field(default="webrtc", validate_default=True)
    dialect: Literal["pipecat", "json"] = Field(
        default="pipecat",
        description="webrtc only. pipecat: SmallWebRTC offer and RTVI messages; json: plain {sdp, type} both ways",
    )
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field(
        default_factory=dict, description="sent with every signalling request"
    )
    codec: Annotated[Literal["PCMU", "PCMA", "G722", "opus"] | None, BeforeValidator(_codec_name)] = Field(
        default=None, validate_default=True, description="default PCMU for rtp; webrtc speaks opus"
    )
    srtp: Annotated[Literal["off", "offered", "required"], BeforeValidator(_off)] = Field(
        default="off",
        description="rtp only: SDES keys in the offer, as a wish or as a must; webrtc is always encrypted",
    )
    srtp_suites: list[Suite] | None = Field(
        default=None, min_length=1, description="SDES suites to offer, the best first; all by default"
    )
    source_ports: Literal["auto", "shared", "per_call"] = Field(
        default="auto",
        description="calls leave from a few ports of an engine, or from one each; auto: as the agent allows",
    )
    expect_greeting: bool = Field(default=True, description="the agent speaks first")
    impairments: Impairments | None = Field(default=None, description="of every call, but for what a caller says")

    @field_validator("transport")
    @classmethod
    def _transport_fits_the_address(cls, transport: str, info: ValidationInfo) -> str:
        if _is_static(info) and transport != "rtp":
            raise ValueError(f"got {transport}; legal for the address {info.data['url']}: rtp")
        return transport

    @field_validator("dialect")
    @classmethod
    def _dialect_is_of_webrtc(cls, dialect: str, info: ValidationInfo) -> str:
        if info.data.get("transport") == "rtp":
            raise ValueError(f"got {dialect}; transport rtp has one dialect only; legal: leave it out")
        return dialect

    @field_validator("headers")
    @classmethod
    def _headers_have_a_request(cls, headers: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if headers and _is_static(info):
            raise ValueError("an rtp:// address is called without any request that could carry headers; legal: none")
        return headers

    @field_validator("codec")
    @classmethod
    def _codec_of_the_transport(cls, codec: str | None, info: ValidationInfo) -> str:
        if info.data.get("transport") == "rtp":
            return codec or "PCMU"
        if codec not in (None, "opus"):
            raise ValueError(f"got {codec}; legal for transport webrtc: opus")
        return "opus"

    @field_validator("srtp")
    @classmethod
    def _keys_have_a_way(cls, srtp: str, info: ValidationInfo) -> str:
        if srtp != "off" and info.data.get("transport") != "rtp":
            raise ValueError(f"got {srtp}; webrtc is always encrypted; legal for it: off")
        if srtp != "off" and _is_static(info):
            raise ValueError(f"got {srtp}; an rtp:// address has no signalling to send keys by; legal for it: off")
        return srtp

    @field_validator("srtp_suites")
    @classmethod
    def _suites_are_sound(cls, suites: list[str] | None, info: ValidationInfo) -> list[str] | None:
        if suites and info.data.get("srtp") == "off":
            raise ValueError("suites without encryption; legal: with srtp: offered or srtp: required")
        if suites and len(set(suites)) != len(suites):
            raise ValueError("a suite stands twice; legal: suites that differ")
        return suites

    def check_override(self, url: str) -> None:
        """Raise ValueError unless `url` can take the place of the file's address with all else as it is."""
        if not check_url(url).startswith("rtp://"):
            return
        if self.transport != "rtp":
            raise ValueError(f"got {url}, but the scenario's transport is {self.transport}; legal: {_LEGAL_HTTP}")
        if self.srtp != "off" or self.headers:
            asked = "srtp" if self.srtp != "off" else "headers"
            raise ValueError(f"got {url}, which has no signalling for the scenario's {asked}; legal: {_LEGAL_HTTP}")

    def spec(self, url: str | None = None) -> TargetSpec:
        """Where calls go; `url` overrides the file's."""
        return TargetSpec(
            url=url or self.url,
            transport=self.transport,
            dialect=self.dialect,
            headers=dict(self.headers),
            codec=self.codec or "opus",
            srtp=self.srtp,
            srtp_suites=tuple(self.srtp_suites or ()),
            source_ports=self.source_ports,
        )


def _is_static(info: ValidationInfo) -> bool:
    return str(info.data.get("url", "")).startswith("rtp://")
