"""Beside TTFB every report says how true it is: the calibration's error, or that there is none."""

import json
from dataclasses import replace

import pytest
from calibration_records import GOOD, calibration
from run_records import make_call, make_health, make_turn
from sample_run import write_records, write_run

from harness.model.codec import to_json
from harness.model.records import MediaStats
from harness.report.finish import finish_run

pytestmark = pytest.mark.unit


def reports(tmp_path, capsys, **info):
    run_dir = write_run(tmp_path / "run", **info)
    finish_run(run_dir)
    text = " ".join(capsys.readouterr().out.split())
    html = " ".join((run_dir / "report.html").read_text().split())
    return text, html, json.loads((run_dir / "summary.json").read_text())["ttfb_ms"]["measurement_error"]


def test_a_calibrated_run_states_its_error(tmp_path, capsys):
    text, html, figures = reports(tmp_path, capsys, calibration=to_json(calibration(GOOD)))
    words = "measured with an error of +0.2 ms (p99 0.9 ms, n=900, calibrated on 2026-11-22 at 100 callers)"
    assert words in text
    assert words in html
    assert figures["bias_ms"] == 0.2
    assert figures["bias_ci95"] == [0.1, 0.3]
    assert (figures["p99_ms"], figures["n"], figures["at_callers"]) == (0.9, 900, 100)


@pytest.mark.parametrize("damaged", [None, {"steps": 3}, "x"], ids=["none", "damaged", "no object"])
def test_a_run_of_a_machine_without_calibration_says_so(tmp_path, capsys, damaged):
    text, html, figures = reports(tmp_path, capsys, calibration=damaged)
    words = "not calibrated on this machine; run: callquake calibrate"
    assert words in text
    assert words in html
    assert figures is None


def test_a_run_with_more_calls_than_calibrated_has_an_unknown_error(tmp_path, capsys):
    small = calibration(replace(GOOD, callers=1))
    text, _, figures = reports(tmp_path, capsys, calibration=to_json(small))
    assert "error not known" in text
    assert "calibrated on 2026-11-22 for at most 1" in text
    assert figures["bias_ms"] is None
    assert figures["calibrated_callers"] == 1


def test_a_quick_or_partial_calibration_is_called_so(tmp_path, capsys):
    whole = calibration(GOOD)
    quick = replace(whole, is_partial=True, conditions=replace(whole.conditions, is_quick=True))
    text, _, _ = reports(tmp_path, capsys, calibration=to_json(quick))
    assert "at 100 callers, partial, quick)" in text


def test_the_command_that_would_calibrate_names_transport_and_codec(tmp_path, capsys):
    target = {"url": "rtp://127.0.0.1:4000", "transport": "rtp", "codec": "G722"}
    command = "run: callquake calibrate --transport rtp --codec G722"
    text, html, _ = reports(tmp_path / "none", capsys, target=target)
    assert f"not calibrated on this machine; {command}" in text
    assert command in html
    small = calibration(replace(GOOD, callers=1))
    small = replace(small, conditions=replace(small.conditions, transport="rtp", codec="G722"))
    text, _, _ = reports(tmp_path / "small", capsys, target=target, calibration=to_json(small))
    assert "error not known" in text
    assert command in text


def report_of(tmp_path, capsys, call, health):
    write_run(tmp_path, calibration=to_json(calibration(GOOD)))
    write_records(tmp_path, [call], [make_turn("a")], [health])
    finish_run(tmp_path)
    return " ".join(capsys.readouterr().out.split()), json.loads((tmp_path / "summary.json").read_text())


def test_a_run_with_impairments_is_not_given_the_bare_figures_of_one_without(tmp_path, capsys):
    media = MediaStats(1_000, 900, impaired_lost_incoming=100)
    bent = make_call("a", impairments={"incoming": "10% loss"}, media=media)
    text, summary = report_of(tmp_path, capsys, bent, make_health(media_loop="compiled"))
    assert "calibrated without impairments, to an error of +0.2 ms" in text
    assert "with 10.0% of packets lost on purpose an onset can be up to a packet (20 ms) late" in text
    assert "measured with an error" not in text
    assert "20 ms" in summary["ttfb_ms"]["measurement_error"]["impaired"]
    assert "interpreted" not in text


def test_a_run_with_another_media_loop_has_an_unknown_error_and_says_so(tmp_path, capsys):
    text, summary = report_of(tmp_path, capsys, make_call("a"), make_health(media_loop="python"))
    words = "error not known: media loop python in this run, compiled as calibrated on 2026-11-22; run: callquake"
    assert words in text
    assert "media loop interpreted" in text
    assert summary["ttfb_ms"]["measurement_error"]["bias_ms"] is None
    assert summary["generator"]["media_loops"] == ["python"]
