"""Phones that insist on registering before they call (RFC 3261 10.3): their bindings, in memory, until they run out.

The agent calls nobody, so that nothing is looked up here; REGISTER is answered as a registrar must.
"""

from dataclasses import dataclass

from harness.model.clock import NS_PER_S
from harness.model.errors import RemoteProtocolError
from harness.protocols.sip.headers import NameAddr
from harness.protocols.sip.message import Request
from harness.protocols.sip.uri import Uri

LONGEST_S = 3600
MOST_CONTACTS = 16
MOST_RECORDS = 4096

Answer = tuple[int, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class _Binding:
    contact: Uri
    until_ns: int
    # Of the REGISTER that made it: an older one of the same Call-ID has been overtaken (10.3, step 7).
    call_id: str
    cseq: int


class Registrar:
    """`answer` each REGISTER; `records` counts addresses of record with a binding."""

    def __init__(self) -> None:
        self._records: dict[str, list[_Binding]] = {}

    @property
    def records(self) -> int:
        """How many addresses of record there are; those that ran out count until the next REGISTER of anybody."""
        return len(self._records)

    def answer(self, request: Request, now_ns: int) -> Answer:
        """Return status and header fields of the answer. Nothing is changed by a REGISTER that is refused."""
        try:
            return self._answered(request, now_ns)
        except RemoteProtocolError:
            return 400, ()

    def _answered(self, request: Request, now_ns: int) -> Answer:
        record = _record_of(request.to.uri)
        self._forget(now_ns)
        known = self._records.get(record, [])
        if any(b.call_id == request.call_id and b.cseq >= request.cseq.number for b in known):
            return 500, ()
        if request.is_contact_star:
            if request.expires != 0:
                return 400, ()
            wanted: list[_Binding] = []
        else:
            wanted = _merged(known, request, now_ns)
        if len(wanted) > MOST_CONTACTS or (record not in self._records and len(self._records) >= MOST_RECORDS):
            return 503, (("Retry-After", "60"),)
        self._records[record] = wanted
        if not wanted:
            del self._records[record]
        return 200, tuple(("Contact", f"<{b.contact}>;expires={_left_s(b, now_ns)}") for b in wanted)

    def _forget(self, now_ns: int) -> None:
        for record, bindings in list(self._records.items()):
            left = [binding for binding in bindings if binding.until_ns > now_ns]
            if left:
                self._records[record] = left
            else:
                del self._records[record]


def _merged(known: list[_Binding], request: Request, now_ns: int) -> list[_Binding]:
    """Return the bindings that there are after a REGISTER: those it names replaced, or gone where they expire at 0."""
    bindings = list(known)
    for contact in request.contacts:
        bindings = [binding for binding in bindings if not binding.contact.matches(contact.uri)]
        seconds = min(_expires_s(contact, request), LONGEST_S)
        if seconds:
            until_ns = now_ns + seconds * NS_PER_S
            bindings.append(_Binding(contact.uri, until_ns, request.call_id, request.cseq.number))
    return bindings


def _expires_s(contact: NameAddr, request: Request) -> int:
    said = contact.params.get("expires")
    if said is not None and said.isdecimal() and len(said) < 10:
        return int(said)
    # What cannot be read counts as if nothing were said (10.2.1.1).
    return LONGEST_S if request.expires is None else request.expires


def _left_s(binding: _Binding, now_ns: int) -> int:
    return -(-(binding.until_ns - now_ns) // NS_PER_S)


def _record_of(uri: Uri) -> str:
    """Return an address of record without what may differ between two ways of writing it (10.3, step 5)."""
    return f"{uri.scheme}:{uri.user or ''}@{uri.host.lower()}"
