"""The counters as Prometheus text (exposition format 0.0.4)."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from target_stack.telemetry.stats import DurationHistogram, Stats

# One sample: what follows the metric's name ("" or "_bucket"), its labels, its value.
_Sample = tuple[str, Mapping[str, str], float]


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
            _gauge("active_sessions", "Sessions now.", [({}, stats.active_sessions)]),
            _counter("sessions", "Sessions since start-up.", [({}, stats.sessions)]),
            _counter("turns", "Turns by outcome.", _by("outcome", stats.turns)),
            _counter("barge_ins", "Replies the user interrupted.", [({}, stats.barge_ins)]),
            _counter("merged_turns", "Turns the user went on with before a reply.", [({}, stats.merged_turns)]),
            _counter("digits", "Keys the user pressed.", [({}, stats.digits)]),
            _counter("llm_fallbacks", "Stock sentences in place of a reply.", [({}, stats.llm_fallbacks)]),
            _counter("refused", "Work refused because a queue was full.", _by("queue", stats.refused)),
            _counter("stage_failures", "Turns a stage gave up on.", _by("stage", stats.stage_failures)),
            _gauge("queue_depth", "Waiting now.", _by("queue", stats.queue_depths)),
            _durations(stats.durations),
        )
    )


def render_edge(edge: EdgeNumbers) -> str:
    """Return the edge's numbers."""
    offers = {str(status): count for status, count in edge.offers.items()}
    return "".join(
        (
            _gauge("active_calls", "Calls now.", [({}, edge.active_calls)]),
            _counter("offers", "Offers by HTTP status.", _by("status", offers)),
            _counter("calls_ended", "Ended calls by reason.", _by("reason", edge.calls_ended)),
        )
    )


def render_streams(streams: StreamNumbers) -> str:
    """Return the numbers of media streams."""
    answers = {str(status): count for status, count in streams.answers.items()}
    return "".join(
        (
            _gauge("stream_calls", "Media streams now.", [({}, streams.active_calls)]),
            _counter("stream_handshakes", "WebSocket handshakes by HTTP status.", _by("status", answers)),
            _counter("streams", "Media streams that started.", _by("dialect", streams.streams)),
            _counter("stream_calls_ended", "Ended media streams by reason.", _by("reason", streams.calls_ended)),
            _counter("stream_bad_messages", "Messages that could not be used.", [({}, streams.bad_messages)]),
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
            _gauge("sip_trunk_limit", "SIP calls taken at once.", [({}, sip.trunk_calls)]),
            _gauge("sip_calls", "SIP calls now.", [({}, sip.active_calls)]),
            _gauge("sip_connections", "Open TCP and TLS connections.", [({}, sip.connections)]),
            _counter("sip_invites", "INVITEs by the status they were answered with.", _by("status", answers)),
            _counter("sip_options", "OPTIONS by the status they were answered with.", _by("status", options)),
            _counter("sip_calls_ended", "Ended SIP calls by reason.", _by("reason", sip.calls_ended)),
            _counter("sip_renegotiations", "Offers answered within calls.", [({}, sip.renegotiations)]),
            _counter("sip_digits", "Keys heard.", [({}, sip.digits)]),
            _counter("sip_messages", "SIP messages received.", [({}, sip.messages)]),
            _counter("sip_malformed", "Of these, messages that were no SIP.", [({}, sip.malformed)]),
            _counter("sip_dropped", "SIP datagrams the kernel dropped.", [({}, sip.dropped)]),
            _counter("sip_resent", "SIP messages sent again.", [({}, sip.resent)]),
            _counter("sip_rtp_packets", "RTP of SIP calls that have ended.", _by("kind", packets)),
            _counter("sip_skipped_ticks", "20 ms ticks skipped by a stall.", [({}, sip.skipped_ticks)]),
        )
    )


def _by(label: str, counts: Mapping[str, int]) -> list[tuple[Mapping[str, str], float]]:
    return [({label: name}, count) for name, count in sorted(counts.items())]


def _gauge(name: str, text: str, rows: Iterable[tuple[Mapping[str, str], float]]) -> str:
    return _family(f"callquake_{name}", "gauge", text, [("", labels, value) for labels, value in rows])


def _counter(name: str, text: str, rows: Iterable[tuple[Mapping[str, str], float]]) -> str:
    return _family(f"callquake_{name}_total", "counter", text, [("", labels, value) for labels, value in rows])


def _durations(durations: Mapping[str, DurationHistogram]) -> str:
    samples: list[_Sample] = []
    for stage, histogram in durations.items():
        for bound_ms, count in histogram.cumulative():
            bound = "+Inf" if bound_ms == float("inf") else _number(bound_ms / 1e3)
            samples.append(("_bucket", {"stage": stage, "le": bound}, count))
        samples.append(("_sum", {"stage": stage}, histogram.sum_ms / 1e3))
        samples.append(("_count", {"stage": stage}, histogram.count))
    return _family("callquake_turn_stage_seconds", "histogram", "Own duration of each stage of a turn.", samples)


def _family(name: str, kind: str, text: str, samples: Iterable[_Sample]) -> str:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{suffix}{_labels(labels)} {_number(value)}" for suffix, labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return repr(int(value)) if value == int(value) else repr(float(value))
