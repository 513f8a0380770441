"""What every report says of the generator: the reason of a void run with its remedy, and impairments as ours."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from run_records import make_call, make_health, make_turn
from sample_run import write_records, write_run

from harness.exit_codes import ExitCode
from harness.model.records import MediaStats
from harness.report.finish import finish_run

pytestmark = pytest.mark.unit


def reports(run_dir: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in run_dir.iterdir() if p.suffix in {".html", ".xml", ".json"}}


@pytest.mark.parametrize(
    ("health", "reason", "remedy"),
    [
        ({"overflows": 2}, "found no room in the engine", "place fewer calls per worker"),
        ({"clock_step_ms": 40.0}, "the wall clock stepped by 40 ms", "let the clock settle first"),
        ({"lateness_ms": (25.0,) * 9}, "20 ms packets left late: lateness p99 25.0 ms", "keep other programs off"),
    ],
)
def test_a_void_run_says_reason_and_remedy_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], health: dict[str, object], reason: str, remedy: str
) -> None:
    write_run(tmp_path)
    turns = [make_turn("c0", turn=i) for i in range(1, 10)]
    write_records(tmp_path, [make_call("c0")], turns, [make_health(10.0, **health)])
    result = finish_run(tmp_path)
    assert result.exit_code is ExitCode.VOID
    text = " ".join(capsys.readouterr().out.split())
    written = reports(tmp_path)
    for where in (text, *(" ".join(written[n].split()) for n in ("report.html", "verdict.json", "summary.json"))):
        assert reason in where
        assert remedy in where
    (error,) = ET.fromstring(written["junit.xml"]).findall(".//testcase[@name='generator kept time']/error")
    assert (error.get("type"), reason in (error.text or ""), remedy in (error.text or "")) == ("void", True, True)


def test_an_engine_that_refused_to_start_is_void_with_its_own_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = "the engine did not start: 3000 calls at once need 6,256 open files, and there are 1,024: raise the limit"
    write_run(tmp_path, status="engine_died", notes=[note])
    write_records(tmp_path, [], [], [])
    assert finish_run(tmp_path).exit_code is ExitCode.VOID
    assert "3000 calls at once need 6,256 open files" in " ".join(capsys.readouterr().out.split())
    assert json.loads((tmp_path / "verdict.json").read_text())["deciding"] == note
    # It refused: nothing died, and there were no calls to be lost.
    report = (tmp_path / "report.html").read_text()
    assert "An engine refused to start, or could not; no call was placed." in report
    assert "An engine process died" not in report


def test_impairments_are_named_and_told_from_the_networks_loss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path)
    media = MediaStats(1_000, 900, packets_lost=90, impaired_lost_outgoing=50, impaired_lost_incoming=80)
    bent = {"outgoing": "5% loss", "incoming": "8% loss, delay 50 ms"}
    calls = [make_call("a", caller="bad-line", impairments=bent, media=media), make_call("b")]
    write_records(tmp_path, calls, [make_turn("a"), make_turn("b")], [make_health()])
    finish_run(tmp_path)
    text = " ".join(capsys.readouterr().out.split())
    assert "Impaired on purpose, caller bad-line: outgoing 5% loss; incoming 8% loss, delay 50 ms." in text
    dropped = "Dropped on purpose: 50 of 1000 packets to the agent, 80 from it. The 90 packets of the agent missing by"
    assert f"{dropped} sequence number include the latter, save those that none came after: no number tells" in text
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["impairments"] == {"bad-line": bent}
    assert summary["packets"] == {
        "sent": 1000, "received": 900, "by_sequence": 90, "impaired_outgoing": 50, "impaired_incoming": 80,
    }  # fmt: skip


def test_a_run_without_impairments_says_nothing_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finish_run(write_run(tmp_path))
    assert "on purpose" not in capsys.readouterr().out
