"""The `target` of a scenario: where to call and how. Rules that need two of its keys are told at the later one."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo, field_validator

from harness.model.plan import NAMED_BY_ANSWER, TargetSpec
from harness.scenario.impairments import Impairments
from harness.scenario.strict_model import StrictModel
from harness.scenario.target.address import PATTERN, TRANSPORTS, check_url, scheme_of
from harness.scenario.target.codecs import CodecName, codec_name, legal_codecs
from harness.scenario.target.ice import Ice
from harness.scenario.target.sip import Sip, sip_spec
from harness.scenario.target.stream import Stream
from harness.scenario.target.values import check_secret, expanded

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# The first of a transport is its default.
DIALECTS: dict[str, tuple[str, ...]] = {
    "webrtc": ("pipecat", "json", "whip", "openai"),
    "media_stream": ("twilio", "telnyx", "plivo", "exotel", "vonage", "jambonz", "audiosocket"),
}
# What our own SIP messages say (RFC 3261 20).
_SIP_HEADERS = frozenset(
    (
        *("authorization", "call-id", "contact", "content-length", "content-type", "cseq", "from", "max-forwards"),
        *("proxy-authorization", "rack", "record-route", "require", "route", "rseq", "session-expires", "supported"),
        *("to", "via", "i", "m", "l", "c", "f", "k", "s", "t", "v", "x"),
    )
)
# RFC 6455 4.1.
_HANDSHAKE_HEADERS = frozenset(
    f"{prefix}{name}"
    for prefix, names in {
        "": ("connection", "upgrade", "host", "content-length", "transfer-encoding"),
        "sec-websocket-": ("key", "version", "extensions", "protocol", "accept"),
    }.items()
    for name in names
)
_OUR_HEADERS = {
    **dict.fromkeys(("sip", "sips"), (_SIP_HEADERS, "SIP")),
    **dict.fromkeys(("ws", "wss"), (_HANDSHAKE_HEADERS, "a WebSocket's handshake")),
}

_Dialect = Literal[
    "pipecat", "json", "whip", "openai",
    "twilio", "telnyx", "plivo", "exotel", "vonage", "jambonz", "audiosocket",
]  # fmt: skip
Suite = Literal["AEAD_AES_128_GCM", "AEAD_AES_256_GCM", "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"]


def _headers(headers: dict[str, str], info: ValidationInfo) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"header name {name!r}; legal: letters, digits and !#$%&'*+.^_`|~-")
        check_secret(value, info)
        if any(ord(c) < 0x20 or ord(c) == 0x7F or ord(c) > 0xFF for c in expanded(value, info)):
            raise ValueError(f"the value of header {name!r} holds a character no header can; legal: printable Latin-1")
    return headers


def _off(value: Any) -> Any:
    """Read YAML's bare `off`, which YAML 1.1 takes for False, as the word it is."""
    return "off" if value is False else value


