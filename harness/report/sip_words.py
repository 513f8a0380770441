"""A run's SIP signalling as reports show it: RFC 6076's figures in rows, the facts beside them in words."""

from dataclasses import dataclass
from typing import Any

from harness.measure.distribution import Sample
from harness.measure.sip import Ratio, SipResult
from harness.report.words import NOT_MEASURED, bounded_ms, percent


@dataclass(frozen=True, slots=True)
class DelayRow:
    """A delay: its short name, where the RFC defines it, what it is, and its values."""

    name: str
    section: str
    meaning: str
    sample: Sample


@dataclass(frozen=True, slots=True)
class RatioRow:
    """A ratio, likewise."""

    name: str
    section: str
    meaning: str
    ratio: Ratio

    @property
    def figure(self) -> str:
        """Return it as people read it."""
        return f"{percent(self.ratio.value)} ({self.ratio.hits} of {self.ratio.n})" if self.ratio.n else NOT_MEASURED


def delay_rows(result: SipResult) -> list[DelayRow]:
    """Return the delays, those that were not measured included."""
    return [
        DelayRow("SRD", "4.3", "INVITE to the first sign of what becomes of it", result.request_delay),
        DelayRow("SRD, refused", "4.3", "the same, of calls that were refused", result.failed_request_delay),
        DelayRow("Answer", "", "INVITE to its 2xx", result.answer_delay),
        DelayRow("SDD", "4.4", "BYE to its answer", result.disconnect_delay),
        DelayRow("SDT", "4.5", "2xx to BYE: how long sessions lasted", result.session),
        DelayRow("RRD", "4.1", "REGISTER to its 2xx", result.registration_delay),
        DelayRow("Early audio", "", "INVITE to audible audio before the answer", result.early_onset),
    ]


def ratio_rows(result: SipResult) -> list[RatioRow]:
    """Return the ratios, those that were not measured included."""
    return [
        RatioRow("SER", "4.6", "session requests answered with a 2xx", result.ser),
        RatioRow("SEER", "4.7", "the same, or busy or unavailable", result.seer),
        RatioRow("ISA", "4.8", "ineffective attempts: 408, 500, 503, 504, no answer", result.isa),
        RatioRow("SCR", "4.9", "sessions that a BYE ended properly", result.scr),
        RatioRow("IRA", "4.2", "registrations that failed", result.ira),
    ]


def facts_of(result: SipResult) -> list[str]:
    """Return what else is to be said, a phrase each."""
    statuses = ", ".join(f"{status or 'none at all'} ({n})" for status, n in result.statuses.items())
    pairs = [
        (result.requests, f"final responses: {statuses}"),
        (result.challenged, f"{result.challenged} challenged for credentials"),
        (result.redirected, f"{result.redirected} redirected"),
        (result.held_back, f"{result.held_back} held back, as a 503's Retry-After asked"),
        (result.byes_unanswered, f"{result.byes_unanswered} BYEs never answered"),
        (result.retransmissions, f"{result.retransmissions} of our requests sent again"),
        (result.early_media, f"{result.early_media} with audio before the answer"),
    ]
    said = [text for n, text in pairs if n]
    if result.hops_mean is not None:
        said.append(f"{result.hops_mean:.1f} hops on the agent's own requests")
    return said


def text_lines(result: SipResult | None) -> list[str]:
    """Return the terminal's block, [] for a run without SIP."""
    if result is None:
        return []
    lines = [f"SIP    {result.n} calls over {' and '.join(result.transports)}, {result.requests} session requests"]
    for row in delay_rows(result):
        if row.sample.n:
            p50, p95 = (bounded_ms(row.sample.percentile(q)) for q in (0.5, 0.95))
            lines.append(f"       {row.name:<14}p50 {p50:<12}p95 {p95:<12}n {row.sample.n}")
    lines += [f"       {row.name:<14}{row.figure}" for row in ratio_rows(result) if row.ratio.n]
    return [*lines, *(f"       {fact}" for fact in facts_of(result))]


def sip_json(result: SipResult | None) -> dict[str, Any] | None:
    """Return summary.json's `sip`, null for a run without SIP."""
    if result is None:
        return None
    return {
        "n": result.n,
        "requests": result.requests,
        "transports": list(result.transports),
        "srd_ms": _delay(result.request_delay),
        "srd_refused_ms": _delay(result.failed_request_delay),
        "answer_ms": _delay(result.answer_delay),
        "sdd_ms": _delay(result.disconnect_delay),
        "sdt_ms": _delay(result.session),
        "rrd_ms": _delay(result.registration_delay),
        "early_onset_ms": _delay(result.early_onset),
        "ser": _ratio(result.ser),
        "seer": _ratio(result.seer),
        "isa": _ratio(result.isa),
        "scr": _ratio(result.scr),
        "ira": _ratio(result.ira),
        "statuses": {"none" if status is None else str(status): n for status, n in result.statuses.items()},
        "challenged": result.challenged,
        "redirected": result.redirected,
        "held_back": result.held_back,
        "retransmissions": result.retransmissions,
        "byes_unanswered": result.byes_unanswered,
        "early_media": result.early_media,
        "hops_mean": result.hops_mean,
        "without_media": result.without_media,
    }


def _delay(sample: Sample) -> dict[str, Any]:
    figures: dict[str, Any] = {"n": sample.n, "n_censored": len(sample.censored)}
    for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        estimate = sample.percentile(q)
        figures[name] = None if estimate is None else round(estimate.value, 3)
    return figures


def _ratio(ratio: Ratio) -> dict[str, Any]:
    return {"ratio": None if ratio.value is None else round(ratio.value, 6), "hits": ratio.hits, "n": ratio.n}
