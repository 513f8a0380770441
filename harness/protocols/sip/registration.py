"""A binding at a registrar: made, refreshed in time, taken away (RFC 3261 10.2)."""

from typing import TYPE_CHECKING, Any

from harness.model.clock import NS_PER_S
from harness.protocols.sip.call import extra_lines
from harness.protocols.sip.compose import Headers
from harness.protocols.sip.digest import DigestClient
from harness.protocols.sip.endpoint import Endpoint
from harness.protocols.sip.events import Registered, RegistrationFailed, Unregistered
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.message import BadMessage, Response
from harness.protocols.sip.out_of_dialog import OutOfDialogRequest
from harness.protocols.sip.uri import parse_uri

if TYPE_CHECKING:
    from harness.protocols.sip.timers import Timer

# A long binding is refreshed at its half, a short one when a third is left.
_SHORT_S = 60


class Binding(OutOfDialogRequest):
    """One Contact at one registrar; every REGISTER of it has the same Call-ID and rising CSeq."""

    __slots__ = ("_contact", "_is_open", "_more", "_removing", "_timer", "_wanted_s", "expires_s")

    def __init__(
        self,
        endpoint: Endpoint,
        registrar: str,
        flow: Flow,
        *,
        aor: str,
        contact_user: str,
        expires_s: int,
        headers: Headers,
        routes: tuple[str, ...],
        auth: DigestClient | None,
        owner: Any,
    ) -> None:
        super().__init__(
            endpoint, "REGISTER", registrar, flow, from_=aor, to=aor, routes=routes, auth=auth, owner=owner
        )
        self._contact = endpoint.contact(flow, contact_user, secure=registrar[:5].lower() == "sips:")
        self._more = extra_lines(headers)
        self._wanted_s = expires_s
        self.expires_s = 0
        self._timer: Timer | None = None
        self._removing = False
        # Whether a REGISTER waits for its final response.
        self._is_open = False

    def ask(self, now_ns: int) -> None:
        """Ask for the binding, for its refresh, or for its end."""
        seconds = 0 if self._removing else self._wanted_s
        self.set_lines(f"{self._contact}Expires: {seconds}\r\n{self._more}")
        self._is_open = True
        self.send(now_ns)

    def remove(self, now_ns: int) -> None:
        """Take the binding away; a REGISTER on its way is waited for first, as RFC 3261 10.2 asks."""
        if self._removing:
            return
        self._removing = True
        self._stop()
        if not self._is_open:
            self.ask(now_ns)

    def _stop(self) -> None:
        self._endpoint.wheel.cancel(self._timer)
        self._timer = None

    def on_final(self, status: int, reason: str, response: Response | None, _cause: str, now_ns: int) -> None:
        """Take the registrar's final response, or the lack of one."""
        self._is_open = False
        if status == 423 and response is not None and self._raise_expiry(response):
            self.ask(now_ns)
            return
        if response is None or status >= 300:
            self._stop()
            self._endpoint.tell(RegistrationFailed(now_ns, self, status, reason, response))
        elif self._removing and self.expires_sent_zero:
            self._endpoint.tell(Unregistered(now_ns, self))
        elif self._removing:
            self.ask(now_ns)
        else:
            self._on_registered(response, now_ns)

    @property
    def expires_sent_zero(self) -> bool:
        """Whether the last REGISTER asked for the end."""
        return "Expires: 0\r\n" in self._lines

    def _raise_expiry(self, response: Response) -> bool:
        try:
            least = response.number("min-expires")
        except BadMessage:
            return False
        if self._removing or least is None or least <= self._wanted_s:
            return False
        self._wanted_s = least
        return True

    def _on_registered(self, response: Response, now_ns: int) -> None:
        granted = self._granted_s(response)
        self.expires_s = granted
        left = granted / 2 if granted >= _SHORT_S else granted / 3
        self._timer = self._endpoint.wheel.start(now_ns + int(max(granted - left, 1) * NS_PER_S), self, "refresh")
        self._endpoint.tell(Registered(now_ns, self, granted, response))

    def _granted_s(self, response: Response) -> int:
        """Return what was granted to our Contact: its parameter, else Expires, else what we asked for."""
        try:
            uri = parse_uri(self._contact[self._contact.index("<") + 1 : self._contact.index(">")])
            mine = [found for found in response.contacts if found.uri.matches(uri)]
            text = next((found.params.get("expires") for found in mine), None)
            if text is not None and text.isascii() and text.isdecimal():
                return min(int(text[:9]), self._wanted_s)
            expires = response.expires
        except BadMessage:
            return self._wanted_s
        return self._wanted_s if expires is None else min(expires, self._wanted_s)

    def on_timer(self, _name: str, now_ns: int) -> None:
        """Refresh."""
        self._timer = None
        self.ask(now_ns)
