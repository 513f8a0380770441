"""A run against an emulated agent: every report says so, and no WER comes of words that nobody heard."""

import json
from xml.etree import ElementTree as ET

import pytest
import sample_run
import side_by_side_run

from harness.report.emulated import NO_WORDS
from harness.report.finish import finish_run

pytestmark = pytest.mark.unit

MARK = "target: emulated (service times from my-laptop)"
SIMULATED = [MARK, "stt: emulated (service times from my-laptop); it hears how long an utterance is"]
ABOUT = {"profile": "emulated", "simulated": SIMULATED}


def test_every_report_of_an_emulated_target_says_so(tmp_path, capsys):
    run_dir = sample_run.write_run(tmp_path / "run", target_info=ABOUT, simulated=SIMULATED)
    finish_run(run_dir)
    said = " ".join(capsys.readouterr().out.split())
    # On a terminal beside the verdict itself, ahead of everything measured.
    assert said.index(MARK) < said.index("Thresholds")
    verdict = json.loads((run_dir / "verdict.json").read_text())
    summary = json.loads((run_dir / "summary.json").read_text())
    assert verdict["simulated"] == summary["simulated"] == SIMULATED
    assert f"Simulated: {MARK}." in summary["notes"]
    assert MARK in (run_dir / "report.html").read_text()
    told = ET.parse(run_dir / "junit.xml").iter("property")
    assert [p.get("value") for p in told if p.get("name") == "simulated"] == SIMULATED


def test_words_of_an_emulated_recogniser_are_no_wer_even_where_some_are_told(tmp_path):
    """The sample's turns have hypotheses: from this target they are none."""
    real = sample_run.write_run(tmp_path / "real")
    emulated = sample_run.write_run(tmp_path / "emulated", target_info=ABOUT, simulated=SIMULATED)
    for run_dir in (real, emulated):
        finish_run(run_dir)
    wer = {run_dir: json.loads((run_dir / "summary.json").read_text())["wer"] for run_dir in (real, emulated)}
    assert wer[real]["wer"] is not None
    assert wer[emulated].get("wer") is None
    assert NO_WORDS in json.dumps(wer[emulated])
    rows = {row["expression"]: row for row in json.loads((emulated / "verdict.json").read_text())["thresholds"]}
    assert rows["wer < 0.15"]["verdict"] == "NO DATA"
    assert rows["wer < 0.15"]["value"] is None


def test_of_several_targets_only_the_emulated_one_has_no_wer(tmp_path):
    run_dir = side_by_side_run.write_run(tmp_path / "run")
    raw = json.loads((run_dir / "run.json").read_text())
    raw["targets"]["web"]["info"] = ABOUT
    (run_dir / "run.json").write_text(json.dumps(raw))
    finish_run(run_dir)
    summary = json.loads((run_dir / "summary.json").read_text())
    assert NO_WORDS in json.dumps(summary["by_target"])
    # The phone told no transcripts in any case.
    assert summary["wer"].get("wer") is None
