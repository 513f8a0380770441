"""What a call is going to do, drawn from the scenario's seed before the run starts.

Plans are pure data: they cross the wire to the engine, and two runs with the same seed have equal plans.
"""

from dataclasses import dataclass, field

from harness.model.impairment import Impairment

SCHEMA_VERSION = 1
# TargetSpec.fallback: where to go on by WebSocket is what the agent's answer says.
NAMED_BY_ANSWER = "websocket"


@dataclass(frozen=True, slots=True)
class Persona:
    """Who is calling. Invented by faker from the seed; no real person."""

    name: str
    phone_number: str
    region: str
    accent: str
    patience: str


@dataclass(frozen=True, slots=True)
class Patience:
    """How much a caller bears, as an accumulated hazard (harness/callers/patience.py says how it grows)."""

    name: str
    # Multiplies every hazard; 0 = never leaves.
    scale: float
    # The call's hazard budget, a draw from Exp(1): the caller leaves when the accumulated hazard exceeds it.
    budget: float
    # How often an unanswered utterance is said again.
    max_repeats: int


@dataclass(frozen=True, slots=True)
class PlannedAction:
    """Something a caller does besides speaking: keys pressed, or the agent put on hold; one of the two."""

    # Of 0-9 * # A-D.
    dtmf: str = ""
    hold_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class PlannedTurn:
    """One utterance to be spoken."""

    utterance_id: str
    # Pause between the agent's end of speech and the start of this utterance.
    think_ms: float
    # Done after that pause and before the utterance, each with another such pause behind it.
    actions: tuple[PlannedAction, ...] = ()


@dataclass(frozen=True, slots=True)
class SipSpec:
    """What calls over SIP have besides an address."""

    # The caller's own address; None = sip:callquake@ and the address that calls leave from.
    from_uri: str | None = None
    # Outbound proxy, a SIP URI; None = the target itself.
    proxy: str | None = None
    username: str | None = None
    password: str | None = None
    # REGISTER before the first call, at the proxy or the target.
    register: bool = False
    # "udp", "tcp" or "tls": what the first hop is reached by.
    transport: str = "udp"
    # File of PEM certificates to trust instead of the system's.
    tls_ca: str | None = None
    tls_verify: bool = True
    # RFC 4028; None = no session timer is asked for.
    session_expires_s: int | None = None
    # Reliable provisional responses (RFC 3262) are supported.
    prack: bool = True
    # Offered codecs, the best first; empty = the target's `codec` alone.
    codecs: tuple[str, ...] = ()
    # False: signalling only; a call is answered, held for `hold_ms` and hung up, and carries no audio.
    media: bool = True
    hold_ms: float = 5_000
    # After a 503 with Retry-After, no further INVITE is sent there before its time.
    honour_retry_after: bool = True


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server, as WebRTC writes it (RFC 7064, RFC 7065)."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = None


