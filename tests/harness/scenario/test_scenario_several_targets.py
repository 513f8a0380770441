"""A scenario with several targets: what may be said of them, how calls are dealt out, what the command line changes."""

import itertools
import json
from collections import Counter

import pytest

from harness.load.cluster.fingerprint import fingerprint
from harness.load.cluster.preparation import description_of, prepare_from
from harness.load.retarget import retarget
from harness.load.run_info import describe_run
from harness.load.schedule import Schedule
from harness.model.codec import from_json, to_json
from harness.model.errors import ScenarioError, TargetError
from harness.model.plan import CallPlan
from harness.scenario import reachability
from harness.scenario.check import prepare
from harness.scenario.deal import Deal
from harness.scenario.needs import needs_of
from harness.scenario.schema import json_schema

pytestmark = pytest.mark.unit

SCENARIO = """\
name: side
targets:
  web: {url: "http://127.0.0.1:9/offer"}
  phone:
    url: sip:agent@127.0.0.1:9
    codec: PCMA
    expect_greeting: false
    impairments: {incoming: {delay_ms: 100}}
callers:
  - {name: a, weight: 2, turns: [1, 3]}
  - {name: b, weight: 1, turns: 2, patience: impatient}
load: {arrivals: {rate_per_minute: 60, calls: 40, distribution: uniform}}
record: 0.5
thresholds:
  - ttfb_ms p95 < 900
  - ttfb_ms{target:web} p95 < 800
  - ttfb_ms{target:phone} p95 < 1200
  - setup_ms{transport:sip} p95 < 500
"""


@pytest.fixture
def scenario(tmp_path):
    def write(*changes):
        path = tmp_path / "side.yaml"
        text = SCENARIO
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)
        return path

    return write


def refusal(path, **options):
    with pytest.raises(ScenarioError) as refused:
        prepare(path, **options)
    return str(refused.value)


def plans_of(prepared):
    return [prepared.planner.plan_for_index(i, due) for i, due in enumerate(prepared.due_ms)]


# --- the deal ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shares", [[1, 1], [3, 1], [1, 1, 1], [0.2, 0.5, 0.3], [1, 0, 1]])
def test_each_target_has_its_share_at_any_time_and_its_own_stories_in_order(shares):
    deal = Deal(shares, seed=5)
    dealt = [deal[i] for i in range(600)]
    for n in range(1, 601):
        counts = Counter(target for target, _ in dealt[:n])
        assert all(abs(counts[i] - n * share / sum(shares)) < 2 for i, share in enumerate(shares)), n
    for target in range(len(shares)):
        stories = [story for one, story in dealt if one == target]
        assert stories == list(range(len(stories)))


@pytest.mark.parametrize(("shares", "round_of"), [([1, 1], 2), ([2, 1], 3), ([1, 1, 1], 3)])
def test_no_target_is_always_first_nor_always_one_workers(shares, round_of):
    deal = Deal(shares, seed=5)
    for start in range(300):
        # Every round is whole.
        dealt = Counter(deal[round_of * start + i][0] for i in range(round_of))
        assert [dealt[i] for i in range(len(shares))] == shares
    for worker in range(round_of):
        mine = Counter(deal[i][0] for i in range(worker, 900, round_of))
        assert all(mine[i] > 900 / round_of * share / sum(shares) * 0.5 for i, share in enumerate(shares)), mine


def test_the_deal_depends_on_the_seed_alone():
    forwards, backwards, other = Deal([2, 1], 7), Deal([2, 1], 7), Deal([2, 1], 8)
    assert [backwards[i] for i in reversed(range(50))][::-1] == [forwards[i] for i in range(50)]
    assert [other[i] for i in range(50)] != [forwards[i] for i in range(50)]


# --- plans ---------------------------------------------------------------------------------------------------------


def alike(plan):
    """What two calls that tell one story have in common."""
    return (
        plan.story, plan.caller, plan.persona, plan.patience, plan.turns, plan.record, plan.seed, plan.limits
    )  # fmt: skip


