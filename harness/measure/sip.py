"""SIP signalling in the figures of RFC 6076 ("Basic Telephony SIP End-to-End Performance Metrics"), seen by the caller.

Delays, in ms, from a request's first sending to an answer's arrival at this host; challenges answered and redirects
followed lie within:

    RRD   4.1  REGISTER -> its 2xx, of successful registrations
    SRD   4.3  INVITE -> the first response that shows what becomes of it: a provisional one but 100, or the final one;
               calls that were answered, and calls that were refused, are samples of their own
    SDD   4.4  our BYE -> its 2xx; a BYE that was never answered took at least as long as it was waited for
    SDT   4.5  the 2xx to the INVITE -> the BYE; of sessions that a BYE of either side ended

Ratios, 0 to 1 (the RFC writes percent); a session request is a call that sent an INVITE, however often it had to:

    IRA   4.2  failed registrations / registrations
    SER   4.6  calls answered with a 2xx / (session requests - those that ended in a 3xx)
    SEER  4.7  calls answered with 2xx, 480, 486, 600 or 603 / the same
    ISA   4.8  calls that got 408, 500, 503, 504, or no final response at all / session requests
    SCR   4.9  sessions that came up and were ended by a BYE that was answered (or was the agent's) / session requests

Calls that ended by our own doing enter no ratio (calls.py), calls held back by an earlier Retry-After sent no request.
Hops per request stood in the drafts of the RFC only; what is known of it is how far the agent's own requests came.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.measure.calls import is_ours
from harness.measure.distribution import Sample
from harness.model.clock import ms_between
from harness.model.records import CallRecord
from harness.model.sip_facts import Bye, SipFacts

_EFFECTIVE = frozenset({480, 486, 600, 603})
_INEFFECTIVE = frozenset({408, 500, 503, 504})
_COMPLETED = frozenset({Bye.ANSWERED, Bye.RECEIVED})


@dataclass(frozen=True, slots=True)
class Ratio:
    """So many of so many; `value` None when there are none to be had."""

    hits: int
    n: int

    @property
    def value(self) -> float | None:
        """Return the share, 0..1."""
        return self.hits / self.n if self.n else None


@dataclass(frozen=True, slots=True)
class SipResult:
    """The signalling of a set of calls."""

    # Calls that were placed over SIP, and those of them that sent an INVITE.
    n: int
    requests: int
    request_delay: Sample
    failed_request_delay: Sample
    answer_delay: Sample
    disconnect_delay: Sample
    session: Sample
    registration_delay: Sample
    ser: Ratio
    seer: Ratio
    isa: Ratio
    scr: Ratio
    ira: Ratio
    # Final responses by status, the frequent ones first; None = none came.
    statuses: dict[int | None, int]
    transports: tuple[str, ...]
    challenged: int
    redirected: int
    retransmissions: int
    held_back: int
    # Calls whose agent never answered our BYE.
    byes_unanswered: int
    early_media: int
    early_onset: Sample
    # Of the calls whose agent sent a request; None where none did.
    hops_mean: float | None
    # Calls without audio, on purpose.
    without_media: int


def measure(calls: Iterable[CallRecord]) -> SipResult | None:
    """Return the figures of those of `calls` that went over SIP, None when none did."""
    over_sip = [call for call in calls if call.sip is not None]
    if not over_sip:
        return None
    facts = [call.sip for call in over_sip if call.sip is not None]
    hops = [f.hops for f in facts if f.hops is not None]
    return SipResult(
        n=len(facts),
        requests=sum(map(_was_sent, facts)),
        request_delay=request_delay(over_sip),
        failed_request_delay=Sample(_known(f.request_delay_ms for f in facts if _is_refused(f))),
        answer_delay=Sample(_known(f.answer_delay_ms for f in facts)),
        disconnect_delay=disconnect_delay(over_sip),
        session=session_duration(over_sip),
        registration_delay=registration_delay(over_sip),
        ser=ser(over_sip),
        seer=seer(over_sip),
        isa=isa(over_sip),
        scr=scr(over_sip),
        ira=ira(over_sip),
        statuses=dict(Counter(f.status for f in facts if _was_sent(f)).most_common()),
        transports=tuple(sorted({f.transport for f in facts})),
        challenged=sum(f.challenges > 0 for f in facts),
        redirected=sum(f.redirects > 0 for f in facts),
        retransmissions=sum(f.retransmissions for f in facts),
        held_back=sum(f.held_back for f in facts),
        byes_unanswered=sum(f.bye is Bye.UNANSWERED for f in facts),
        early_media=sum(f.early_media for f in facts),
        early_onset=Sample(_known(f.early_onset_ms for f in facts)),
        hops_mean=sum(hops) / len(hops) if hops else None,
        without_media=sum(not f.media for f in facts),
    )


# --- delays --------------------------------------------------------------------------------------------------------


def request_delay(calls: Iterable[CallRecord]) -> Sample:
    """Return SRD of calls that were answered or got no answer at all, whose SRD is at least as long as was waited."""
    observed: list[float] = []
    censored: list[float] = []
    for call in calls:
        facts = call.sip
        if facts is None or not _was_sent(facts) or _is_refused(facts):
            continue
        if facts.request_delay_ms is not None:
            observed.append(facts.request_delay_ms)
        elif not is_ours(call):
            censored.append(max(0.0, ms_between(call.started_at_ns, call.ended_at_ns)))
    return Sample(observed, censored)


def disconnect_delay(calls: Iterable[CallRecord]) -> Sample:
    """Return SDD; a BYE without an answer is a lower bound."""
    facts = [call.sip for call in calls if call.sip is not None]
    return Sample(
        _known(f.disconnect_delay_ms for f in facts if f.bye is Bye.ANSWERED),
        _known(f.disconnect_delay_ms for f in facts if f.bye is Bye.UNANSWERED),
    )


def session_duration(calls: Iterable[CallRecord]) -> Sample:
    """Return SDT of completed sessions."""
    facts = [call.sip for call in calls if call.sip is not None]
    return Sample(_known(f.session_ms for f in facts if f.bye in _COMPLETED))


def registration_delay(calls: Iterable[CallRecord]) -> Sample:
    """Return RRD."""
    made = [r for call in calls if call.sip is not None for r in call.sip.registrations]
    return Sample(_known(r.delay_ms for r in made if _is_success(r.status)))


# --- ratios --------------------------------------------------------------------------------------------------------


def ser(calls: Iterable[CallRecord]) -> Ratio:
    """Return the session establishment ratio."""
    tried = [f for f in _requests(calls) if not _is_class(f.status, 3)]
    return Ratio(sum(_is_success(f.status) for f in tried), len(tried))


def seer(calls: Iterable[CallRecord]) -> Ratio:
    """Return the session establishment effectiveness ratio: a busy or unavailable called party is no failure."""
    tried = [f for f in _requests(calls) if not _is_class(f.status, 3)]
    return Ratio(sum(_is_success(f.status) or f.status in _EFFECTIVE for f in tried), len(tried))


def isa(calls: Iterable[CallRecord]) -> Ratio:
    """Return the share of ineffective session attempts; an INVITE without a final response counts as a 408."""
    tried = _requests(calls)
    return Ratio(sum(f.status is None or f.status in _INEFFECTIVE for f in tried), len(tried))


def scr(calls: Iterable[CallRecord]) -> Ratio:
    """Return the session completion ratio."""
    tried = _requests(calls)
    return Ratio(sum(_is_success(f.status) and f.bye in _COMPLETED for f in tried), len(tried))


def ira(calls: Iterable[CallRecord]) -> Ratio:
    """Return the share of ineffective registration attempts."""
    made = [r for call in calls if call.sip is not None for r in call.sip.registrations]
    return Ratio(sum(not _is_success(r.status) for r in made), len(made))


def _requests(calls: Iterable[CallRecord]) -> Sequence[SipFacts]:
    return [call.sip for call in calls if call.sip is not None and _was_sent(call.sip) and not is_ours(call)]


def _was_sent(facts: SipFacts) -> bool:
    return bool(facts.call_id) and not facts.held_back


def _is_success(status: int | None) -> bool:
    return _is_class(status, 2)


def _is_refused(facts: SipFacts) -> bool:
    return facts.status is not None and not _is_success(facts.status)


def _is_class(status: int | None, first_digit: int) -> bool:
    return status is not None and status // 100 == first_digit


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
