"""Why a SIP call failed, as its record counts it: by the final response (RFC 3261 21), or by what came instead."""

from collections.abc import Mapping

from harness.callers.setup_failure import SetupFailure
from harness.model.records import Cause
from harness.protocols.sip.events import Failed

_OF_STATUS: Mapping[int, Cause] = {
    401: Cause.SIP_AUTH,
    407: Cause.SIP_AUTH,
    408: Cause.SIP_TIMEOUT,
    486: Cause.SIP_BUSY,
    503: Cause.SIP_OVERLOADED,
    504: Cause.SIP_SERVER_ERROR,
    600: Cause.SIP_BUSY,
}
_OF_CLASS: Mapping[int, Cause] = {
    3: Cause.SIP_REDIRECTED,
    4: Cause.SIP_REJECTED,
    5: Cause.SIP_SERVER_ERROR,
    6: Cause.SIP_GLOBAL_FAILURE,
}
# What the user agent says a call failed by, where no response is the reason.
_OF_FAILURE: Mapping[str, Cause] = {
    "auth": Cause.SIP_AUTH,
    "timeout": Cause.SIP_TIMEOUT,
    "transport": Cause.SIGNALLING_UNREACHABLE,
}
_MOST_SHOWN = 200
_OF_END: Mapping[str, tuple[Cause, str]] = {
    "remote": (Cause.AGENT_HUNG_UP, "BYE"),
    "session_expired": (Cause.SIP_SESSION_EXPIRED, "the session timer ran out"),
    "transport": (Cause.SIP_TRANSPORT_LOST, "the signalling connection was lost"),
    "gone": (Cause.SIP_DIALOG_GONE, "the agent does not know the call any more"),
}


def _plain(text: str) -> str:
    """Return the peer's words without what would upset a log or a report."""
    return "".join(c if c.isprintable() else "?" for c in text[:_MOST_SHOWN]).strip()


def cause_of(status: int, failure: str, challenges: int) -> Cause:
    """Return what a failed INVITE or REGISTER counts as; `failure` is the user agent's word for it."""
    if failure in _OF_FAILURE:
        return _OF_FAILURE[failure]
    if status == 403 and challenges:
        # Credentials were shown, and did not do.
        return Cause.SIP_AUTH
    return _OF_STATUS.get(status) or _OF_CLASS.get(status // 100, Cause.SIGNALLING_REFUSED)


def end_of(cause: str, reason: str, reason_header: str | None) -> tuple[Cause, str]:
    """Return what the end of a session that was up counts as, and its words."""
    known, words = _OF_END.get(cause, (Cause.AGENT_HUNG_UP, cause))
    details = [text for text in (reason_header, reason) if text]
    return known, f"{words}: {_plain(details[0])}" if details else words


def failure_of(failed: Failed, hop: str, challenges: int, *, has_account: bool) -> SetupFailure:
    """Return what a call comes to whose INVITE to `hop` failed."""
    cause = cause_of(failed.status, failed.cause, challenges)
    if failed.response is None:
        return SetupFailure(cause, f"{hop}: {failed.reason}")
    invite, retry_after_s = f"INVITE to {hop}", failed.retry_after_s
    words = refusal(invite, failed.status, failed.reason, has_account=has_account, retry_after_s=retry_after_s)
    return SetupFailure(cause, words)


def refusal(what: str, status: int, reason: str, *, has_account: bool = True, retry_after_s: int | None = None) -> str:
    """Word a final response."""
    words = f"{what}: {status} {_plain(reason)}" if reason else f"{what}: {status}"
    if retry_after_s is not None:
        words += f", Retry-After {retry_after_s} s"
    if status in (401, 407) and not has_account:
        words += "; it asks for credentials: say target.sip.username and target.sip.password"
    return words