def test_the_kth_call_of_each_target_is_the_same_but_for_whom_it_calls(scenario):
    plans = plans_of(prepare(scenario()))
    web, phone = ([p for p in plans if p.target.name == name] for name in ("web", "phone"))
    assert len(web) == len(phone) == 20
    assert [alike(p) for p in web] == [alike(p) for p in phone]
    assert {(p.target.transport, p.target.codec, p.expect_greeting) for p in phone} == {("sip", "PCMA", False)}
    assert {(p.target.transport, p.expect_greeting) for p in web} == {("webrtc", True)}
    assert all(p.impair_incoming.delay_ms == 100 for p in phone)
    assert not any(p.impair_incoming for p in web)
    assert len({p.call_id for p in plans}) == 40
    # Neither is called late in the run, or in another order.
    assert abs(sum(p.due_ms for p in web) - sum(p.due_ms for p in phone)) <= 20 * 1_000
    assert {p.caller for p in web[:6]} == {"a", "b"}


def test_shares_change_how_often_and_never_what(scenario):
    even = plans_of(prepare(scenario()))
    uneven = plans_of(prepare(scenario(("    codec: PCMA\n", "    codec: PCMA\n    share: 3\n"))))
    assert Counter(p.target.name for p in uneven) == {"phone": 30, "web": 10}
    stories = {p.story: alike(p) for p in even}
    assert all(alike(p) == stories[p.story] for p in uneven if p.story in stories)


def test_a_single_target_is_planned_as_ever(scenario, tmp_path):
    single = tmp_path / "single.yaml"
    text = SCENARIO.replace('targets:\n  web: {url: "http://127.0.0.1:9/offer"}\n', "").split("  phone:")
    rest = SCENARIO[SCENARIO.index("callers:") : SCENARIO.index("thresholds:")]
    single.write_text(f'{text[0]}target: {{url: "http://127.0.0.1:9/offer"}}\n{rest}')
    plans = plans_of(prepare(single))
    assert {(p.target.name, p.story) for p in plans} == {("", None)}
    web = plans_of(prepare(scenario(), only=["web"]))
    assert [alike(p)[1:] for p in web] == [alike(p)[1:] for p in plans]


def test_plans_cross_the_wire_whole(scenario):
    for plan in plans_of(prepare(scenario()))[:4]:
        assert from_json(CallPlan, json.loads(json.dumps(to_json(plan)))) == plan


def test_workers_share_out_the_same_calls(scenario):
    prepared = prepare(scenario())
    taken = []
    for worker in range(3):
        schedule = Schedule(prepared, worker, 3)
        taken += [call.plan for call in iter(schedule.take, None)]
    assert sorted(taken, key=lambda p: p.index) == plans_of(prepared)
    # Each worker calls both.
    names = [{p.target.name for p in taken if p.index % 3 == worker} for worker in range(3)]
    assert names == [{"web", "phone"}] * 3


def test_a_worker_arrives_at_the_masters_plan(scenario):
    masters = prepare(scenario(), url="phone=sip:other@127.0.0.1:7", only=["phone", "web"])
    mine = prepare_from(description_of(masters, calls=None), corpus_dir=None)
    assert (mine.url, mine.only) == (masters.url, masters.only)
    assert fingerprint(mine) == fingerprint(masters)
    assert plans_of(mine) == plans_of(masters)
    assert fingerprint(prepare(scenario(), only=["web"])) != fingerprint(masters)
    # Where they call may differ: a worker's own name for the same agent.
    assert fingerprint(prepare(scenario(), url="phone=sip:x@127.0.0.1:5")) == fingerprint(prepare(scenario()))


# --- the command line ----------------------------------------------------------------------------------------------


def test_addresses_by_name(scenario):
    prepared = prepare(scenario(), url="phone=sip:other@127.0.0.1:7 web=http://127.0.0.1:8/o?a=b")
    assert prepared.url == "web=http://127.0.0.1:8/o?a=b phone=sip:other@127.0.0.1:7"
    assert {name: t.url for name, t in prepared.targets.items()} == {
        "web": "http://127.0.0.1:8/o?a=b",
        "phone": "sip:other@127.0.0.1:7",
    }
    assert prepared.targets["phone"].codec == "PCMA"
    assert prepare(scenario()).url == "web=http://127.0.0.1:9/offer phone=sip:agent@127.0.0.1:9"


