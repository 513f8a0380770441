"""The rows a run leaves on disk. Every number and report is computed from them, now or months later.

All `_ns` fields are CLOCK_MONOTONIC of the host that ran the engine. `None` means "not measured".
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from harness.model.plan import Persona
from harness.model.sip_facts import SipFacts

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
class FallbackUse:
    """A WebRTC call whose media did not come through, and the WebSocket that it tried instead."""

    # What became of WebRTC: ice_failed or dtls_failed, and its words.
    cause: Cause
    detail: str
    # The set-up's begin -> WebRTC given up, without waiting for a place in our queue.
    after_ms: float
    # From there to media over the WebSocket; None = that failed, too.
    took_ms: float | None = None


@dataclass(frozen=True, slots=True)
class EchoFacts:
    """Whether the agent's sound came back on the caller's side of a recorded call, and whether it answered that.

    Cross-correlation tells (harness/media/self_answers.py); medians over the copies found.
    """

    # Pieces of the caller's side that are no utterance of its own, and those of them that the agent had said before.
    pieces: int
    copies: int
    delay_ms: float | None = None
    gain_db: float | None = None
    strength: float | None = None
    # Utterances of the agent behind such a copy, the caller having said nothing: it answered itself.
    self_answers: int = 0
    # When the first of them began, from the recording's begin.
    first_ms: float | None = None
    # True: counted only where the agent's own transcripts say that it took something for the caller's words.
    transcripts: bool = False


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
    # The caller began over the agent's voice on purpose; and how long the agent spoke on: first voiced packet of the
    # barge-in -> last audible one of the agent's. None = it was none, or the agent never fell silent.
    is_barge_in: bool = False
    yield_ms: float | None = None
    # Whose clock the times are on; "" in a run of one process.
    worker: str = ""
    # What the corpus's manifest says of the utterance beyond the fields above: room, channel, domain, its own tags ...
    tags: dict[str, str] = field(default_factory=dict)
    # Parts of the reference that must be right, as the manifest names them; () = it names none.
    entities: tuple[str, ...] = ()
    # Which of a scenario's targets was called, "" = it has one; and over what, "" = not said.
    target: str = ""
    transport: str = ""


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
    # What carried the audio: of a call that fell back to a WebSocket, "media_stream".
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
    # None where WebRTC's media came through, or nothing else was to be tried.
    fallback: FallbackUse | None = None
    # Path of the recording, relative to the run directory.
    recording: str | None = None
    # None = the call was not recorded, so nobody knows.
    echo: EchoFacts | None = None
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