@dataclass(frozen=True, slots=True)
class IceSpec:
    """Which candidates a WebRTC call may use."""

    # "all", "relay" or "host".
    policy: str = "all"
    servers: tuple[IceServer, ...] = ()
    # File of PEM certificates to trust for turns:, instead of the system's.
    tls_ca: str | None = None


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """What a media stream has besides an address."""

    # Told to the agent in the dialect's start message.
    parameters: dict[str, str] = field(default_factory=dict)
    # File of PEM certificates to trust for wss://, instead of the system's.
    ca: str | None = None
    # Of L16, in Hz; None = what the dialect does by default.
    sample_rate: int | None = None


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """Where to call and how. Its texts may name secrets as ${NAME}; harness/model/secrets.py puts them in."""

    url: str
    # "webrtc", "rtp", "sip" or "media_stream".
    transport: str = "webrtc"
    # webrtc: "pipecat" (SmallWebRTC offer + RTVI), "json" (plain {sdp, type} both ways), "whip" or "openai";
    # media_stream: "twilio", "telnyx", "plivo", "exotel", "vonage", "jambonz" or "audiosocket"; others have none: "".
    dialect: str = "pipecat"
    headers: dict[str, str] = field(default_factory=dict)
    # rtp, sip: PCMU, PCMA, G722 or opus; webrtc speaks opus; media_stream: what its dialect knows.
    codec: str = "opus"
    # rtp, sip: "off", "offered" (SDES keys beside RTP/AVP; the answer decides) or "required" (RTP/SAVP).
    srtp: str = "off"
    # rtp, sip: SDES crypto suites offered, the best first; empty = all we know.
    srtp_suites: tuple[str, ...] = ()
    # webrtc, rtp, sip: "auto", "shared" (a few sockets an engine) or "per_call".
    source_ports: str = "auto"
    # Always there for sip, None for the others.
    sip: SipSpec | None = None
    # webrtc; None = all candidates of this machine, no server.
    ice: IceSpec | None = None
    # Always there for media_stream, None for the others.
    stream: StreamSpec | None = None
    # webrtc, where media do not come through: "" = the call fails; NAMED_BY_ANSWER = it goes on by the WebSocket that
    # the agent's answer named; else that WebSocket's address.
    fallback: str = ""
    # So long the STUN and TURN servers, and then ICE and DTLS, may take where there is a fallback.
    fallback_after_ms: float = 5_000
    # What a scenario with several targets calls it; "" = the only one.
    name: str = ""


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Time-outs of one call; a turn is censored at `answer_timeout_ms`."""

    connect_timeout_ms: float = 15_000
    greeting_timeout_ms: float = 15_000
    answer_timeout_ms: float = 15_000
    # The agent counts as finished after this much silence.
    quiet_ms: float = 900
    # No RTP at all for this long ends the call as media_lost.
    media_timeout_ms: float = 8_000
    call_timeout_ms: float = 300_000


@dataclass(frozen=True, slots=True)
class Misconduct:
    """What a caller does wrong on purpose besides its SDP; as it is made it is a proper caller."""

    # Each message of its signalling leaves so much later.
    signalling_delay_ms: float = 0.0
    # Share of its SIP messages that are none; datagrams alone.
    malformed_ratio: float = 0.0
    # It takes the answer to its INVITE, and never acknowledges it.
    never_acks: bool = False
    # It speaks over the agent: so long after an onset, and so often in a call.
    barge_in_after_ms: float = 0.0
    barge_ins: int = 0


PROPER = Misconduct()


@dataclass(frozen=True, slots=True)
class CallPlan:
    """One call, complete: who, when, what is said, what is borne."""

    call_id: str
    index: int
    # Due time after the start of the run; None in closed-loop load, where a free slot decides.
    due_ms: float | None
    # Name of the scenario's caller entry.
    caller: str
    persona: Persona
    patience: Patience
    turns: tuple[PlannedTurn, ...]
    target: TargetSpec
    limits: CallLimits
    # False when the target does not greet.
    expect_greeting: bool = True
    # Keep both directions of the call's audio in the run directory.
    record: bool = False
    # Keep what was negotiated and what was said beside the audio: a probe's call.
    trace: bool = False
    # Calls to several targets that share a story are alike but for whom they call; None = there is one target.
    story: int | None = None
    # Seeds what the engine draws for this call (RTP start values are random by RFC 3550 and not drawn from it).
    seed: int = 0
    # The bad network that each direction of the call's RTP and RTCP goes through; None = none.
    impair_outgoing: Impairment | None = None
    impair_incoming: Impairment | None = None
    # What a caller's SDP has wrong on purpose: a way that harness/callers/sabotage.py knows; "" = nothing.
    sabotage: str = ""
    # None = as PROPER.
    misconduct: Misconduct | None = None


def impairments_of(plan: CallPlan) -> dict[str, str]:
    """Return the bad network of each direction in words, as a call's record keeps them; {} = none."""
    both = {"outgoing": plan.impair_outgoing, "incoming": plan.impair_incoming}
    return {direction: impairment.words() for direction, impairment in both.items() if impairment is not None}