def test_one_target_alone(scenario):
    prepared = prepare(scenario(), only=["phone"])
    assert {p.target.name for p in plans_of(prepared)} == {"phone"}
    # The name may be left out where there is no doubt.
    moved = prepare(scenario(), only=["phone"], url="sip:other@127.0.0.1:7")
    assert moved.url == "phone=sip:other@127.0.0.1:7"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"url": "http://127.0.0.1:8/o"}, "--target: got http://127.0.0.1:8/o, but the scenario has 2 targets; legal:"),
        ({"url": "fax=sip:a@h"}, "no target called is named fax; legal: web=URL, phone=URL"),
        ({"url": "web=http://h/ web=http://g/"}, "the target web has two addresses; legal: one"),
        ({"url": "phone=http://h/o"}, "--target: phone: got http://h/o, which does not go with the scenario's target."),
        ({"only": ["fax"]}, "--only-target: got fax; legal: web, phone"),
        ({"only": ["web"], "url": "phone=sip:a@h"}, "no target called is named phone; legal: web=URL"),
    ],
)
def test_wrong_words_name_what_is_legal(scenario, options, told):
    assert told in refusal(scenario(), **options)


def test_one_target_has_no_name(tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text(
        'name: one\ntarget: {url: "http://127.0.0.1:9/o"}\ncallers: [{name: a}]\n'
        "load: {arrivals: {rate_per_minute: 60, calls: 1}}\n"
    )
    assert "the scenario has one target, without a name; legal: its URL alone" in refusal(path, url="web=http://h/o")
    assert "--only-target: got web, but the scenario has one target" in refusal(path, only=["web"])


def test_the_web_form_may_move_them(scenario, caplog):
    prepared = prepare(scenario(), only=["phone", "web"])
    moved = retarget(prepared, "web=http://127.0.0.1:8/o phone=sip:agent@127.0.0.1:9")
    assert moved.targets["web"].url == "http://127.0.0.1:8/o"
    assert {p.target.url for p in plans_of(moved)[:8]} == {"http://127.0.0.1:8/o", "sip:agent@127.0.0.1:9"}
    assert retarget(prepared, "http://127.0.0.1:8/o") is prepared
    assert "2 targets; legal: web=URL, phone=URL" in caplog.text


# --- what a file may say -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("targets:\n", "target: {url: http://h/}\ntargets:\n"), "target: there are targets, too; legal: one of the"),
        (("  phone:", "  pho ne:"), "targets: got the name 'pho ne'; legal: 1 to 32 letters"),
        (("codec: PCMA", "codec: opous"), "side.yaml:6: targets.phone.codec: got"),
        (("codec: PCMA", "codecc: PCMA"), "targets.phone.codecc: unknown key"),
        (("codec: PCMA", "sip: {prackk: true}"), "targets.phone.sip.prackk: unknown key"),
        (("codec: PCMA", "share: -1"), "targets.phone.share: got -1; legal: a number of at least 0"),
        (("codec: PCMA", "srtp_suites: []"), "targets.phone.srtp_suites"),
        (("{target:web}", "{target:fax}"), "no turn will have target:fax; legal: web, phone"),
        (("{transport:sip}", "{transport:pots}"), "no turn will have transport:pots; legal: media_stream, rtp, sip"),
        (("turns: 2,", "turns: 2, actions: [{before_turn: 1, dtmf: '1'}],"), "target web: dtmf cannot be done over"),
    ],
)
def test_mistakes_are_told_with_their_place(scenario, change, told):
    assert told in refusal(scenario(change))


def test_a_target_may_have_the_name_of_a_key(scenario):
    path = scenario(("  phone:", "  sip:"), ("target:phone", "target:sip"), ("codec: PCMA", "codecc: PCMA"))
    assert "targets.sip.codecc: unknown key; legal: url, transport" in refusal(path)


def test_no_share_no_call(scenario):
    path = scenario(("    codec: PCMA\n", "    codec: PCMA\n    share: 0\n"))
    assert list(prepare(path).targets) == ["web"]
    assert "phone would get no call, for its share is 0" in refusal(path, only=["phone"])
    none = scenario(
        ("    codec: PCMA\n", "    share: 0\n"), ('{url: "http://127.0.0.1:9/offer"}', '{url: "http://h/", share: 0}')
    )
    assert "targets: every share is 0" in refusal(none)


