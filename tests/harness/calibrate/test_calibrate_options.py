"""`callquake calibrate`: wrong options are told before anything starts, and what `run` says of the last calibration."""

import argparse
import json
from dataclasses import replace

import pytest
from calibration_records import GOOD, calibration

from harness import cli
from harness.calibrate import saved
from harness.calibrate.climb import responder_words
from harness.calibrate.machine import machine_key, media_loop_mode
from harness.calibrate.plans import call_plans
from harness.commands.calibrate import DEFAULT_CALLERS, add_arguments, read_options
from harness.commands.calibration_hint import calibration_hint
from harness.exit_codes import ExitCode
from harness.scenario.check import prepare
from harness.scenario.concurrency import peak_calls

pytestmark = pytest.mark.unit

SCENARIO = """\
name: many
target: {{url: "http://127.0.0.1:9/offer"}}
callers: [{{name: any, turns: 2, think_ms: [0, 0]}}]
load: {load}
limits: {{call_timeout_s: 600}}
"""


def parsed(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return read_options(parser.parse_args(words))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--callers", "5,4"], "--callers: got '5,4'; legal: rising whole numbers"),
        (["--callers", "0"], "--callers: got '0'"),
        (["--callers", "ten"], "--callers: got 'ten'"),
        (["--callers", "100001"], "1 to 100000"),
        (["--codec", "PCMU"], "--codec: got 'PCMU' with --transport webrtc; legal: opus"),
        (["--transport", "rtp", "--codec", "speex"], "legal: PCMU, PCMA, G722, opus"),
        (["--delay-ms", "100"], "--delay-ms: got '100'; legal: MS or MS:MS, rising, from 220 to 10000"),
        (["--delay-ms", "900:300"], "--delay-ms: got '900:300'"),
        (["--leading-silence-ms", "-1"], "--leading-silence-ms: got '-1'"),
        (["--loss", "0.6"], "--loss: got '0.6'; legal: a number from 0 to 0.5"),
        (["--loss", "nan"], "--loss: got 'nan'"),
        (["--duration", "1"], "--duration: got '1'; legal: a number from 3 to 86400"),
        (["--turns", "0"], "--turns: got '0'; legal: a whole number from 1 to 10000"),
        (["--turns", "3", "--duration", "5"], "--turns and --duration: both given"),
        (["--json", "/nonexistent/x.json"], "--json: got /nonexistent/x.json; legal: a file in a folder that exists"),
    ],
)
def test_a_wrong_option_is_told_with_the_legal_values(words, told, capsys):
    option, value = words[-2:]
    joined = [*words[:-2], f"{option}={value}"]
    assert cli.main(["calibrate", *joined]) == ExitCode.BAD_SCENARIO
    captured = capsys.readouterr()
    assert told in captured.err
    assert captured.out == ""


def test_options_become_conditions_and_steps():
    conditions, callers = parsed()
    assert callers == DEFAULT_CALLERS["webrtc"]
    assert (conditions.transport, conditions.codec, conditions.duration_s) == ("webrtc", "opus", 20)
    conditions, callers = parsed("--transport", "rtp", "--codec", "pcma", "--callers", "10,20", "--silence", "dtx")
    assert (conditions.codec, conditions.silence, callers) == ("PCMA", "dtx", (10, 20))
    assert parsed("--quick")[0].is_quick
    assert parsed("--turns", "4")[0].turns == 4


def test_the_responder_is_told_the_conditions(tmp_path):
    conditions, _ = parsed(
        "--delay-ms", "300:700", "--leading-silence-ms", "0:200", "--loss", "0.02", "--silence", "dtx"
    )
    words = " ".join(responder_words(conditions, tmp_path / "truth"))
    assert "--delay-ms 300:700 --leading-silence-ms 0:200 --silence dtx --loss 0.02 --hear size" in words


def test_calls_of_a_step_are_planned_alike_again_and_fill_it():
    conditions, _ = parsed("--duration", "30")
    plans = call_plans("s1", 3, "http://127.0.0.1:9/offer", ["a", "b"], conditions)
    assert plans == call_plans("s1", 3, "http://127.0.0.1:9/offer", ["a", "b"], conditions)
    assert [p.call_id for p in plans] == ["s1-0000", "s1-0001", "s1-0002"]
    assert plans[0].turns != plans[1].turns
    # Were every answer as fast as it may be, the call would still outlast its step.
    assert len(plans[0].turns) * (600 + 250 + 400 + 200 + 100) > 30_000


def prepared(tmp_path, load):
    file = tmp_path / "many.yaml"
    file.write_text(SCENARIO.format(load=load))
    return prepare(file)


@pytest.mark.parametrize(
    ("load", "least", "most"),
    [
        ("{users: {stages: [{duration_s: 5, users: 30}, {duration_s: 5, users: 10}]}}", 30, 30),
        ("{users: {stages: [{duration_s: 5, users: 30}], calls: 7}}", 7, 7),
        ("{arrivals: {distribution: uniform, rate_per_minute: 600, calls: 5}}", 5, 5),
        # Ten a second, each of two turns of some ten seconds: about two hundred at once.
        ("{arrivals: {distribution: uniform, rate_per_minute: 600, calls: 1000}}", 100, 300),
    ],
)
def test_the_peak_of_a_scenario_is_estimated(tmp_path, load, least, most):
    assert least <= peak_calls(prepared(tmp_path, load)) <= most


def test_run_warns_of_more_calls_than_were_calibrated(tmp_path, monkeypatch):
    file = tmp_path / "calibration.json"
    monkeypatch.setenv("CALLQUAKE_CALIBRATION", str(file))
    scenario = prepared(tmp_path, "{users: {stages: [{duration_s: 5, users: 150}]}}")
    assert "not calibrated on this machine" in calibration_hint(scenario)
    assert "run: callquake calibrate" in calibration_hint(scenario)
    here = {"machine": machine_key(), "media_loop": media_loop_mode()}
    saved.save(replace(calibration(GOOD), **here), file)
    hint = calibration_hint(scenario)
    assert "asks for about 150 calls at once, calibrated on 2026-11-22 for 100 an engine" in hint
    assert calibration_hint(scenario, engines=2) == ""
    saved.save(replace(calibration(GOOD, replace(GOOD, callers=200)), **here), file)
    assert calibration_hint(scenario) == ""
    file.write_text(json.dumps({"schema_version": 0}))
    assert "schema_version 0; this callquake reads 1" in calibration_hint(scenario)


def test_run_names_the_command_for_the_scenarios_own_codec(tmp_path, monkeypatch):
    monkeypatch.setenv("CALLQUAKE_CALIBRATION", str(tmp_path / "calibration.json"))
    file = tmp_path / "rtp.yaml"
    text = SCENARIO.format(load="{users: {stages: [{duration_s: 5, users: 150}]}}")
    file.write_text(
        text.replace('{url: "http://127.0.0.1:9/offer"}', '{url: "rtp://127.0.0.1:9", transport: rtp, codec: G722}')
    )
    assert calibration_hint(prepare(file)).endswith("run: callquake calibrate --transport rtp --codec G722")
