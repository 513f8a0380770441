"""The counters as Prometheus text (exposition format 0.0.4)."""

from collections.abc import Mapping
from typing import Protocol

from target_stack.telemetry.exposition import by, counter, durations, gauge
from target_stack.telemetry.stats import Stats


class EdgeNumbers(Protocol):
    """What an edge counts."""

    @property
    def active_calls(self) -> int:
        """Calls from their accepted offer to their release."""

    @property
    def offers(self) -> Mapping[int, int]:
        """Offers by HTTP status."""

    @property
    def calls_ended(self) -> Mapping[str, int]:
        """Ended calls by reason."""


class LineNumbers(Protocol):
    """What RTP lines count."""

    sent: int
    heard: int
    lost: int
    late: int
    strays: int
    srtp_failures: int


class StreamNumbers(Protocol):
    """What an edge for media streams counts (see the edge's StreamCounts)."""

    @property
    def active_calls(self) -> int:
        """Open WebSockets."""

    @property
    def answers(self) -> Mapping[int, int]:
        """Handshakes by HTTP status."""

    @property
    def streams(self) -> Mapping[str, int]:
        """Streams that started, by dialect."""

    @property
    def calls_ended(self) -> Mapping[str, int]:
        """Ended calls by reason."""

    @property
    def replacements(self) -> int:
        """Streams that took a WebRTC call's place."""

    @property
    def bad_messages(self) -> int:
        """Messages that could not be used."""


class SipNumbers(Protocol):
    """What a SIP edge counts."""

    trunk_calls: int
    active_calls: int
    connections: int
    renegotiations: int
    digits: int
    messages: int
    malformed: int
    resent: int
    dropped: int
    skipped_ticks: int

    @property
    def answers(self) -> Mapping[int, int]:
        """INVITEs by the status they were answered with."""

    @property
    def options(self) -> Mapping[int, int]:
        """OPTIONS by the status they were answered with."""

    @property
    def calls_ended(self) -> Mapping[str, int]:
        """Ended calls by reason."""

    @property
    def lines(self) -> LineNumbers:
        """RTP of the calls that have ended."""


def render_stats(stats: Stats) -> str:
    """Return the pipeline's numbers."""
    return "".join(
        (
            gauge("active_sessions", "Sessions now.", [({}, stats.active_sessions)]),
            counter("sessions", "Sessions since start-up.", [({}, stats.sessions)]),
            counter("turns", "Turns by outcome.", by("outcome", stats.turns)),
            counter("barge_ins", "Replies the user interrupted.", [({}, stats.barge_ins)]),
            counter("merged_turns", "Turns the user went on with before a reply.", [({}, stats.merged_turns)]),
            counter("digits", "Keys the user pressed.", [({}, stats.digits)]),
            counter("echoes", "Times the agent's own voice was found in a caller's audio.", [({}, stats.echoes)]),
            counter("echo_muted_seconds", "Echo that was not taken for the caller.", [({}, stats.echo_muted_ms / 1e3)]),
            counter("llm_fallbacks", "Stock sentences in place of a reply.", [({}, stats.llm_fallbacks)]),
            counter("refused", "Work refused because a queue was full.", by("queue", stats.refused)),
            counter("stage_failures", "Turns a stage gave up on.", by("stage", stats.stage_failures)),
            gauge("queue_depth", "Waiting now.", by("queue", stats.queue_depths)),
            durations("turn_stage", "Own duration of each stage of a turn.", "stage", stats.durations),
        )
    )


def render_edge(edge: EdgeNumbers) -> str:
    """Return the edge's numbers."""
    offers = {str(status): count for status, count in edge.offers.items()}
    return "".join(
        (
            gauge("active_calls", "Calls now.", [({}, edge.active_calls)]),
            counter("offers", "Offers by HTTP status.", by("status", offers)),
            counter("calls_ended", "Ended calls by reason.", by("reason", edge.calls_ended)),
        )
    )


def render_streams(streams: StreamNumbers) -> str:
    """Return the numbers of media streams."""
    answers = {str(status): count for status, count in streams.answers.items()}
    return "".join(
        (
            gauge("stream_calls", "Media streams now.", [({}, streams.active_calls)]),
            counter("stream_handshakes", "WebSocket handshakes by HTTP status.", by("status", answers)),
            counter("streams", "Media streams that started.", by("dialect", streams.streams)),
            counter("stream_calls_ended", "Ended media streams by reason.", by("reason", streams.calls_ended)),
            counter("stream_replacements", "Streams in place of WebRTC calls.", [({}, streams.replacements)]),
            counter("stream_bad_messages", "Messages that could not be used.", [({}, streams.bad_messages)]),
        )
    )


def render_sip(sip: SipNumbers) -> str:
    """Return a SIP edge's numbers."""
    lines = sip.lines
    packets = {"sent": lines.sent, "heard": lines.heard, "lost": lines.lost, "late": lines.late}
    packets |= {"stray": lines.strays, "srtp_failed": lines.srtp_failures}
    answers, options = ({str(s): n for s, n in by.items()} for by in (sip.answers, sip.options))
    return "".join(
        (
            gauge("sip_trunk_limit", "SIP calls taken at once.", [({}, sip.trunk_calls)]),
            gauge("sip_calls", "SIP calls now.", [({}, sip.active_calls)]),
            gauge("sip_connections", "Open TCP and TLS connections.", [({}, sip.connections)]),
            counter("sip_invites", "INVITEs by the status they were answered with.", by("status", answers)),
            counter("sip_options", "OPTIONS by the status they were answered with.", by("status", options)),
            counter("sip_calls_ended", "Ended SIP calls by reason.", by("reason", sip.calls_ended)),
            counter("sip_renegotiations", "Offers answered within calls.", [({}, sip.renegotiations)]),
            counter("sip_digits", "Keys heard.", [({}, sip.digits)]),
            counter("sip_messages", "SIP messages received.", [({}, sip.messages)]),
            counter("sip_malformed", "Of these, messages that were no SIP.", [({}, sip.malformed)]),
            counter("sip_dropped", "SIP datagrams the kernel dropped.", [({}, sip.dropped)]),
            counter("sip_resent", "SIP messages sent again.", [({}, sip.resent)]),
            counter("sip_rtp_packets", "RTP of SIP calls that have ended.", by("kind", packets)),
            counter("sip_skipped_ticks", "20 ms ticks skipped by a stall.", [({}, sip.skipped_ticks)]),
        )
    )