def test_the_schema_has_either_key():
    schema = json_schema()
    assert schema["oneOf"] == [{"required": ["target"]}, {"required": ["targets"]}]
    assert schema["properties"]["targets"]["additionalProperties"] == {"$ref": "#/$defs/SharedTarget"}
    assert set(schema["$defs"]["SharedTarget"]["properties"]) == {*schema["$defs"]["Target"]["properties"], "share"}


# --- before the run ------------------------------------------------------------------------------------------------


def test_each_target_is_looked_for_and_all_that_are_away_are_told(scenario, monkeypatch):
    prepared = prepare(scenario())

    def probe(target):
        if target.transport == "sip":
            return {"max_calls": 4}
        raise TargetError(f"target unreachable: {target.url}")

    monkeypatch.setattr(reachability, "probe", probe)
    with pytest.raises(TargetError, match=r"^web: target unreachable: http://127\.0\.0\.1:9/offer$"):
        reachability.probe_all(prepared.targets)
    assert reachability.probe_all({"phone": prepared.targets["phone"]}) == {"phone": {"max_calls": 4}}


def test_needs_are_told_by_kind(scenario):
    load = "load: {users: {stages: [{duration_s: 9, users: 30}]}}"
    path = scenario(("load: {arrivals: {rate_per_minute: 60, calls: 40, distribution: uniform}}", load))
    needs = needs_of(prepare(path), engines=3)
    assert needs.calls == 10
    assert [(part.calls, part.transport) for part in needs.parts] == [(5, "webrtc"), (5, "sip")]
    # 100 ms are 5 packets, of one direction of half of the calls.
    assert needs.held_packets == 10 * 5 // 2
    alone = needs_of(prepare(path, only=["phone"]))
    assert (alone.parts, alone.transport, alone.held_packets) == ((), "sip", 30 * 5)


# --- run.json ------------------------------------------------------------------------------------------------------


def test_run_json_tells_of_each_target(scenario):
    prepared = prepare(scenario())
    simulated = {"simulated": ["llm: scripted"]}
    info = describe_run(prepared, "run", {"web": {"max_calls": 3, **simulated}, "phone": simulated}, [])
    json.dumps(info)
    assert info["target"] == {"url": prepared.url}
    assert list(info["targets"]) == ["web", "phone"]
    assert info["targets"]["phone"]["target"]["codec"] == "PCMA"
    assert info["targets"]["web"]["info"]["max_calls"] == 3
    # Two doors of one agent.
    assert info["simulated"] == ["llm: scripted"]
    assert list(info["scenario"]["targets"]) == ["web", "phone"]
    assert "target" not in info["scenario"]


def test_run_json_of_one_target_alone_has_what_was_run(scenario):
    info = describe_run(prepare(scenario(), only=["phone"]), "run", {"phone": {"max_calls": 3}}, [])
    assert (info["targets"], info["target"]["url"]) == ({}, "sip:agent@127.0.0.1:9")
    assert info["target_info"] == {"max_calls": 3}
    assert list(info["scenario"]["targets"]) == ["phone"]
    asked = [entry["expr"] for entry in info["scenario"]["thresholds"]]
    assert asked == ["ttfb_ms p95 < 900", "ttfb_ms{target:phone} p95 < 1200", "setup_ms{transport:sip} p95 < 500"]


def test_secrets_of_no_target_are_shown(scenario, monkeypatch):
    monkeypatch.setenv("PASSWORD_OF_MINE", "open-sesame")
    change = ("codec: PCMA", 'sip: {username: me, password: "${PASSWORD_OF_MINE}"}')
    header = ('{url: "http://127.0.0.1:9/offer"}', '{url: "http://127.0.0.1:9/offer", headers: {X: plain-secret}}')
    text = json.dumps(describe_run(prepare(scenario(change, header)), "run", {}, []))
    assert "open-sesame" not in text
    assert "plain-secret" not in text
    assert list(itertools.islice((c for c in ("username", "password") if c in text), 2)) == ["username", "password"]
