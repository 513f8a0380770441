"""Where a redirected call goes next (RFC 3261 8.1.3.4): the Contacts of 3xx responses, best first, none twice."""

from harness.callers.setup_failure import SetupFailure
from harness.callers.sip_hop import read_uri
from harness.model.errors import RemoteProtocolError
from harness.model.records import Cause
from harness.protocols.sip.events import Failed
from harness.protocols.sip.headers import NameAddr
from harness.protocols.sip.uri import Uri

MOST_REDIRECTS = 5


class Redirects:
    """The places of one call: those tried, and those still to try."""

    def __init__(self, first: Uri) -> None:
        self._tried = [first]
        self._waiting: list[Uri] = []
        self.followed = 0

    def after(self, failed: Failed) -> Uri | None:
        """Return where to call now; None where the failure stands. SetupFailure where redirects lead nowhere."""
        if failed.cause == "response" and failed.status // 100 == 3:
            self._redirected(failed)
        elif failed.cause not in ("response", "timeout", "transport") or failed.status // 100 == 6:
            return None
        if not self._waiting:
            return None
        self.followed += 1
        if self.followed > MOST_REDIRECTS:
            raise SetupFailure(Cause.SIP_REDIRECTED, f"redirected more than {MOST_REDIRECTS} times: {self._way()}")
        self._tried.append(self._waiting.pop(0))
        return self._tried[-1]

    def _redirected(self, failed: Failed) -> None:
        found = _contacts(failed)
        fresh = [uri for uri in found if not any(uri.matches(other) for other in (*self._tried, *self._waiting))]
        if not found:
            raise SetupFailure(Cause.SIP_REDIRECTED, f"{failed.status} {failed.reason} without a Contact to follow")
        if not fresh and not self._waiting:
            raise SetupFailure(Cause.SIP_REDIRECTED, f"redirected in a loop: {self._way()} -> {found[0]}")
        # What a later redirect names is nearer to its party than what an earlier one left over.
        self._waiting = [*fresh, *self._waiting]

    def _way(self) -> str:
        return " -> ".join(uri.text for uri in self._tried)


def _contacts(failed: Failed) -> list[Uri]:
    """Return the Contacts of a response, by q value and order; what cannot be called is left out."""
    try:
        named = [] if failed.response is None else failed.response.contacts
    except RemoteProtocolError:
        return []
    found: list[tuple[float, Uri]] = []
    for contact in named:
        try:
            found.append((_weight(contact), read_uri(contact.uri.for_request().text, "a Contact")))
        except SetupFailure:
            continue
    return [uri for _weight_, uri in sorted(found, key=lambda pair: -pair[0])]


def _weight(contact: NameAddr) -> float:
    try:
        return float(contact.params.get("q") or 1.0)
    except ValueError:
        return 0.0
