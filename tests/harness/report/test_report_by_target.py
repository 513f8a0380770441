"""The reports of a run with several targets: both side by side everywhere, and nothing of it where there is one."""

import json
import re
from xml.etree import ElementTree as ET

import pytest
import sample_run
import side_by_side_run

from harness.measure.ttfb import measure as ttfb_of
from harness.report.charts.targets import distributions
from harness.report.finish import finish_run
from harness.report.store import read_run

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    directory = side_by_side_run.write_run(tmp_path_factory.mktemp("side"), calls=10, slower_ms=180.0)
    finish_run(directory, print_report=False)
    return directory


@pytest.fixture(scope="module")
def summary(run_dir):
    return json.loads((run_dir / "summary.json").read_text())


def test_summary_json(summary):
    web, phone = (summary["by_target"]["targets"][name] for name in ("web", "phone"))
    assert (web["calls"]["placed"], phone["calls"]["placed"]) == (10, 10)
    assert web["setup_steps_ms"].keys() == {"queue", "signalling", "ice", "dtls"}
    assert phone["setup_steps_ms"].keys() == {"queue", "signalling"}
    assert (web["sip"], phone["sip"]["ser"]["ratio"]) == (None, 1.0)
    assert (phone["wer"], phone["wer_not_measured"]) == (None, "the target has no transcript channel")
    assert web["wer"]["n_words"] > 100
    assert web["packets"]["loss_ratio"] == pytest.approx(0.005)
    assert phone["packets"]["loss_ratio"] is None
    assert (web["stage_means_ms"]["name"], phone["stage_means_ms"]) == ("web", None)
    assert sum(web["stage_means_ms"]["parts"].values()) == pytest.approx(web["stage_means_ms"]["ttfb_ms"])
    (difference,) = summary["by_target"]["differences"]
    p50 = difference["ms"]["TTFB p50"]
    assert (p50["value"], p50["ci95"], p50["is_shown"]) == (pytest.approx(180), [pytest.approx(180)] * 2, True)
    assert difference["ms"]["TTFB p95"]["ci95"] is None
    assert "at least 72 are needed" in difference["ms"]["TTFB p95"]["why"]
    assert summary["target"]["url"] == "web=http://127.0.0.1:8080/api/offer phone=sip:agent@127.0.0.1:5060"
    assert "WER of phone was not measured: the target has no transcript channel." in summary["notes"]
    # The phone's turns have no channel that could have brought a transcript later.
    assert not any("before a transcript came" in note for note in summary["notes"])


def test_html(run_dir):
    page = (run_dir / "report.html").read_text()
    section = page[page.index("<h2>By target</h2>") : page.index("<h2>Where the time goes</h2>")]
    text = " ".join(re.sub(r"<[^>]+>", " ", section).split())
    for words in (
        "web http://127.0.0.1:8080/api/offer",
        "phone sip:agent@127.0.0.1:5060",
        "Over webrtc, opus sip, PCMU",
        "ICE 61 / 61 ms n/a",
        "SRD INVITE to the first sign of what becomes of it n/a 11 / 11 ms",
        "phone minus web",
        "TTFB p50 +180 ms 95% +180 to +180 ms slower",
    ):
        assert words in text, words
    assert "TTFB of each target, as shares of its turns" in section
    # The phone tells nothing of its stages.
    assert section.count('class="chart"') == 2
    assert "Mean TTFB by stage" in section
    assert "call-000001 · phone · sip, PCMU" in page


def test_text_is_at_most_96_wide(run_dir, capsys):
    finish_run(run_dir)
    told = capsys.readouterr().out
    block = told[told.index("By target") : told.index("SIP    ")]
    assert max(map(len, told.splitlines())) <= 96
    assert re.search(r"^ +web +phone$", block, re.MULTILINE)
    assert re.search(r"WER +\d+\.\d% \(.*\) +not measured", block)
    assert "not enough data: 3" in block
    assert "web: not calibrated on this machine" in told
    assert "phone: not" in told


def test_junit_groups_what_is_asked_of_one_target(run_dir):
    cases = list(ET.parse(run_dir / "junit.xml").iter("testcase"))
    names = {case.get("name"): case.get("classname") for case in cases}
    assert names["ttfb_ms{target:phone} p50 < 10"] == "callquake.side_by_side.phone"
    assert names["ttfb_ms{target:web} p50 < 4000"] == "callquake.side_by_side.web"
    assert names["setup_ms{transport:sip} p95 < 2000"] == "callquake.side_by_side"
    failed = [case.get("classname") for case in cases if case.find("failure") is not None]
    assert failed == ["callquake.side_by_side.phone"]


def test_a_run_with_one_target_has_no_such_section(tmp_path, capsys):
    directory = sample_run.write_run(tmp_path / "one")
    result = finish_run(directory)
    assert result.summary["by_target"] is None
    page = (directory / "report.html").read_text()
    assert "By target" not in page
    assert "<dt>Target</dt>" in page
    assert "By target" not in capsys.readouterr().out
    assert not {"target", "transport"} & {row["segment"] for row in result.summary["wer"]["by_segment"]}


def test_a_target_that_was_never_reached_still_has_its_row(tmp_path):
    directory = side_by_side_run.write_run(tmp_path / "gone", calls=4)
    for name in ("calls.jsonl", "turns.jsonl"):
        lines = (directory / name).read_text().splitlines()
        (directory / name).write_text("".join(f"{line}\n" for line in lines if '"target": "phone"' not in line))
    summary = finish_run(directory, print_report=False).summary
    assert summary["by_target"]["targets"]["phone"]["calls"]["placed"] == 0
    assert summary["by_target"]["differences"][0]["ms"]["TTFB p50"]["value"] is None
    assert "Nothing was measured on both." in (directory / "report.html").read_text()


def test_many_targets_fit_on_a_terminal(tmp_path, capsys):
    directory = side_by_side_run.write_run(tmp_path / "many", calls=2)
    info = json.loads((directory / "run.json").read_text())
    names = ["web", "phone", "third-with-a-long-name", "fourth", "fifth"]
    info["targets"] = {name: {"target": {"url": f"sip:{name}@h"}} for name in names}
    (directory / "run.json").write_text(json.dumps(info))
    finish_run(directory)
    told = capsys.readouterr().out
    assert max(len(line) for line in told.splitlines() if not line.startswith("Report: ")) <= 96
    assert all(name in told for name in names)


def test_a_damaged_list_of_targets_is_no_list(tmp_path):
    directory = side_by_side_run.write_run(tmp_path / "odd", calls=2, targets=[1, 2])
    assert read_run(directory).info.targets == ()
    finish_run(directory, print_report=False)
    directory = side_by_side_run.write_run(tmp_path / "odder", calls=2, targets={"web": 7, "phone": {"target": "x"}})
    assert [one.target for one in read_run(directory).info.targets] == [{}, {}]
    finish_run(directory, print_report=False)


def test_old_records_are_read_as_one_targets(tmp_path):
    directory = sample_run.write_run(tmp_path / "old")
    for name in ("calls.jsonl", "turns.jsonl"):
        rows = [json.loads(line) for line in (directory / name).read_text().splitlines()]
        for row in rows:
            for key in ("target", "story"):
                row.pop(key, None)
            if name == "turns.jsonl":
                del row["transport"]
        (directory / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = read_run(directory)
    assert {call.target for call in run.calls} == {turn.target for turn in run.turns} == {""}
    assert {turn.transport for turn in run.turns} == {""}


def test_the_chart_bears_targets_without_turns():
    nobody = ttfb_of([])
    assert distributions([("web", nobody), ("phone", nobody)]) == ""
