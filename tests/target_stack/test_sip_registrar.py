"""What phones register at the agent: bindings made, refreshed, taken away, run out; what is refused changes nothing."""

import pytest

from harness.model.clock import NS_PER_S
from harness.protocols.sip.reading import parse
from target_stack.edge import sip_registrar
from target_stack.edge.sip_registrar import LONGEST_S, MOST_CONTACTS, Registrar

pytestmark = pytest.mark.unit


def register(*lines, cseq=1, call_id="c1", to="<sip:ua@agent>"):
    head = [
        "REGISTER sip:agent SIP/2.0",
        "Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK1",
        f"From: {to};tag=1",
        f"To: {to}",
    ]
    return parse("\r\n".join([*head, f"Call-ID: {call_id}", f"CSeq: {cseq} REGISTER", *lines, "", ""]).encode())


def contacts(answer):
    status, headers = answer
    assert status == 200
    return [value for name, value in headers if name == "Contact"]


def test_bindings_are_made_refreshed_and_run_out():
    registrar = Registrar()
    # As SIPp writes it: no brackets, Expires in a field of its own.
    made = registrar.answer(register("Contact: sip:ua@127.0.0.1:9", "Expires: 300"), 0)
    assert contacts(made) == ["<sip:ua@127.0.0.1:9>;expires=300"]
    other = register("Contact: <sip:ua@127.0.0.1:7>;expires=10", call_id="c2")
    assert contacts(registrar.answer(other, 0)) == [
        "<sip:ua@127.0.0.1:9>;expires=300",
        "<sip:ua@127.0.0.1:7>;expires=10",
    ]
    # Without Contact it asks what there is.
    assert contacts(registrar.answer(register(call_id="c3"), 11 * NS_PER_S)) == ["<sip:ua@127.0.0.1:9>;expires=289"]
    refreshed = registrar.answer(register("Contact: sip:ua@127.0.0.1:9", cseq=2), 11 * NS_PER_S)
    assert contacts(refreshed) == [f"<sip:ua@127.0.0.1:9>;expires={LONGEST_S}"]
    assert registrar.records == 1
    registrar.answer(register(to="<sip:other@agent>", call_id="c4"), (12 + LONGEST_S) * NS_PER_S)
    assert registrar.records == 0


def test_one_record_however_it_is_written():
    registrar = Registrar()
    registrar.answer(register("Contact: <sip:ua@127.0.0.1:9>"), 0)
    asked = register(to='"A phone" <sip:ua@AGENT:5060;transport=tcp>', call_id="c2")
    assert len(contacts(registrar.answer(asked, 0))) == 1


@pytest.mark.parametrize("line", ["Contact: <sip:ua@127.0.0.1:9>;expires=0", "Contact: *\r\nExpires: 0"])
def test_bindings_are_taken_away(line):
    registrar = Registrar()
    registrar.answer(register("Contact: <sip:ua@127.0.0.1:9>"), 0)
    assert contacts(registrar.answer(register(line, cseq=2), 0)) == []
    assert registrar.records == 0


@pytest.mark.parametrize(
    ("lines", "settings", "status"),
    [
        (["Contact: *"], {"cseq": 2}, 400),
        (["Contact: *", "Expires: 1"], {"cseq": 2}, 400),
        (["Contact: <sip:"], {"cseq": 2}, 400),
        (["Contact: <sip:ua@127.0.0.1:9>;expires=0"], {"cseq": 1}, 500),
        ([f"Contact: <sip:ua@127.0.0.1:{port}>" for port in range(20, 20 + MOST_CONTACTS)], {"cseq": 2}, 503),
    ],
    ids=["star alone", "star for a second", "unreadable", "overtaken", "too many"],
)
def test_what_is_refused_changes_nothing(lines, settings, status):
    registrar = Registrar()
    registrar.answer(register("Contact: <sip:ua@127.0.0.1:9>"), 0)
    assert registrar.answer(register(*lines, **settings), 0)[0] == status
    assert contacts(registrar.answer(register(call_id="c9"), 0)) == [f"<sip:ua@127.0.0.1:9>;expires={LONGEST_S}"]


def test_there_is_an_end_to_records(monkeypatch):
    monkeypatch.setattr(sip_registrar, "MOST_RECORDS", 2)
    registrar = Registrar()
    answers = [
        registrar.answer(register("Contact: <sip:a@127.0.0.1>", to=f"<sip:{n}@agent>", call_id=f"c{n}"), 0)[0]
        for n in range(4)
    ]
    assert answers == [200, 200, 503, 503]
