"""Which codecs a target may speak, by transport and dialect; the first of a row is its default."""

from typing import Any, Literal

CodecName = Literal["PCMU", "PCMA", "G722", "opus", "L16"]
_TELEPHONE = ("PCMU", "PCMA", "G722", "opus")
_BY_TRANSPORT = {"webrtc": ("opus",), "rtp": _TELEPHONE, "sip": _TELEPHONE}
_BY_STREAM_DIALECT = {
    "twilio": ("PCMU",),
    "telnyx": ("PCMU", "PCMA"),
    "plivo": ("PCMU", "L16"),
    "exotel": ("L16",),
    "vonage": ("L16",),
    "jambonz": ("L16",),
    "audiosocket": ("L16",),
}
_NAMES = {name.lower(): name for name in (*_TELEPHONE, "L16")}


def codec_name(value: Any) -> Any:
    """Spell a codec as SDP does, whatever the case it is written in."""
    return _NAMES.get(value.lower(), value) if isinstance(value, str) else value


def legal_codecs(transport: str, dialect: str) -> tuple[str, ...]:
    """Return the codecs of a transport, the default first."""
    return _BY_STREAM_DIALECT[dialect] if transport == "media_stream" else _BY_TRANSPORT[transport]