class Target(StrictModel):
    """Where to call and how."""

    url: Annotated[str, AfterValidator(check_url)] = Field(
        pattern=PATTERN,
        description="http(s)://host:port/path: an offer endpoint; rtp://host:port: called without signalling; "
        "sip:user@host:port or sips:...; ws(s)://host:port/path or audiosocket://host:port: a media stream",
    )
    transport: Literal["webrtc", "rtp", "sip", "media_stream"] | None = Field(
        default=None, validate_default=True, description="default from the address: http webrtc, ws media_stream"
    )
    dialect: _Dialect | None = Field(
        default=None,
        validate_default=True,
        description="webrtc: pipecat (SmallWebRTC and RTVI; default), json (plain {sdp, type}), whip, openai; "
        "media_stream: twilio (default), telnyx, plivo, exotel, vonage, jambonz; audiosocket:// has its own",
    )
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field(
        default_factory=dict,
        description="sent with every signalling request, INVITE or WebSocket handshake; ${NAME} is a variable",
    )
    codec: Annotated[CodecName | None, BeforeValidator(codec_name)] = Field(
        default=None, validate_default=True, description="default PCMU for rtp and sip; webrtc speaks opus"
    )
    srtp: Annotated[Literal["off", "offered", "required"], BeforeValidator(_off)] = Field(
        default="off",
        description="rtp and sip: SDES keys in the offer, as a wish or as a must; webrtc is always encrypted",
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
    sip: Sip | None = Field(default=None, description="sip only")
    ice: Ice | None = Field(default=None, description="webrtc only")
    stream: Stream | None = Field(default=None, description="media_stream only")
    fallback: str = Field(
        default="none",
        description="webrtc only: where no media come through, the call goes on by WebSocket; none, websocket (the one "
        "that the agent's answer names) or its address, ws(s)://host:port/path",
    )
    fallback_after_s: float = Field(
        default=5.0, gt=0, le=300, description="so long the STUN and TURN servers, and ICE with DTLS, may take before"
    )

    @field_validator("transport")
    @classmethod
    def _transport_fits_the_address(cls, transport: str | None, info: ValidationInfo) -> str | None:
        url = info.data.get("url")
        if url is None:
            return transport
        legal = TRANSPORTS[scheme_of(url)]
        if transport not in (None, *legal):
            raise ValueError(f"got {transport}; legal for the address {url}: {', '.join(legal)}")
        return transport or legal[0]

    @field_validator("dialect")
    @classmethod
    def _dialect_is_of_the_transport(cls, dialect: str | None, info: ValidationInfo) -> str | None:
        transport, url = info.data.get("transport"), info.data.get("url")
        if transport is None or url is None:
            return dialect
        legal = DIALECTS.get(transport, ())
        if not legal and dialect:
            raise ValueError(f"got {dialect}; transport {transport} has one dialect only; legal: leave it out")
        if transport == "media_stream":
            legal = ("audiosocket",) if scheme_of(url) == "audiosocket" else legal[:-1]
        if dialect is not None and dialect not in legal:
            raise ValueError(f"got {dialect}; legal for transport {transport} at {url}: {', '.join(legal)}")
        return dialect or (legal[0] if legal else None)

    @field_validator("headers")
    @classmethod
    def _headers_have_a_request(cls, headers: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        scheme = scheme_of(info.data.get("url", ""))
        if headers and scheme in ("rtp", "audiosocket"):
            word = "an rtp://" if scheme == "rtp" else "an audiosocket://"
            raise ValueError(f"{word} address is called without any request that could carry headers; legal: none")
        reserved, where = _OUR_HEADERS.get(scheme, (frozenset(), ""))
        ours = [name for name in headers if name.lower() in reserved]
        if ours:
            raise ValueError(f"the header {ours[0]!r} is ours to say in {where}; legal: others, like X-Campaign")
        return headers

    @field_validator("codec")
    @classmethod
    def _codec_of_the_transport(cls, codec: str | None, info: ValidationInfo) -> str | None:
        transport, dialect = info.data.get("transport"), info.data.get("dialect")
        if transport is None or (transport in DIALECTS and dialect is None):
            return codec
        legal = legal_codecs(transport, dialect or "")
        if codec is not None and codec not in legal:
            kind = f"{transport} in the dialect {dialect}" if transport == "media_stream" else transport
            raise ValueError(f"got {codec}; legal for transport {kind}: {', '.join(legal)}")
        # A list in the sip block may say another default.
        return codec if transport == "sip" else codec or legal[0]

    @field_validator("srtp")
    @classmethod
    def _keys_have_a_way(cls, srtp: str, info: ValidationInfo) -> str:
        transport = info.data.get("transport")
        if srtp != "off" and transport == "media_stream":
            raise ValueError(f"got {srtp}; a media stream has no RTP, wss:// encrypts it; legal for it: off")
        if srtp != "off" and transport == "webrtc":
            raise ValueError(f"got {srtp}; webrtc is always encrypted; legal for it: off")
        if srtp != "off" and scheme_of(info.data.get("url", "")) == "rtp":
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

    @field_validator("source_ports")
    @classmethod
    def _ports_are_used(cls, ports: str, info: ValidationInfo) -> str:
        if ports != "auto" and info.data.get("transport") == "media_stream":
            raise ValueError(f"got {ports}; a media stream is a connection of its own; legal for it: auto")
        return ports

    @field_validator("impairments")
    @classmethod
    def _packets_are_there(cls, impairments: Impairments | None, info: ValidationInfo) -> Impairments | None:
        if impairments is not None and info.data.get("transport") == "media_stream":
            raise ValueError(f"{NO_PACKETS}; legal: none")
        return impairments

    @field_validator("sip", "ice", "stream")
    @classmethod
    def _block_is_of_the_transport(cls, block: Any, info: ValidationInfo) -> Any:
        transport, owner = info.data.get("transport"), _OWNERS[info.field_name or ""]
        if block is None or transport is None:
            return block
        if transport != owner:
            raise ValueError(f"transport {transport} has no use for it; legal: with transport {owner}")
        match block:
            case Sip():
                block.check(info.data["url"], info.data.get("codec"))
            case Ice():
                block.check(info.data.get("dialect") or "")
            case Stream():
                block.check(info.data["url"], info.data.get("codec"))
        return block

    @field_validator("fallback")
    @classmethod
    def _fallback_is_a_way(cls, fallback: str, info: ValidationInfo) -> str:
        transport = info.data.get("transport")
        if fallback == "none" or transport is None:
            return fallback
        if transport != "webrtc":
            raise ValueError(f"got {fallback}; transport {transport} has no ICE that could fail; legal for it: none")
        if fallback != NAMED_BY_ANSWER and scheme_of(fallback) not in ("ws", "wss"):
            raise ValueError(f"got {fallback}; legal: none, {NAMED_BY_ANSWER}, ws://host:port/path or wss://...")
        return fallback if fallback == NAMED_BY_ANSWER else check_url(fallback)

    def at(self, url: str) -> Self:
        """Return the same target at another address; ValueError says what of it does not go with `url`.

        What the file leaves to the address follows the new one: the transport, and with it codec and dialect.
        """
        check_url(url)
        said = self.model_dump(by_alias=True, exclude_unset=True) | {"url": url}
        try:
            return type(self).model_validate(said)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            why = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"]
            if key == "url":
                raise ValueError(f"got {url!r}: {why}; legal: an address that matches {PATTERN}") from error
            raise ValueError(f"got {url}, which does not go with the scenario's target.{key}: {why}") from error

    def spec(self, url: str | None = None) -> TargetSpec:
        """Where calls go; `url` overrides the file's. Raises ValueError where it does not go with the rest."""
        if url not in (None, self.url):
            return self.at(url or "").spec()
        transport = self.transport or ""
        listed = self.sip.codecs if self.sip is not None else None
        return TargetSpec(
            url=self.url,
            transport=transport,
            dialect=self.dialect or "",
            headers=dict(self.headers),
            codec=self.codec or (listed or legal_codecs(transport, self.dialect or ""))[0],
            srtp=self.srtp,
            srtp_suites=tuple(self.srtp_suites or ()),
            source_ports=self.source_ports,
            sip=sip_spec(self.url, self.sip) if transport == "sip" else None,
            ice=None if self.ice is None else self.ice.to_plan(),
            stream=(self.stream or Stream()).to_plan() if transport == "media_stream" else None,
            fallback="" if self.fallback == "none" else self.fallback,
            fallback_after_ms=self.fallback_after_s * 1000,
        )


NO_PACKETS = "a media stream goes over TCP, which loses and reorders nothing of it"
_OWNERS = {"sip": "sip", "ice": "webrtc", "stream": "media_stream"}
