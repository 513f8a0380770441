"""What a cause of failure asks for: one sentence a cause, for the person who can act on it."""

from collections.abc import Mapping

from harness.model.records import Cause

REMEDIES: Mapping[Cause, str] = {
    Cause.RELAY_LOST: (
        "the TURN server gave the call up, or its connection was cut: its log says why; a restart ends every allocation"
    ),
    Cause.SIP_REDIRECTED: (
        "the agent sent the call elsewhere, in a loop, too often, or to where nobody can be called: check the Contact "
        "of its 3xx, or call that address"
    ),
    Cause.SIP_AUTH: "the account was not let in: check target.sip.username and password, and the agent's realm",
    Cause.SIP_BUSY: "the agent takes no more calls at a time: give it more lines, or lower the load",
    Cause.SIP_REJECTED: (
        "the agent refuses the call as it is asked: 404 and 604 name the address, 488 and 606 the codecs or SRTP, 403 "
        "the caller, 420 and 421 an extension"
    ),
    Cause.SIP_OVERLOADED: (
        "the agent or its trunk was at its limit and said so (503): give it more room, or lower the rate; calls due "
        "before its Retry-After was over were not sent (target.sip.honour_retry_after)"
    ),
    Cause.SIP_SERVER_ERROR: "the agent failed inside: its log has the call by its Call-ID",
    Cause.SIP_GLOBAL_FAILURE: "the agent declined for everybody it speaks for (6xx): check what it was asked for",
    Cause.SIP_TIMEOUT: (
        "no final response came in time: it is overloaded, it rings too long for limits.connect_timeout_s, or packets "
        "are lost on the way"
    ),
    Cause.SIP_TRANSPORT_LOST: "the connection that carried the signalling was cut: the agent or a proxy went away",
    Cause.SIP_SESSION_EXPIRED: "nobody refreshed the session in time (RFC 4028): the agent is gone, or ignores them",
    Cause.SIP_DIALOG_GONE: "the agent does not know the call any more (481, 408): it was restarted, or lost it",
}


def remedy_of(cause: str) -> str:
    """Return what to do about a cause, "" where it speaks for itself."""
    return next((remedy for known, remedy in REMEDIES.items() if known.value == cause), "")
