"""Fuzz targets of SIP: messages and streams."""

import contextlib
import random
from pathlib import Path

from fuzz_mutation import Mutator

from harness.protocols.sip.check import check
from harness.protocols.sip.framing import KeepAlive, StreamFramer
from harness.protocols.sip.grammar import BadMessage
from harness.protocols.sip.headers import key_of
from harness.protocols.sip.message import Message, Request, serialise
from harness.protocols.sip.reading import parse
from harness.protocols.sip.refusal import refusal

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "sip" / "rfc4475"
MESSAGES = [path.read_bytes() for path in sorted(VECTORS.glob("*.dat"))]
MESSAGES.append(
    b"INVITE sip:*98#@node1;transport=tcp SIP/2.0\r\n"
    b"v: SIP/2.0/TCP [::1]:5070;rport;branch=z9hG4bK1;received=[::2],\r\n"
    b' SIP/2.0/UDP h\r\nf: "A, \\"B" <sip:a@h>;tag=1\r\nt: <tel:+1;ext=2>\r\ni: c\r\nCSeq: 1 INVITE\r\n'
    b'm: "x" <sip:a,b@h>;q=0.5;expires=3 , <sip:c@h?a=b>\r\nRecord-Route: <sip:p;lr>,<sip:q;lr>\r\nRoute: <sip:r>\r\n'
    b"x: 90;refresher=uac\r\nMin-SE: 90\r\nSupported: timer, 100rel\r\n"
    b'WWW-Authenticate: Digest realm="a, b", nonce=x,'
    b' qop="auth,auth-int", algorithm=SHA-256, stale=false, Basic realm="c"\r\n'
    b'Proxy-Authorization: Digest username="u", response="00", nc=00000001, qop=auth\r\n'
    b"Retry-After: 5 (busy; x);duration=1\r\nReason: Q.850;cause=16,"
    b'SIP;cause=200;text="a"\r\nRAck: 1 1 INVITE\r\nRSeq: 1\r\nDate: Sat, 13 Nov 2010 23:29:00 GMT\r\n'
    b"Refer-To: <sip:a@h?Replaces=1%3Bto-tag%3D2>\r\nReplaces: c;to-tag=1;from-tag=2\r\nl: 2\r\n\r\nhi"
)
WORDS = [
    b"Via: SIP/2.0/UDP h;branch=z9hG4bK2\r\n",
    b"Contact: *\r\n",
    b"Expires: 0\r\n",
    b"Content-Length: ",
    b"l:",
    b"CSeq: ",
    b"SIP/2.0 ",
    b"INVITE ",
    b"ACK ",
    b"CANCEL ",
    b"BYE ",
    b" SIP/2.0\r\n",
    b"<",
    b">",
    b'"',
    b"\\",
    b";",
    b",",
    b"=",
    b"@",
    b":",
    b"?",
    b"%00",
    b"[",
    b"]",
    b"sip:",
    b";tag=",
    b";lr",
    b"z9hG4bK",
    b"\r\n ",
    b"\r\n\t",
    b"Digest ",
    b'qop="',
    b"(",
    b")",
    b"*",
    b";received=",
    b";rport",
]
READERS = (
    "vias",
    "contacts",
    "routes",
    "record_routes",
    "content_type",
    "max_forwards",
    "expires",
    "top_via",
    "from_",
    "to",
    "cseq",
    "call_id",
    "is_contact_star",
)


def allow(wrong):
    """Run `wrong()`; BadMessage is what it may raise."""
    with contextlib.suppress(BadMessage):
        return wrong()
    return None


def read_all(message: Message) -> None:
    for name in READERS:
        allow(lambda name=name: getattr(message, name))
    for name in {name for name, _value in message.headers}:
        allow(lambda name=name: message.auths(name))
        allow(lambda name=name: message.address(name))
        allow(lambda name=name: message.valued(name))
        allow(lambda name=name: message.tokens(name))
    allow(lambda: [(str(via), via.answer_address(), str(via.stamped("::1", 9))) for via in message.vias])
    allow(lambda: [str(contact) for contact in message.contacts])
    allow(lambda: message.uri.for_request() if isinstance(message, Request) else None)


class SipMessages:
    """Datagrams: read whole or refused; what was read can be sent again, what was refused can be answered."""

    name = "sip messages"

    def __init__(self, seed):
        # Of what parses, more: a change or two to it is most likely to get far.
        whole = [data for data in MESSAGES if allow(lambda data=data: parse(data))]
        self._mutator = Mutator(MESSAGES + 4 * whole, WORDS, f"{self.name}{seed}")

    def make(self, number):
        return self._mutator.make(number)

    def feed(self, data):
        try:
            message = parse(data)
        except BadMessage as error:
            self._answer(error)
            raise
        read_all(message)
        again = parse(serialise(message))
        kept = [field for field in again.headers if key_of(field[0]) != "content-length"]
        assert kept == [field for field in message.headers if key_of(field[0]) != "content-length"]
        assert (again.start_line(), again.body) == (message.start_line(), message.body)
        try:
            check(message)
        except BadMessage as error:
            self._answer(error)
            raise

    def _answer(self, error):
        answer = refusal(error, "192.0.2.1", 5060)
        assert (answer is None) == (error.status is None)
        if answer is not None:
            assert serialise(answer).count(b"\r\n") == len(answer.headers) + 3

    def end(self):
        """Nothing is kept."""


class SipStreams:
    """TCP: the same messages come out however the octets are cut into segments; what is held stays bounded."""

    name = "sip streams"
    _LIMIT = 20_000

    def __init__(self, seed):
        seeds = [a + b + c for a in MESSAGES[::5] for b in (b"", b"\r\n\r\n", b"\r\n") for c in MESSAGES[1::7]]
        self._mutator = Mutator(seeds, WORDS, f"{self.name}{seed}")
        self._rng = random.Random(seed)

    def make(self, number):
        return self._mutator.make(number)

    def feed(self, data):
        whole = self._messages([data])
        cuts = sorted(self._rng.randrange(len(data) + 1) for _ in range(self._rng.randrange(1, 8)))
        assert self._messages([data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]) == whole
        for message in whole:
            if isinstance(message, bytes):
                allow(lambda message=message: parse(message))

    def _messages(self, pieces):
        framer = StreamFramer(self._LIMIT)
        found = []
        with contextlib.suppress(BadMessage):
            for piece in pieces:
                found += framer.feed(piece)
                assert len(framer._buffer) <= max(self._LIMIT, len(piece)) + self._LIMIT
        if framer.broken is not None:
            found.append(None)
        return [item for item in found if not isinstance(item, KeepAlive)]

    def end(self):
        """Nothing is kept."""
