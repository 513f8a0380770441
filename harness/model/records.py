"""The rows a run leaves on disk. Every number and report is computed from them, now or months later.

All `_ns` fields are CLOCK_MONOTONIC of the host that ran the engine. `None` means "not measured".
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from harness.model.plan import Persona

SCHEMA_VERSION = 1


class Outcome(StrEnum):
    """How a call ended."""

    # Every planned turn was spoken and answered, and the caller hung up.
    COMPLETED = "completed"
    # Connected, but ended before its goal.
    DROPPED = "dropped"
    # Never connected.
    FAILED = "failed"
    # Ended by the operator (SIGINT, end of the run); counted apart, in no ratio.
    INTERRUPTED = "interrupted"
    # Our engine died under it: the generator's fault, counted apart, voids the run.
    LOST = "lost"


class Cause(StrEnum):
    """Why a call ended before its goal; `none` for a completed one."""

    NONE = "none"
    # The caller's patience ran out; the part that weighed most names the cause.
    PATIENCE_SLOW_ANSWERS = "patience_slow_answers"
    PATIENCE_DEAD_AIR = "patience_dead_air"
    PATIENCE_REPEATS = "patience_repeats"
    PATIENCE_MISHEARD = "patience_misheard"
    # The agent did not answer a turn (nor its repeats) and the caller had patience left.
    NO_ANSWER = "no_answer"
    NO_GREETING = "no_greeting"
    AGENT_HUNG_UP = "agent_hung_up"
    MEDIA_LOST = "media_lost"
    CALL_TIMEOUT = "call_timeout"
    # Set-up failures.
    SIGNALLING_REFUSED = "signalling_refused"
    SIGNALLING_UNREACHABLE = "signalling_unreachable"
    SIGNALLING_TIMEOUT = "signalling_timeout"
    ICE_FAILED = "ice_failed"
    DTLS_FAILED = "dtls_failed"
    # SIP, by the class of the final response to the INVITE (RFC 3261 21); `sip` in the call's record has the status.
    SIP_REDIRECTED = "sip_redirected"
    SIP_AUTH = "sip_auth"
    SIP_BUSY = "sip_busy"
    SIP_REJECTED = "sip_rejected"
    SIP_OVERLOADED = "sip_overloaded"
    SIP_SERVER_ERROR = "sip_server_error"
    SIP_GLOBAL_FAILURE = "sip_global_failure"
    SIP_TIMEOUT = "sip_timeout"
    # SIP, in the middle of a call.
    SIP_TRANSPORT_LOST = "sip_transport_lost"
    SIP_SESSION_EXPIRED = "sip_session_expired"
    SIP_DIALOG_GONE = "sip_dialog_gone"
    # Media streams: the connection broke (reset, or ended without the protocol's goodbye), or closed with an error.
    CONNECTION_LOST = "connection_lost"
    # The TURN server that relayed the call let go of it, or could be reached no longer over TCP or TLS.
    RELAY_LOST = "relay_lost"
    # Not the agent's.
    OPERATOR = "operator"
    ENGINE_DIED = "engine_died"
    GENERATOR_ERROR = "generator_error"


@dataclass(frozen=True, slots=True)
class SetupTimes:
    """Steps of a call's set-up in ms; each is the duration of its own step, `total_ms` from due start to media up."""

    # Waiting for a place in the engine's set-up queue: ours, not the agent's.
    queue_ms: float | None = None
    # Asking STUN and TURN servers for candidates; None where there are none to ask.
    gather_ms: float | None = None
    signalling_ms: float | None = None
    ice_ms: float | None = None
    dtls_ms: float | None = None
    total_ms: float | None = None


@dataclass(frozen=True, slots=True)
class MediaStats:
    """One call's RTP, names after W3C webrtc-stats. Loss is counted by sequence number (RFC 3550 A.3)."""

    packets_sent: int = 0
    packets_received: int = 0
    packets_lost: int = 0
    packets_discarded: int = 0
    jitter_ms: float | None = None
    round_trip_ms: float | None = None
    # Packets the kernel or we refused to send.
    send_errors: int = 0
    # Datagrams our own socket dropped before we read them (SO_RXQ_OVFL).
    socket_drops: int = 0
    # Dropped on purpose by the call's impairments. `packets_lost` counts the incoming ones among its own, for they are
    # missing in the agent's sequence numbers, too; save at the end of a call, where none came after them.
    impaired_lost_outgoing: int = 0
    impaired_lost_incoming: int = 0


@dataclass(frozen=True, slots=True)
class RelayUse:
    """The TURN server that a call's media went through, and what that does to its times.

    The agent's audio is always timed by when the kernel had it. Over TCP and TLS a bridge of ours carries the caller's
    packets from the media loop, which times them, to the stream: they leave that much after their time, so that a
    TTFB is too long by about `bridge_mean_ms`.
    """

    # Its URL, without credentials.
    server: str
    # None over UDP, where the media loop itself sends to the server.
    bridge_mean_ms: float | None = None
    bridge_max_ms: float | None = None
    # Packets that the bridge could not pass on, of both directions.
    bridge_dropped: int = 0


