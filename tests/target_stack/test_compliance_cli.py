import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from compliance_bench import Desk, found_in

from harness.cli import _PASSED_ON
from harness.model.errors import ScenarioError
from target_stack.__main__ import main, parser
from target_stack.app import Stack
from target_stack.compliance.settings import read_settings
from target_stack.compliance.texts import Script, Texts
from target_stack.compliance.trail import TrailRow, What
from target_stack.compliance.words import Activity, Notice
from target_stack.config import config_from
from target_stack.telemetry.compliance import ComplianceCounts, render_compliance

pytestmark = pytest.mark.unit

CALLER = "+13125550100"


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "stack.yaml"
    path.write_text("compliance: {folder: data, operator: Example Ltd, default_region: US-CA}\n")
    return path


def command(config, *words):
    return main(["compliance", *words, "--config", str(config)])


def test_a_call_is_listed_audited_deleted_and_gone(config, tmp_path, capsys):
    now = datetime.now(UTC)
    with Desk(tmp_path / "data") as desk:
        call = desk.keep(CALLER, "call-1", at=now, files={"caller.wav": b"voice of Jonathan" * 99})
        desk.give(CALLER, at=now, words="yes, Jonathan agrees", call_id="call-1", key=call.key)
        rows = [
            TrailRow(now, What.CALL_STARTED, call.caller, desk.pseudonyms.of(call.key), "US-CA", "inbound"),
            TrailRow(now, What.PLAYED, call.caller, desk.pseudonyms.of(call.key), "US-CA", "inbound", "ai_disclosure"),
            TrailRow(
                now, What.PLAYED, call.caller, desk.pseudonyms.of(call.key), "US-CA", "inbound", "recording_notice"
            ),
            TrailRow(now, What.PLAYED, call.caller, desk.pseudonyms.of(call.key), "US-CA", "inbound", "data_notice"),
            TrailRow(
                now + timedelta(milliseconds=5),
                What.BEGAN,
                call.caller,
                desk.pseudonyms.of(call.key),
                "US-CA",
                "inbound",
                "record",
            ),
        ]
        desk.store.note(rows)
    assert command(config, "consents", CALLER) == 0
    out = capsys.readouterr().out
    assert "1 calls kept" in out
    assert "answered 'yes, Jonathan agrees'" in out
    assert command(config, "audit", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["calls"], report["disclosure_rate"], report["kept_now"], report["violations"]) == (1, 1.0, 1, [])
    assert command(config, "delete", CALLER) == 0
    assert "deleted: 1 calls (1 files, 1683 bytes), 2 consent rows" in capsys.readouterr().out
    assert found_in(tmp_path / "data", b"Jonathan", b"3125550100", b"call-1", call.key.encode()) == []
    assert command(config, "delete", CALLER) == 0
    assert command(config, "consents") == 0
    assert capsys.readouterr().out == "nothing to delete\n"
    assert command(config, "audit") == 0
    assert "done 1" in capsys.readouterr().out


def test_an_audit_with_violations_exits_with_1(config, tmp_path, capsys):
    assert command(config, "audit") == 104
    assert "there is no consent store" in capsys.readouterr().err
    with Desk(tmp_path / "data"):
        (tmp_path / "data" / "calls" / "2026-11-23" / "stray").mkdir(parents=True)
    assert command(config, "audit", "--day", "2026-11-23") == 1
    assert "folder stray" in capsys.readouterr().out


def test_a_release_on_paper_is_entered_and_taken_back(config, tmp_path, capsys):
    arguments = ["consents", CALLER, "--region", "us-il", "--evidence", "release no. 4711"]
    assert command(config, *arguments, "--give", "biometrics") == 0
    assert "biometrics given until" in capsys.readouterr().out
    with Desk(tmp_path / "data") as desk:
        (consent,) = desk.store.consents(desk.pseudonyms.of(CALLER)).values()
        assert (consent.activity, consent.region, consent.form.value) == (Activity.BIOMETRICS, "US-IL", "written")
        desk.keep(CALLER, "call-1", at=datetime.now(UTC), files={"caller.wav": b"x"})
    assert command(config, *arguments, "--withdraw", "biometrics") == 0
    assert "deleted: 1 calls" in capsys.readouterr().out
    assert command(config, "consents", CALLER) == 0
    assert "biometrics withdrawn" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["consents", CALLER, "--give", "record"], "needs CALLER, --region and --evidence"),
        (
            ["consents", CALLER, "--give", "dance", "--region", "DE", "--evidence", "x"],
            "dance: legal activities: call, process",
        ),
        (["consents", CALLER, "--give", "record", "--region", "XX", "--evidence", "x"], "XX: no rule knows it"),
        (["delete"], "needs a CALLER"),
        (["consents", CALLER, "--withdraw", "record"], "needs CALLER, --region and --evidence"),
    ],
)
def test_wrong_words_are_told(config, tmp_path, words, message, capsys):
    Desk(tmp_path / "data").store.close()
    assert command(config, *words) == 104
    assert message in capsys.readouterr().err


