"""What each region needs before what, in every state of consent: one table, checked row by row."""

from datetime import UTC, datetime, timedelta

import pytest

from harness.model.errors import ScenarioError
from target_stack.compliance.consent import Consent, State
from target_stack.compliance.decision import Situation, decide
from target_stack.compliance.rules import read_rules, shipped_rules
from target_stack.compliance.words import Activity, Direction, Form, Need, Notice

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
P, T, R, B, C = Activity.PROCESS, Activity.TRANSCRIBE, Activity.RECORD, Activity.BIOMETRICS, Activity.CALL
ALL = frozenset(Activity)
IN, OUT = Direction.INBOUND, Direction.OUTBOUND
AI, WHO, DATA, REC, STOP = (
    Notice.AI_DISCLOSURE,
    Notice.CALLER_IDENTITY,
    Notice.DATA_NOTICE,
    Notice.RECORDING_NOTICE,
    Notice.OPT_OUT,
)
EVERYTHING_SAID = frozenset(Notice)
TWO_PARTY = ["US-CA", "US-CT", "US-DE", "US-FL", "US-IL", "US-MA", "US-MD", "US-MT", "US-NH", "US-NV", "US-PA", "US-WA"]
EU = ["AT", "BE", "BG", "HR", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HU", "IE", "IT", "LT", "LU"]
EU += ["LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK"]
EEA_ONLY = ["IS", "LI", "NO"]


def consent(activity, state, region, form=Form.KEYPAD, days=1):
    is_given = state in (State.GIVEN, State.EXPIRED)
    expires = None if not is_given else NOW + timedelta(days=days if state is State.GIVEN else -1)
    stored = State.GIVEN if is_given else state
    return Consent(activity, stored, region, form if is_given else None, NOW - timedelta(days=2), expires)


def decided(
    region, state=State.UNKNOWN, *, direction=IN, said=EVERYTHING_SAID, wanted=ALL, asked=(), form=Form.KEYPAD, now=NOW
):
    place = shipped_rules().known(region)
    consents = {a: consent(a, state, place, form) for a in Activity}
    return decide(shipped_rules(), Situation(region, direction, now, consents, wanted, said, frozenset(asked)))


def given(region, **options):
    return decided(region, State.GIVEN, **options).allowed


NOTHING_YET = {State.UNKNOWN, State.ASKED, State.EXPIRED}
# Region, then what is allowed of an inbound call when everything was said: with no yes, with a yes by key or voice,
# with one in writing. A no forbids everything everywhere but to be spoken to.
INBOUND = [
    ("US-TX", {C, P, T, R}, {C, P, T, R}, ALL),
    ("US-NY", {C, P, T, R}, {C, P, T, R}, ALL),
    *[(state, {C, P}, {C, P, T, R}, ALL) for state in TWO_PARTY],
    ("US", {C, P}, {C, P, T, R}, ALL),
    *[(country, {C}, {C, P, T, R}, ALL) for country in [*EU, *EEA_ONLY]],
    ("GB", {C}, {C, P, T, R}, ALL),
    ("GB-SCT", {C}, {C, P, T, R}, ALL),
    # Not known: the strictest, and a voiceprint never.
    ("ZZ", {C}, {C, P, T, R}, {C, P, T, R}),
    ("JP", {C}, {C, P, T, R}, {C, P, T, R}),
    ("", {C}, {C, P, T, R}, {C, P, T, R}),
    ("us-ca", {C, P}, {C, P, T, R}, ALL),
]


@pytest.mark.parametrize(("region", "none", "spoken", "written"), INBOUND, ids=[row[0] or "empty" for row in INBOUND])
def test_what_is_allowed_by_region_and_consent(region, none, spoken, written):
    for state in NOTHING_YET:
        assert decided(region, state).allowed == none, state
    for form in (Form.VOICE, Form.KEYPAD, Form.PARAMETER):
        assert given(region, form=form) == spoken, form
    assert given(region, form=Form.WRITTEN) == written
    for state in (State.REFUSED, State.WITHDRAWN):
        decision = decided(region, state)
        # Whoever objected to being called may still call.
        assert decision.allowed == {C}, state
        assert set(decision.blocked) == ALL - {C}


# Who is called must have agreed before the first word; then the region's other rules hold, too.
OUTBOUND = [
    ("US-TX", set(), set(), ALL),
    ("US-CA", set(), set(), ALL),
    ("US", set(), set(), ALL),
    ("DE", set(), {C, P, T, R}, ALL),
    ("NO", set(), {C, P, T, R}, ALL),
    ("GB", set(), {C, P, T, R}, ALL),
    ("ZZ", set(), set(), {C, P, T, R}),
]


@pytest.mark.parametrize(("region", "none", "spoken", "written"), OUTBOUND, ids=[row[0] for row in OUTBOUND])
def test_nobody_is_called_without_consent(region, none, spoken, written):
    for state in NOTHING_YET:
        decision = decided(region, state, direction=OUT)
        assert (decision.allowed, decision.say_first, decision.ask) == (none, (), ()), state
    for state in (State.REFUSED, State.WITHDRAWN):
        assert decided(region, state, direction=OUT).allowed == frozenset()
    assert given(region, direction=OUT) == spoken
    assert given(region, direction=OUT, form=Form.WRITTEN) == written


# What is to be said, and asked next, of a caller of whom nothing is known; then after a yes, a no, and silence to that.
OPENINGS = [
    ("US-TX", IN, (AI, REC), ()),
    ("US-FL", IN, (AI, REC), (T, R)),
    ("US-CA", IN, (AI, DATA, REC), (T, R)),
    ("US-IL", IN, (AI, REC), (T, R)),
    ("DE", IN, (AI, DATA, REC), (P,)),
    ("GB", IN, (AI, DATA, REC), (P,)),
]


@pytest.mark.parametrize(("region", "direction", "notices", "question"), OPENINGS, ids=[row[0] for row in OPENINGS])
def test_what_is_said_first_and_asked(region, direction, notices, question):
    decision = decided(region, said=frozenset(), wanted=frozenset({C, P, T, R}), direction=direction)
    assert decision.say_first == notices
    assert decision.ask == question
    assert not decision.allows(P)
    assert notices[0] is AI, "the disclosure comes first"


@pytest.mark.parametrize("region", ["US-TX", "US-CA", "DE", "GB", "ZZ", "NO"])
@pytest.mark.parametrize("unsaid", [AI, DATA, REC])
def test_a_yes_is_not_enough_before_the_notices_were_heard(region, unsaid):
    heard = EVERYTHING_SAID - {unsaid}
    wanted = frozenset({C, P, T, R})
    decision = decided(region, State.GIVEN, said=heard, form=Form.WRITTEN, wanted=wanted)
    needs = decided(region, State.GIVEN, said=frozenset(), form=Form.WRITTEN, wanted=wanted).say_first
    if unsaid in needs:
        assert unsaid in decision.say_first
        assert not decision.allows(R)
    if unsaid is AI:
        assert not decision.allows(P)


def test_questions_one_after_the_other_and_none_after_a_no():
    wanted = frozenset({C, P, T, R})
    first = decided("DE", wanted=wanted)
    assert first.ask == (P,)
    yes = {P: consent(P, State.GIVEN, "DE")}
    situation = Situation("DE", IN, NOW, yes, wanted, EVERYTHING_SAID, frozenset({P}))
    assert decide(shipped_rules(), situation).ask == (T, R)
    for state in (State.ASKED, State.REFUSED):
        no = {P: consent(P, state, "DE")}
        situation = Situation("DE", IN, NOW, no, wanted, EVERYTHING_SAID, frozenset({P}))
        decision = decide(shipped_rules(), situation)
        assert (decision.ask, decision.allowed) == ((), {C})


def test_a_no_of_an_earlier_call_is_asked_again_only_where_the_call_cannot_go_on_without():
    wanted = frozenset({C, P, T, R})
    assert decided("DE", State.REFUSED, wanted=wanted).ask == (P,)
    assert decided("US-TX", State.WITHDRAWN, wanted=wanted).ask == (P,)
    said_no = {T: consent(T, State.REFUSED, "US-CA"), R: consent(R, State.REFUSED, "US-CA")}
    decision = decide(shipped_rules(), Situation("US-CA", IN, NOW, said_no, wanted, EVERYTHING_SAID))
    assert (decision.ask, decision.allowed) == ((), {C, P})


def test_an_opt_out_holds_where_notice_is_enough():
    said_no = {R: consent(R, State.WITHDRAWN, "US-CA")}
    decision = decide(shipped_rules(), Situation("US-TX", IN, NOW, said_no, ALL, EVERYTHING_SAID))
    assert R not in decision.allowed
    assert decision.blocked[R] == "consent is withdrawn"


def test_a_yes_of_another_region_is_none_here():
    yes = {a: consent(a, State.GIVEN, "US-CA", Form.WRITTEN) for a in Activity}
    decision = decide(shipped_rules(), Situation("DE", IN, NOW, yes, ALL, EVERYTHING_SAID))
    assert decision.allowed == {C}
    assert decision.blocked[P] == "explicit consent is needed; what was given is of another form or region"


def test_a_spoken_answer_is_understood_only_where_understanding_needs_no_consent():
    assert decided("US-CA").is_answer_heard
    assert not decided("DE").is_answer_heard
    assert decided("DE", State.GIVEN).is_answer_heard
    assert not decided("US-CA", State.REFUSED).is_answer_heard


def test_what_the_operator_does_not_want_is_neither_asked_nor_allowed():
    decision = decided("US-CA", wanted=frozenset({C, P}), said=frozenset())
    assert (decision.ask, decision.say_first) == ((), (AI, DATA))
    assert decided("US-CA", State.GIVEN, wanted=frozenset({C, P})).allowed == {C, P}


def test_retention_and_validity_are_the_shortest():
    assert decided("US-IL").retention == timedelta(days=90)
    assert decided("DE").consent_lasts == timedelta(days=365)
    # BIPA's three years do not lengthen what the house allows.
    assert decided("US-IL").consent_lasts == timedelta(days=365)


def test_a_rule_applies_from_its_day():
    ids = decided("DE", now=datetime(2026, 8, 1, 23, 59, tzinfo=UTC)).rules
    assert "eu-ai-act" not in ids
    assert "eu-ai-act" in decided("DE", now=datetime(2026, 8, 2, tzinfo=UTC)).rules
    # The house says it anyway.
    assert AI in decided("DE", now=datetime(2026, 8, 1, tzinfo=UTC), said=frozenset()).say_first


def test_bipa_needs_the_release_in_writing():
    assert B not in given("US-IL", form=Form.VOICE)
    assert B in given("US-IL", form=Form.WRITTEN)
    assert "bipa" in decided("US-IL").rules
    assert B not in decided("US-IL").ask


def test_every_row_has_its_source_and_the_states_are_those_of_the_list():
    table = shipped_rules()
    assert all(row.source and row.as_of for row in table.rows)
    (all_party,) = [row for row in table.rows if row.id == "us-all-party"]
    assert set(all_party.regions) == {*TWO_PARTY, "US"}
    assert set(all_party.source) == set(all_party.regions)
    assert "632" in all_party.source_for("US-CA")
    (gdpr,) = [row for row in table.rows if row.id == "gdpr"]
    assert set(gdpr.regions) == {*EU, *EEA_ONLY}


def test_needs_add_up_to_the_strictest():
    assert Need.NOTHING < Need.NOTICE < Need.EXPLICIT < Need.WRITTEN < Need.NEVER


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows: [", "no YAML"),
        ("rows: []", "rows: .*no row names ZZ"),
        ("rows: [{id: a}]", "rows.0.title: Field required"),
        (
            "rows: [{id: a, title: t, regions: [ZZ], before: {record: [loudly]}, source: s, as_of: 2026-01-01}]",
            r"rows.0.before.record.notices.0: .*'ai_disclosure'",
        ),
        (
            "rows: [{id: a, title: t, regions: [ZZ], before: {dance: [notice]}, source: s, as_of: 2026-01-01}]",
            r"rows.0.before.dance.*'call', 'process'",
        ),
    ],
)
def test_a_wrong_table_is_refused_with_file_and_place(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=message) as caught:
        read_rules(path)
    assert "mine.yaml" in str(caught.value)
