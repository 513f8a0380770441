"""A fault that is not undone fails the run in every report, and so does what a fault claimed and the run refuted."""

import json
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from sample_run import START_NS, write_run

from harness.exit_codes import ExitCode
from harness.model.codec import to_json
from harness.model.fault import Evidence, Fault, FaultEvent, FaultMoment, Unmoved, Where
from harness.report.finish import Result, finish_run

pytestmark = pytest.mark.unit

S = 1_000_000_000
PASSES = {"name": "night", "thresholds": ["ttfb_ms p50 < 9000"]}
WHY = "http://127.0.0.1:8080: could not be undone: llm: no <memory> left"


def finished(folder: Path, *ends: FaultMoment, fault: Fault | None = None, **info: object) -> Result:
    """Judge a run that passes its threshold, of which one fault came to such ends."""
    run = write_run(folder, **{"scenario": PASSES, **info})
    spec = fault or Fault("slow", "stage.delay", Where.TARGET, parameters={"stage": "llm", "delay_ms": 900.0})
    told = [FaultEvent("slow", FaultMoment.STARTED, START_NS + 30 * S, "t", spec=spec)]
    for end in ends:
        detail = "" if end is FaultMoment.STOPPED else WHY
        told.append(FaultEvent("slow", end, START_NS + 60 * S, "t", Evidence(9, "requests delayed"), detail))
    (run / "faults.jsonl").write_text("".join(json.dumps(to_json(event)) + "\n" for event in told))
    return finish_run(run)


def cases(folder: Path) -> dict[str, ET.Element]:
    suite = ET.parse(folder / "junit.xml").getroot()[0]
    return {str(case.get("name")): case for case in suite.findall("testcase")}


def test_a_run_that_leaves_its_target_broken_is_red_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = finished(tmp_path, FaultMoment.NOT_UNDONE)
    said = f"fault slow (stage.delay) was not undone: {WHY}"
    assert (result.exit_code, result.verdict.kind.value) == (ExitCode.FAILED, "FAILED")
    assert result.verdict.deciding.startswith(said)
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    assert (verdict["exit_code"], verdict["deciding"]) == (99, result.verdict.deciding)
    (one,) = result.summary["faults"]
    assert (one["injected"], one["not_undone"], one["failure"]) == (True, WHY, "")
    suite = ET.parse(tmp_path / "junit.xml").getroot()[0]
    assert (suite.get("failures"), suite.get("errors")) == ("1", "0")
    failure = cases(tmp_path)["slow (stage.delay) was undone"].find("failure")
    assert failure is not None
    assert failure.get("message") == WHY
    assert list(cases(tmp_path)["slow (stage.delay) was injected"]) == []
    text: list[str] = []
    page = HTMLParser()
    page.handle_data = text.append  # type: ignore[method-assign]
    page.feed((tmp_path / "report.html").read_text())
    assert said in "".join(text)
    assert "not undone" in [part.strip() for part in text]
    printed = " ".join(capsys.readouterr().out.split())
    assert f"NOT UNDONE: {WHY}" in printed
    assert printed.startswith(f"FAILED night, seed 7, 1 min 54 s {said}")


def test_one_that_is_undone_is_green(tmp_path: Path) -> None:
    result = finished(tmp_path, FaultMoment.STOPPED)
    assert (result.exit_code, result.summary["faults"][0]["not_undone"]) == (ExitCode.PASSED, "")
    assert list(cases(tmp_path)["slow (stage.delay) was undone"]) == []


def test_one_that_did_not_begin_and_left_something_behind_is_both(tmp_path: Path) -> None:
    run = write_run(tmp_path, scenario=PASSES)
    spec = Fault("dies", "process.kill", Where.INFRASTRUCTURE)
    told = [
        FaultEvent("dies", FaultMoment.FAILED, START_NS + 30 * S, "t", detail="no such process", spec=spec),
        FaultEvent("dies", FaultMoment.NOT_UNDONE, START_NS + 31 * S, "t", detail="status 3"),
    ]
    (run / "faults.jsonl").write_text("".join(json.dumps(to_json(event)) + "\n" for event in told))
    assert finish_run(run, print_report=False).exit_code is ExitCode.FAILED
    failed = cases(tmp_path)
    assert failed["dies (process.kill) was injected"].find("error") is not None
    assert failed["dies (process.kill) was undone"].find("failure") is not None


def test_a_void_run_tells_it_beside_its_own_reason(tmp_path: Path) -> None:
    result = finished(tmp_path, FaultMoment.NOT_UNDONE, status="engine_died")
    assert result.exit_code is ExitCode.VOID
    assert any("was not undone" in reason for reason in result.verdict.reasons[1:])
    assert cases(tmp_path)["slow (stage.delay) was undone"].find("failure") is not None


def test_a_refuted_claim_is_red_in_junit_and_an_untold_one_is_skipped(tmp_path: Path) -> None:
    claims = (Unmoved("ttfb_ms p50", 0.0), Unmoved("ttfb_ms p50", 9_000.0))
    fault = Fault("slow", "stage.delay", Where.TARGET, unmoved=claims, recovers_within_ms=5_000.0)
    assert finished(tmp_path, FaultMoment.STOPPED, fault=fault).exit_code is ExitCode.FAILED
    found = cases(tmp_path)
    refuted = found["slow: ttfb_ms p50 stays within 0"].find("failure")
    assert refuted is not None
    assert " before, " in str(refuted.get("message"))
    assert list(found["slow: ttfb_ms p50 stays within 9000"]) == []
    assert found["slow: recovers within 5 s"].find("skipped") is not None
    suite = ET.parse(tmp_path / "junit.xml").getroot()[0]
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("1", "0", "1")