def test_the_rules_of_a_region_are_shown_with_their_sources(config, capsys):
    assert command(config, "rules", "--region", "DE") == 0
    out = capsys.readouterr().out
    assert "Regulation (EU) 2024/1689, Art. 50(1)" in out
    assert "record     explicit, after ai_disclosure, data_notice, recording_notice" in out
    assert "not legal advice" in out
    assert command(config, "rules", "--direction", "outbound") == 0
    out = capsys.readouterr().out
    assert "Cal. Penal Code 632, 632.7" in out
    assert "call       written" in out


def test_callquake_passes_the_command_on():
    module, before, _ = _PASSED_ON["compliance"]
    assert (module, before) == ("target_stack", ["compliance"])


def test_off_by_default_and_on_with_a_file(config, tmp_path):
    assert config_from(parser({}).parse_args(["up"]), {}).compliance is None
    settings = config_from(parser({}).parse_args(["up", "--compliance", str(config)]), {}).compliance
    assert settings.folder == tmp_path / "data"
    assert settings.store == str(tmp_path / "data" / "compliance.sqlite")
    assert settings.block.default_region == "US-CA"


def test_the_stack_counts_it_where_it_is_on(config):
    for words, is_on in (([], False), (["--compliance", str(config)], True)):
        stack = Stack(config_from(parser({}).parse_args(["up", *words]), {}))

        async def told(stack=stack):
            return stack._metrics()

        assert ("callquake_compliance_calls_total 0\n" in asyncio.run(told())) == is_on


def test_defaults_and_urls(tmp_path):
    home = read_settings(None, {"HOME": str(tmp_path)})
    assert home.folder == tmp_path / ".local" / "share" / "callquake" / "compliance"
    assert read_settings(None, {"XDG_DATA_HOME": "/data"}).store == "/data/callquake/compliance/compliance.sqlite"
    path = tmp_path / "a.yaml"
    path.write_text("compliance: {store: 'postgresql://u@h/db'}")
    assert read_settings(path, {}).store == "postgresql://u@h/db"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("compliance: [", "no YAML"),
        ("- 1", "must hold one block, `compliance:`"),
        ("compliance: {recrod: true}", r"compliance.recrod: .*legal: store, folder"),
        ("compliance: {activities: [record]}", "process must be among them"),
        ("compliance: {activities: [dance]}", r"compliance.activities.0: .*'call', 'process'"),
        ("compliance: {keys: {agree: '2'}}", "three different keys"),
        ("compliance: {keys: {agree: 'x'}}", "compliance.keys.agree"),
        ("compliance: {asks: 0}", "compliance.asks: .*greater than or equal to 1"),
        ("compliance: {texts: {ai_disclosure: 'Hi {name}'}}", r"\{name\} is no field; legal: agree, days, operator"),
        ("compliance: {store: 'mysql://h/db'}", "mysql://h/db: legal: a file, or postgresql://"),
        ("compliance: {rules: none.yaml}", r"none\.yaml: cannot be read"),
    ],
)
def test_a_wrong_block_is_refused_with_file_and_place(tmp_path, text, message):
    path = tmp_path / "stack.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=message):
        read_settings(path, {"HOME": str(tmp_path)})


def test_texts_name_operator_days_and_keys():
    script = Script(Texts(), "Example Ltd", {"agree": "1", "refuse": "2", "withdraw": "9"})
    retention = timedelta(days=30)
    assert "Example Ltd" in script.notice(Notice.AI_DISCLOSURE, retention)
    assert "AI" in script.notice(Notice.AI_DISCLOSURE, retention)
    assert "after 30 days" in script.notice(Notice.RECORDING_NOTICE, retention)
    assert "Press 9" in script.notice(Notice.OPT_OUT, retention)
    asked = script.question((Activity.RECORD,), retention, is_answer_heard=False)
    assert asked.endswith("Press 1 for yes, 2 for no.")
    assert "Say yes or no" not in asked


def test_rates_are_metrics_once_there_is_something_to_divide_by():
    counts = ComplianceCounts(calls=4)
    text = render_compliance(counts)
    assert "callquake_compliance_calls_total 4\n" in text
    assert "callquake_compliance_consent_ratio " not in text.replace(
        "# HELP callquake_compliance_consent_ratio ", ""
    ).replace("# TYPE callquake_compliance_consent_ratio ", "")
    counts.disclosures.update(played=3, not_played=1)
    counts.consents.update(given=1, refused=2, unanswered=1, withdrawn=1)
    text = render_compliance(counts)
    assert "callquake_compliance_disclosure_ratio 0.75\n" in text
    assert "callquake_compliance_consent_ratio 0.25\n" in text
    assert 'callquake_compliance_consents_total{result="withdrawn"} 1\n' in text
