"""Where calibrations are kept, and which one a run is given."""

import json
from dataclasses import replace

import pytest
from calibration_records import GOOD, calibration

from harness.calibrate import saved
from harness.calibrate.machine import describe_affinity, machine_key
from harness.model.errors import ScenarioError

pytestmark = pytest.mark.unit


def made(
    callers=100, at="2026-11-22T10:00:00.000Z", *, is_partial=False, machine=None, media_loop="compiled", **conditions
):
    whole = calibration(replace(GOOD, callers=callers))
    return replace(
        whole,
        machine=machine or machine_key(),
        calibrated_at=at,
        is_partial=is_partial,
        media_loop=media_loop,
        conditions=replace(whole.conditions, **conditions),
    )


def last(file, transport="webrtc", codec="opus", **run):
    found = saved.last_calibration(transport, codec, file, **run)
    return found.callers if found else None


def test_nothing_was_saved_yet(tmp_path):
    assert last(tmp_path / "none.json") is None


def test_the_last_whole_one_of_this_machine_without_loss_counts(tmp_path):
    file = tmp_path / "state" / "calibration.json"
    for one in (
        made(1000, "2026-11-20T10:00:00.000Z"),
        made(500, "2026-11-21T10:00:00.000Z", silence="dtx"),
        made(20, "2026-11-22T10:00:00.000Z", is_quick=True),
        made(50, "2026-11-22T11:00:00.000Z", is_partial=True),
        made(2000, "2026-11-22T12:00:00.000Z", loss_ratio=0.02),
        made(4000, "2026-11-22T13:00:00.000Z", machine="another"),
        made(3000, "2026-11-22T14:00:00.000Z", transport="rtp", codec="PCMU"),
    ):
        assert saved.save(one, file) == file
    assert last(file) == 1000
    assert last(file, "rtp", "pcmu") == 3000
    assert last(file, "rtp", "G722") is None


def test_a_calibration_stands_only_for_the_media_loop_it_was_made_with(tmp_path):
    file = tmp_path / "calibration.json"
    saved.save(made(1000, "2026-11-20T10:00:00.000Z"), file)
    assert last(file, media_loop="python") is None
    saved.save(made(50, "2026-11-21T10:00:00.000Z", media_loop="python"), file)
    assert last(file, media_loop="python") == 50
    assert last(file, media_loop="compiled") == 1000


def test_of_several_the_one_with_the_runs_source_ports_is_taken(tmp_path):
    file = tmp_path / "calibration.json"
    saved.save(made(400, "2026-11-20T10:00:00.000Z"), file)
    saved.save(made(300, "2026-11-21T10:00:00.000Z", source_ports="per_call"), file)
    assert last(file) == 400
    assert last(file, source_ports="per_call") == 300
    saved.save(made(200, "2026-11-22T10:00:00.000Z", source_ports="per_call", silence="dtx"), file)
    assert last(file, source_ports="per_call") == 300


def test_a_quick_one_is_better_than_none(tmp_path):
    file = tmp_path / "calibration.json"
    saved.save(made(20, is_quick=True), file)
    assert last(file) == 20


def test_a_new_one_replaces_the_old_one(tmp_path):
    file = tmp_path / "calibration.json"
    saved.save(made(1000), file)
    saved.save(made(800), file)
    assert last(file) == 800
    assert len(json.loads(file.read_text())["machines"][machine_key()]) == 1
    assert [p.name for p in tmp_path.iterdir()] == [file.name]


def test_the_file_is_where_the_user_says(tmp_path, monkeypatch):
    monkeypatch.setenv("CALLQUAKE_CALIBRATION", str(tmp_path / "mine.json"))
    assert saved.calibration_file() == tmp_path / "mine.json"
    monkeypatch.delenv("CALLQUAKE_CALIBRATION")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert saved.calibration_file() == tmp_path / "callquake" / "calibration.json"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not JSON"),
        ('{"schema_version": 99, "machines": {}}', "schema_version 99; this callquake reads 1"),
        ("[]", "schema_version None"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_and_kept_aside(tmp_path, content, words):
    file = tmp_path / "calibration.json"
    file.write_text(content)
    with pytest.raises(ScenarioError, match=words):
        saved.last_calibration("webrtc", "opus", file)
    saved.save(made(100), file)
    assert last(file) == 100
    assert (tmp_path / "calibration.json.unreadable").read_text() == content


def test_an_entry_that_is_no_calibration_is_told(tmp_path):
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps({"schema_version": 1, "machines": {machine_key(): {"x": {"machine": "m"}}}}))
    with pytest.raises(ScenarioError, match=r"Calibration\.calibrated_at is missing"):
        saved.last_calibration("webrtc", "opus", file)


@pytest.mark.parametrize(
    ("engine", "responder", "words"),
    [
        ({0}, {1}, "engine on CPU 0, responder on CPU 1"),
        ({0, 1, 2}, {3}, "engine on CPU 0-2, responder on CPU 3"),
        ({0}, {0}, "share CPU 0"),
    ],
)
def test_which_cpus_were_used_is_said(engine, responder, words):
    assert words in describe_affinity(engine, responder)
