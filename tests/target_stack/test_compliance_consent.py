from datetime import UTC, datetime, timedelta

import pytest

from target_stack.compliance.answers import Answer, answer_in, takes_back
from target_stack.compliance.consent import MOVES, Consent, ConsentError, Evidence, State, Step
from target_stack.compliance.pseudonym import KEY_FILE, Pseudonyms, open_pseudonyms
from target_stack.compliance.words import Activity, Form

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=30)


def evidence(at=NOW, form=Form.KEYPAD):
    return Evidence(at, "DE", "call-1", form, "May we?", "1")


def stepped(state, step, at=NOW):
    expires = NOW - timedelta(days=1) if state is State.EXPIRED else LATER
    is_given = state in (State.GIVEN, State.EXPIRED)
    before = Consent(
        Activity.RECORD, State.GIVEN if is_given else state, "DE", None, NOW, expires if is_given else None
    )
    assert before.state_at(NOW) is state
    return before.after(step, evidence(at), LATER + timedelta(days=1) if step is Step.GIVE else None).state


# State before, then the state after ask, give, refuse, withdraw.
TABLE = [
    (State.UNKNOWN, State.ASKED, State.GIVEN, State.REFUSED, State.WITHDRAWN),
    (State.ASKED, State.ASKED, State.GIVEN, State.REFUSED, State.WITHDRAWN),
    (State.GIVEN, State.ASKED, State.GIVEN, State.REFUSED, State.WITHDRAWN),
    (State.REFUSED, State.REFUSED, State.GIVEN, State.REFUSED, State.WITHDRAWN),
    (State.WITHDRAWN, State.WITHDRAWN, State.GIVEN, State.WITHDRAWN, State.WITHDRAWN),
    (State.EXPIRED, State.ASKED, State.GIVEN, State.REFUSED, State.WITHDRAWN),
]


@pytest.mark.parametrize("row", TABLE, ids=[str(row[0]) for row in TABLE])
def test_every_step_from_every_state(row):
    before, *after = row
    for step, state in zip((Step.ASK, Step.GIVE, Step.REFUSE, Step.WITHDRAW), after, strict=True):
        assert stepped(before, step) is state, step
    assert {state for state, *_ in TABLE} == set(State) == set(MOVES)


def test_a_yes_runs_out_by_itself_and_only_a_yes():
    given = Consent(Activity.RECORD).after(Step.GIVE, evidence(), LATER)
    assert given.holds("DE", LATER - timedelta(microseconds=1))
    assert not given.holds("DE", LATER)
    assert given.state_at(LATER) is State.EXPIRED
    assert not given.holds("FR", NOW)
    assert Consent(Activity.RECORD, State.REFUSED, expires_at=NOW).state_at(LATER) is State.REFUSED


@pytest.mark.parametrize("step", [Step.EXPIRE])
def test_what_was_not_given_cannot_run_out(step):
    with pytest.raises(ConsentError, match="consent to record: cannot expire what is unknown"):
        Consent(Activity.RECORD).after(step, evidence())


@pytest.mark.parametrize(("form", "expires"), [(None, LATER), (Form.VOICE, None), (Form.VOICE, NOW)])
def test_a_yes_needs_its_form_and_its_end(form, expires):
    with pytest.raises(ConsentError, match="a yes needs the form"):
        Consent(Activity.RECORD).after(Step.GIVE, evidence(form=form), expires)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Yes.", Answer.YES),
        ("yeah, sure", Answer.YES),
        ("Okay, go ahead!", Answer.YES),
        ("I do.", Answer.YES),
        ("I agree", Answer.YES),
        ("that's fine with me", Answer.YES),
        ("No.", Answer.NO),
        ("no thanks", Answer.NO),
        ("I do not agree", Answer.NO),
        ("I don\u2019t consent to this", Answer.NO),
        ("please don't", Answer.NO),
        ("I'd rather not", Answer.NO),
        ("absolutely not", Answer.UNCLEAR),
        ("yes, no, wait", Answer.UNCLEAR),
        ("I don't mind", Answer.UNCLEAR),
        ("no problem", Answer.UNCLEAR),
        ("I'm not sure", Answer.UNCLEAR),
        ("what was that", Answer.UNCLEAR),
        ("what is your yesterday menu", Answer.UNCLEAR),
        ("I know", Answer.UNCLEAR),
        ("", Answer.UNCLEAR),
    ],
)
def test_what_an_answer_means(text, answer):
    assert answer_in(text) is answer


@pytest.mark.parametrize(
    ("text", "is_back"),
    [
        ("Please stop recording.", True),
        ("stop recording me", True),
        ("Don't record this call", True),
        ("I don't want to be recorded", True),
        ("delete my data please", True),
        ("please erase all of my recordings", True),
        ("I withdraw my consent", True),
        ("I'd like to delete an item from my order", False),
        ("what is on record for my account", False),
        ("please stop the delivery", False),
        ("did you record my address", False),
    ],
)
def test_what_takes_consent_back(text, is_back):
    assert takes_back(text) is is_back


def test_pseudonyms_are_keyed_and_know_one_number_in_every_spelling(tmp_path):
    ours = open_pseudonyms(tmp_path)
    assert ours.of("+1 (312) 555-0100") == ours.of("+13125550100") != ours.of("+13125550101")
    assert ours.of("anna-b") != ours.of("annab")
    assert open_pseudonyms(tmp_path).of("anna") == ours.of("anna") != Pseudonyms(b"x" * 32).of("anna")
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]
