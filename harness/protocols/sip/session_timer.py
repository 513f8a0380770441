"""How long a session may last without a refresh, and who refreshes it (RFC 4028)."""

from dataclasses import dataclass

from harness.model.clock import NS_PER_S
from harness.protocols.sip.message import BadMessage, Message, Request
from harness.protocols.sip.timers import Timer, TimerOwner, TimerWheel

# RFC 4028 10: the side that does not refresh hangs up min(32 s, a third of the interval) before the end.
_EARLIEST_BYE_S = 32
_MIN_SE_S = 90


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two sides settled on."""

    expires_s: int
    we_refresh: bool


class SessionTimer:
    """The two timers of one session: "refresh" where that is ours to do, "expire" where the peer must."""

    __slots__ = ("_owner", "_timer", "_wheel", "agreed")

    def __init__(self, wheel: TimerWheel, owner: TimerOwner) -> None:
        self._wheel = wheel
        self._owner = owner
        self._timer: Timer | None = None
        self.agreed: Agreement | None = None

    def restart(self, agreed: Agreement | None, now_ns: int) -> None:
        """Run by `agreed` from now on; None = no session timer."""
        self._wheel.cancel(self._timer)
        self._timer, self.agreed = None, agreed
        if agreed is None:
            return
        seconds, name = agreed.expires_s / 2, "refresh"
        if not agreed.we_refresh:
            seconds, name = agreed.expires_s - min(_EARLIEST_BYE_S, agreed.expires_s / 3), "expire"
        self._timer = self._wheel.start(now_ns + int(seconds * NS_PER_S), self._owner, name)

    def expire_after_refresh(self, now_ns: int) -> None:
        """End the session with its interval, should the refresh that is on its way fail."""
        if self.agreed is not None:
            left = self.agreed.expires_s / 2 - min(_EARLIEST_BYE_S, self.agreed.expires_s / 3)
            self._timer = self._wheel.start(now_ns + int(left * NS_PER_S), self._owner, "expire")

    def postpone(self, when_ns: int) -> None:
        """Ask for the refresh again at `when_ns`: it cannot be sent now."""
        self._timer = self._wheel.start(when_ns, self._owner, "refresh")

    def stop(self) -> None:
        """Stop for good."""
        self._wheel.cancel(self._timer)
        self._timer = None


def request_lines(expires_s: int | None, min_se_s: int, refresher: str | None = None) -> str:
    """Return what a request asks for; "" where it asks for nothing. `refresher`: uac, uas or None = let them choose."""
    if expires_s is None:
        return ""
    who = f";refresher={refresher}" if refresher else ""
    least = f"Min-SE: {min_se_s}\r\n" if min_se_s != _MIN_SE_S else ""
    return f"Session-Expires: {max(expires_s, min_se_s)}{who}\r\n{least}"


def _asked(message: Message) -> tuple[int, str | None] | None:
    found = message.valued("session-expires") if message.get("session-expires") is not None else None
    if found is None:
        return None
    if not (found.value.isascii() and found.value.isdecimal()) or len(found.value) > 10:
        raise BadMessage(f"Session-Expires: {found.value[:20]!r} is no number of seconds")
    return int(found.value), (found.params.get("refresher") or "").lower() or None


def min_se_of(message: Message) -> int:
    """Return Min-SE, or the RFC's 90 s; BadMessage where it is no number."""
    found = message.valued("min-se")
    if found is None:
        return _MIN_SE_S
    if not (found.value.isascii() and found.value.isdecimal()) or len(found.value) > 10:
        raise BadMessage(f"Min-SE: {found.value[:20]!r} is no number of seconds")
    return int(found.value)


def is_too_short(request: Request, min_se_s: int) -> bool:
    """Whether a request must get 422 with our Min-SE (RFC 4028 9)."""
    asked = _asked(request)
    return asked is not None and asked[0] < min_se_s and "timer" in request.tokens("supported")


def answer_as_uas(request: Request, ours_s: int | None, min_se_s: int) -> tuple[Agreement | None, str]:
    """Return what our 2xx settles, and its lines (RFC 4028 9 with table 2)."""
    asked = _asked(request)
    if asked is None and ours_s is None:
        return None, ""
    peer_can = "timer" in request.tokens("supported")
    least = max(min_se_of(request), min_se_s)
    wish = None if ours_s is None else max(ours_s, least)
    expires = min(value for value in (None if asked is None else asked[0], wish) if value is not None)
    named = asked[1] if asked else None
    refresher = ("uas" if not peer_can else named) or ("uac" if asked else "uas")
    require = "Require: timer\r\n" if refresher == "uac" else ""
    lines = f"{require}Session-Expires: {max(expires, 1)};refresher={refresher}\r\n"
    return Agreement(max(expires, 1), refresher == "uas"), lines


def take_as_uac(response: Message, asked_s: int | None) -> Agreement | None:
    """Return what a 2xx to our request settled (RFC 4028 7.2); a peer that ignored what we asked leaves it to us."""
    found = _asked(response)
    if found is None:
        return None if asked_s is None else Agreement(asked_s, we_refresh=True)
    return Agreement(max(found[0], 1), found[1] != "uas")
