"""The leak audit in every report, and its part of the verdict."""

import json
from xml.etree import ElementTree as ET

import pytest
from run_records import make_call, make_health, make_turn
from sample_run import write_records, write_run

from harness.exit_codes import ExitCode
from harness.model.audit_sample import AuditSample, Side
from harness.model.codec import to_json
from harness.report.finish import finish_run

pytestmark = pytest.mark.unit

S = 1_000_000_000


def write_audit(folder, *, leak_mib=0.0, is_read=True, **rules):
    """Forty seconds of one process of the target's, a sample a second, and one after."""
    values = {"rss_mib": 100.0, "descriptors": 20.0, "threads": 5.0, "calls": 4.0}
    rows = []
    for n in range(-1, 42):
        held = values | {"rss_mib": 100.0 + leak_mib * n, "calls": 4.0 if 0 <= n < 40 else 0.0}
        rows.append(
            AuditSample(
                n * S if n >= 0 else 0, Side.TARGET, "s1", 7, held if is_read else {}, "" if is_read else "no", n >= 40
            )
        )
    (folder / "audit.jsonl").write_text("".join(json.dumps(to_json(row)) + "\n" for row in rows))
    (folder / "audit-rules.json").write_text(json.dumps({"of": ["target"], "every_s": 1.0, "windows": 20} | rules))


def finished(folder, capsys):
    write_records(folder, [make_call("c0")], [make_turn("c0", turn=i) for i in range(1, 10)], [make_health(10.0)])
    info = json.loads((folder / "run.json").read_text())
    info["scenario"]["thresholds"] = ["response_ratio >= 0.5"]
    (folder / "run.json").write_text(json.dumps(info | {"first_due_monotonic_ns": S // 2}))
    result = finish_run(folder)
    written = {
        name: " ".join((folder / name).read_text().split()) for name in ("report.html", "summary.json", "junit.xml")
    }
    return result, " ".join(capsys.readouterr().out.split()), written


def test_level_process_passes_with_its_figures(tmp_path, capsys):
    write_run(tmp_path)
    write_audit(tmp_path)
    result, text, written = finished(tmp_path, capsys)
    assert result.exit_code is ExitCode.PASSED
    assert "Leak audit 1 processes of the target, 0 of our own, sampled every 1 s" in text
    assert "pass s1 (target, pid 7): memory at load 100 to 100 MiB, +0 an hour (+0 to +0, n 20)" in text
    assert "calls left 0 to 0, +0" in text
    assert "<h2>Leak audit</h2>" in written["report.html"]
    told = json.loads((tmp_path / "summary.json").read_text())["leak_audit"]
    assert (told["verdict"], told["calls_up"], told["processes"][0]["samples"]) == ("PASSED", 2, 43)
    assert ET.fromstring(written["junit.xml"]).find(".//testcase[@name='s1 (target, pid 7)']/*") is None


def test_leak_fails_the_run_by_name_and_number(tmp_path, capsys):
    write_run(tmp_path)
    write_audit(tmp_path, leak_mib=0.5)
    result, text, written = finished(tmp_path, capsys)
    assert result.exit_code is ExitCode.FAILED
    assert "leak audit: s1, pid 7: rss_mib: grew by +1.8e+03 an hour" in text
    (failure,) = ET.fromstring(written["junit.xml"]).findall(".//testcase[@name='s1 (target, pid 7)']/failure")
    assert "memory at load: grew by" in failure.text
    assert "grew by" not in json.loads((tmp_path / "summary.json").read_text())["leak_audit"]["missing"]


def test_process_that_cannot_be_read_is_no_data_and_not_measured(tmp_path, capsys):
    write_run(tmp_path)
    write_audit(tmp_path, is_read=False)
    result, text, written = finished(tmp_path, capsys)
    assert result.exit_code is ExitCode.NO_DATA
    assert "no process of the target's was read: no" in text
    assert "not measured" in written["report.html"]


def test_audit_that_was_asked_for_and_not_done_is_no_data(tmp_path, capsys):
    write_run(tmp_path)
    info = json.loads((tmp_path / "run.json").read_text())
    info["scenario"]["audit"] = {}
    (tmp_path / "run.json").write_text(json.dumps(info))
    result, text, written = finished(tmp_path, capsys)
    assert result.exit_code is ExitCode.NO_DATA
    assert "no process of the target's was read: nobody sampled any" in text
    # A case for each side, each under a name of its own.
    cases = ET.fromstring(written["junit.xml"]).findall(".//testcase[error]")
    assert [one.get("name") for one in cases if one.get("classname").endswith(".leak_audit")] == ["target", "ours"]


def test_run_without_one_says_nothing_of_it(tmp_path, capsys):
    write_run(tmp_path)
    result, text, written = finished(tmp_path, capsys)
    assert result.exit_code is ExitCode.PASSED
    assert "Leak audit" not in text + written["report.html"]
    assert json.loads((tmp_path / "summary.json").read_text())["leak_audit"] is None