@dataclass(frozen=True, slots=True)
class StageTimes:
    """What the agent says of its own turn, in ms, on the agent's clock; consecutive, so they may be added.

    endpointing: last voiced audio arrived -> end of turn decided. stt: -> final transcript. llm: -> first sentence
    ready for speech. tts: -> first audio of it ready. playout: -> first audible packet handed to the network.
    """

    endpointing_ms: float | None = None
    stt_ms: float | None = None
    llm_ms: float | None = None
    tts_ms: float | None = None
    playout_ms: float | None = None
    # Which message told: "turn-timing" (the bundled stack) or "rtvi-metrics" (any Pipecat agent).
    source: str = ""


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One user utterance and what the agent made of it."""

    call_id: str
    # 1 for the first turn of the call.
    turn: int
    # 0 for the first saying of the utterance, 1 for its first repeat.
    attempt: int
    caller: str
    utterance_id: str
    reference: str
    accent: str
    # None = nobody said.
    native: bool | None
    noise: str
    snr_db: float | None
    vocabulary: str
    utterance_ms: float
    codec: str
    speech_started_at_ns: int
    # Real send time of the packet with the last voiced sample; None when the call ended before it.
    speech_ended_at_ns: int | None
    # Kernel receive time of the packet that begins the first sustained audible agent speech.
    onset_at_ns: int | None
    ttfb_ms: float | None
    # No answer until `timeout_ms`: the turn enters every distribution as at least that.
    censored: bool
    # How long this turn was waited for: the answer time-out, or less when the call ended first.
    waited_ms: float
    # The agent started while the user still spoke. With `censored` False and no TTFB it went on past the user's end:
    # the answer was there, early; with `censored` True it fell silent again and never answered.
    false_endpoint: bool
    # The call ended (operator, engine) before the turn could: in no ratio.
    cut: bool
    agent_speech_ended_at_ns: int | None = None
    # What the agent's STT returned; None when nothing was received.
    hypothesis: str | None = None
    # The side channel that carries transcripts, "rtvi"; None when the target has none.
    transcript_channel: str | None = None
    agent_text: str | None = None
    stages: StageTimes | None = None
    # RTCP round trip nearest to this turn (RFC 3550 6.4.1); stands for the network's share of the TTFB.
    network_ms: float | None = None
    # Packets of the agent's stream missing between end of speech and onset.
    lost_packets: int = 0
    # Where a carrier's playout buffer stands between agent and caller (media streams): when the caller heard the onset,
    # and the TTFB at the ear. `onset_at_ns` and `ttfb_ms` are by arrival there as everywhere.
    heard_at_ns: int | None = None
    heard_ttfb_ms: float | None = None
    # An earlier saying of this call had timed out, so speech heard here may be the late answer to that one.
    out_of_step: bool = False
    # Whose clock the times are on; "" in a run of one process.
    worker: str = ""
    # What the corpus's manifest says of the utterance beyond the fields above: room, channel, domain, its own tags ...
    tags: dict[str, str] = field(default_factory=dict)
    # Parts of the reference that must be right, as the manifest names them; () = it names none.
    entities: tuple[str, ...] = ()
    # Which of a scenario's targets was called, "" = it has one; and over what, "" = not said.
    target: str = ""
    transport: str = ""


class Bye(StrEnum):
    """What became of the BYE that ended a SIP call."""

    # The call was never up, or ended without one (its connection was cut, say).
    NONE = "none"
    # Ours, answered with a 2xx.
    ANSWERED = "answered"
    # Ours, answered with anything else.
    REFUSED = "refused"
    # Ours, and no answer came for as long as we waited.
    UNANSWERED = "unanswered"
    # The agent's.
    RECEIVED = "received"


@dataclass(frozen=True, slots=True)
class Provisional:
    """A 1xx response to an INVITE; `at_ms` after the INVITE was first sent."""

    status: int
    at_ms: float


@dataclass(frozen=True, slots=True)
class SipRegistration:
    """A REGISTER and its end; told in the record of the call that ended next. `status` None = nothing came."""

    status: int | None
    # REGISTER first sent -> its final response, a challenge included (RFC 6076 4.1).
    delay_ms: float | None


@dataclass(frozen=True, slots=True)
class SipFacts:
    """What a SIP call's signalling went through; harness/measure/sip.py makes RFC 6076's figures of it.

    Times in ms, from when a request was first sent to when an answer reached this host, challenges (401, 407) and
    redirects (3xx) included.
    """

    # "udp", "tcp" or "tls".
    transport: str
    # The Call-ID header, to find the call in the agent's log; "" = no INVITE was sent.
    call_id: str = ""
    # The final response to the (last) INVITE; None = none came.
    status: int | None = None
    reason: str = ""
    # What the agent calls itself (Server or User-Agent).
    agent: str = ""
    # 401 and 407 answered with credentials, and 3xx followed.
    challenges: int = 0
    redirects: int = 0
    # Requests of ours that had to be sent again for want of an answer.
    retransmissions: int = 0
    # Of a 503.
    retry_after_s: int | None = None
    # No INVITE was sent, because an earlier 503 had asked for silence until later.
    held_back: bool = False
    provisionals: tuple[Provisional, ...] = ()
    # INVITE -> first sign of what becomes of it: a provisional response but 100, or the final one.
    request_delay_ms: float | None = None
    # INVITE -> 2xx.
    answer_delay_ms: float | None = None
    # 2xx -> the BYE that ended the session, or what took its place.
    session_ms: float | None = None
    bye: Bye = Bye.NONE
    # BYE -> its answer; of an unanswered one, how long it was waited for.
    disconnect_delay_ms: float | None = None
    # The agent's audio began before the call was answered; and, where it was audible, when it first was.
    early_media: bool = False
    early_onset_ms: float | None = None
    # INVITEs and UPDATEs of the agent that changed the session.
    changes: int = 0
    # Keys (DTMF) whose event left, and how often the agent was put on hold, or refused to be.
    digits_sent: int = 0
    holds: int = 0
    holds_refused: int = 0
    # Proxies and gateways on the way back, by the Max-Forwards of the agent's own requests; None = it sent none.
    hops: int | None = None
    registrations: tuple[SipRegistration, ...] = ()
    # False: signalling only, no audio was sent, received or measured.
    media: bool = True


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What a media stream went through; the playout buffer is the carrier's, which the caller emulates."""

    # "twilio", "telnyx", "plivo", "exotel", "vonage", "jambonz" or "audiosocket".
    dialect: str
    # Who stamped the agent's audio as it came: "kernel", "read" (no stamp: when it was read, later by our own delay) or
    # "mixed"; "" = none came.
    arrival_clock: str = ""
    # Messages no carrier could use, and what was wrong with the first; the call went on.
    bad_messages: int = 0
    first_bad: str = ""
    # Well-formed messages that mean nothing to a media stream.
    other_messages: int = 0
    # How much audio came, and how much of it was heard before a clear or the end.
    audio_ms: float = 0.0
    heard_ms: float = 0.0
    # The most that ever waited in the buffer.
    longest_buffer_ms: float = 0.0
    # Marks the agent set, and those of them that a clear or the end of the call overtook.
    marks: int = 0
    marks_unreached: int = 0
    clears: int = 0
    flushed_ms: float = 0.0
    # Audible speech the caller heard while it spoke itself and after the agent had cleared: the agent talked on.
    talk_over_after_clear_ms: float = 0.0
    # How often, and for how long, the buffer ran dry in the middle of the agent's speech.
    underruns: int = 0
    underrun_ms: float = 0.0
    # Keys the caller pressed.
    digits_sent: int = 0


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call from its due time to its end."""

    call_id: str
    index: int
    worker: str
    caller: str
    persona: Persona
    outcome: Outcome
    cause: Cause
    # Free text for people: the exception, the HTTP status, the ICE state.
    detail: str
    transport: str
    codec: str | None
    due_at_ns: int | None
    started_at_ns: int
    connected_at_ns: int | None
    ended_at_ns: int
    arrival_lateness_ms: float | None
    setup: SetupTimes
    # Connected -> onset of the greeting; its own metric, in no TTFB.
    greeting_ms: float | None
    turns_planned: int
    turns_answered: int
    media: MediaStats
    # ICE candidate types, ours and the agent's: host, srflx, prflx or relay.
    candidate_types: tuple[str, str] | None = None
    # None where no TURN server of ours relayed the media.
    relay: RelayUse | None = None
    # Path of the recording, relative to the run directory.
    recording: str | None = None
    # The bad network put on each direction on purpose, in words; {} = none.
    impairments: dict[str, str] = field(default_factory=dict)
    # None = the call was not over SIP.
    sip: SipFacts | None = None
    # None = the call was no media stream, or never came up.
    stream: StreamFacts | None = None
    # Of a traced call (CallPlan.trace): what was asked, answered and negotiated, as its transport tells it.
    details: dict[str, Any] = field(default_factory=dict)
    # Which of a scenario's targets was called; "" = it has one. Calls with one story differ in nothing but that.
    target: str = ""
    story: int | None = None


@dataclass(frozen=True, slots=True)
class HealthSample:
    """Once a second and per engine: what tells whether the generator could keep time."""

    worker: str
    at_ns: int
    interval_ms: float
    calls_active: int
    ticks: int
    # Histogram.to_json() of the 20 ms ticks' lateness in ms.
    tick_lateness_ms: dict[str, object]
    # Share of one core used by the engine process (user + system).
    cpu_ratio: float
    # Share of all cores of the machine in use, whoever uses them.
    host_cpu_ratio: float
    packets_sent: int
    packets_received: int
    send_errors: int
    socket_drops: int
    loop_lag_ms: float
    # By how much the wall clock, which the kernel stamps arrivals with, left the monotonic one.
    clock_step_ms: float = 0.0
    # Events, audio and held-back packets that found a ring or the delay line full: lost by us.
    overflows: int = 0
    # Resident memory of the engine, its open descriptors and how many it may open.
    memory_mib: float | None = None
    descriptors: int | None = None
    descriptor_limit: int | None = None
    # How the media loop ran, "compiled" or "python"; "" = not said.
    media_loop: str = ""
