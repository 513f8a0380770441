"""What our user agent says to each message of RFC 4475: its first answer's status; None = it stays silent, as it must.

An INVITE that it takes is answered with 100 at first. `OPEN` marks what the RFC leaves to the implementation.
"""

from pathlib import Path

import pytest

from harness.protocols.sip.config import AgentConfig
from harness.protocols.sip.events import Incoming
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.reading import parse
from harness.protocols.sip.user_agent import UserAgent

pytestmark = pytest.mark.unit

VECTORS = Path(__file__).resolve().parents[3] / "vectors" / "sip" / "rfc4475"
FLOW = Flow("udp", ("127.0.0.1", 5060), ("127.0.0.1", 5070))

ANSWERS = {
    # An INVITE to a user of any name. `invut` and `sdp01` are for whoever reads the body to refuse, with 415 and 488.
    100: ["esc01", "longreq", "invut", "sdp01"],
    # OPEN: `baddate` is taken too, since nobody here asks for its Date.
    "taken": ["baddate"],
    # OPTIONS. OPEN: `badbranch` is matched as RFC 2543 says; `zeromf` went as far as it had to.
    200: ["badbranch", "lwsdisp", "semiuri", "transports", "zeromf"],
    400: [
        "badaspec", "baddn", "badinv01", "clerr", "escruri", "insuf", "ltgtruri", "lwsruri", "lwsstart", "mcl01",
        "mismatch01", "mismatch02", "multi01", "ncl", "quotbal", "regbadct", "scalar02", "trws",
        # OPEN: an INVITE without Contact is one of RFC 2543, which nobody speaks any more.
        "inv2543",
    ],
    # No registrar, and no message store; methods nobody knows. None of these is malformed.
    405: ["cparam01", "cparam02", "dblreq", "esc02", "escnull", "intmeth", "mpart01", "regaut01", "regescrt", "unksm2"],
    416: ["novelsc", "unkscm"],
    420: ["bext01"],
    # A To tag, and no such dialog.
    481: ["wsinv"],
    505: ["badvers"],
    # Responses to nothing that was asked.
    None: ["bcast", "bigcode", "noreason", "scalarlg", "unreason"],
}  # fmt: skip


def answer_to(name):
    agent = UserAgent(AgentConfig(), seed=1)
    agent.receive((VECTORS / f"{name}.dat").read_bytes(), FLOW, 1)
    sent = agent.take_outputs()
    # To the address it came from, and the port that its Via names.
    assert {flow.remote[0] for flow, _data in sent} <= {"127.0.0.1"}
    assert len(sent) <= 1
    return agent, [data for _flow, data in sent]


def test_the_table_names_every_message_once():
    named = [name for names in ANSWERS.values() for name in names]
    assert sorted(named) == sorted(path.stem for path in VECTORS.glob("*.dat"))


@pytest.mark.parametrize(("status", "name"), [(status, name) for status, names in ANSWERS.items() for name in names])
def test_answer(status, name):
    agent, sent = answer_to(name)
    is_taken = status in (100, "taken")
    assert [type(event) for event in agent.take_events()] == ([Incoming] if is_taken else [])
    if status is None:
        assert sent == []
        return
    wanted = 100 if is_taken else status
    assert sent[0].startswith(f"SIP/2.0 {wanted} ".encode())


@pytest.mark.parametrize("name", ANSWERS[416] + ANSWERS[420] + ANSWERS[200])
def test_an_answer_repeats_what_it_answers(name):
    _agent, (data,) = answer_to(name)
    asked, answer = parse((VECTORS / f"{name}.dat").read_bytes()), parse(data)
    assert (answer.call_id, answer.cseq, answer.from_) == (asked.call_id, asked.cseq, asked.from_)
    assert [via.branch for via in answer.vias] == [via.branch for via in asked.vias]
    assert answer.to.tag


def test_the_extensions_that_are_not_understood_are_named():
    _agent, (data,) = answer_to("bext01")
    assert parse(data).tokens("unsupported") == {"nothingsupportsthis", "nothingsupportsthiseither"}
