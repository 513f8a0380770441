"""`callquake fault start | stop`: what is refused before it is done, and what is undone whoever interrupts it when."""

import json
import os
import threading
from dataclasses import replace

import pytest

from harness.cli import main
from harness.commands import fault_in_run
from harness.faults import orders
from harness.faults.catalogue import KINDS
from harness.faults.effect import Means
from harness.faults.injection import Injector
from harness.faults.journal import Journal, new_entry
from harness.faults.owner import Owner, this_process
from harness.faults.reverts import by_http, by_removal
from harness.model.codec import to_json
from harness.model.fault import Evidence, Fault, FaultEvent, FaultMoment, Where

pytestmark = pytest.mark.loopback
ELSEWHERE = Owner(7, 7, "another boot", "elsewhere")


@pytest.fixture
def journal(tmp_path, monkeypatch):
    monkeypatch.setenv("CALLQUAKE_STATE", str(tmp_path))
    return Journal(tmp_path)


def entry(name, *reverts, **other):
    return replace(new_entry(name, "test.kind", name, "2026", reverts), **other)


# --- what is kept ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--keep"], "--keep: nothing would undo this hook.command later"),
        (["revert=true", "--keep", "--for", "30s"], "--for: with --keep nobody would end this hook.command then"),
    ],
)
def test_what_could_not_be_kept_is_refused_before_it_is_done(words, why, journal, tmp_path, capsys):
    done = tmp_path / "done"
    assert main(["fault", "start", "hook.command", f"command=touch {done}", *words]) == 104
    assert why in capsys.readouterr().err
    assert not done.exists()


def test_what_is_kept_stays_until_it_is_stopped(journal, tmp_path, capsys):
    done = tmp_path / "done"
    words = ["hook.command", f"command=touch {done}", f"revert=rm {done}", "--keep", "--name", "held"]
    assert main(["fault", "start", *words]) == 0
    assert "kept: callquake fault stop held" in capsys.readouterr().out
    assert done.exists()
    assert main(["fault", "stop", "held"]) == 0
    assert not done.exists()


# --- whoever interrupts ---------------------------------------------------------------------------------------------


def test_a_fault_that_is_interrupted_while_it_begins_is_undone(journal, tmp_path, monkeypatch, capsys):
    done = tmp_path / "done"
    say = Injector._say

    def interrupted(self, moment, **more):
        if moment is FaultMoment.STARTED:
            raise KeyboardInterrupt
        say(self, moment, **more)

    monkeypatch.setattr(Injector, "_say", interrupted)
    main(["fault", "start", "hook.command", f"command=touch {done}", f"revert=rm {done}"])
    assert "over since" in capsys.readouterr().err
    assert not done.exists()
    assert journal.entries() == []


class Broken:
    """An effect whose parts fail as no part should."""

    def __init__(self, start=None, evidence=None):
        self._start, self._evidence = start, evidence
        self.reverts, self.stopped = (), 0

    def start(self):
        if self._start is not None:
            raise self._start

    def evidence(self):
        if self._evidence is not None:
            raise self._evidence
        return Evidence(1)

    def stop(self):
        self.stopped += 1
        return Evidence(1)


@pytest.mark.parametrize("how", ["start", "evidence"])
def test_what_nobody_expected_is_told_and_undone(how, tmp_path):
    effect, told = Broken(**{how: KeyError("deaths")}), []
    fault = Fault("f", "hook.command", Where.INFRASTRUCTURE, parameters={"command": "true"})
    injector = Injector(fault, Means(), Journal(tmp_path), told.append)
    injector._effect = effect
    assert injector.start() is (how == "evidence")
    injector.gather()
    injector.stop()
    assert effect.stopped == 1
    details = [event.detail or (event.evidence.detail if event.evidence is not None else "") for event in told]
    assert "KeyError: 'deaths'" in details


def a_run(folder):
    (folder / "run.json").write_text(json.dumps({"status": "running"}))
    return folder


WORDS = ["fault", "start", "network.partition", "--name", "cut", "--run"]


@pytest.mark.parametrize("keep", [[], ["--keep"]])
def test_an_order_that_the_run_has_not_taken_is_withdrawn_on_ctrl_c(keep, journal, tmp_path, monkeypatch, capsys):
    def interrupted(_s):
        assert list(orders.placed(tmp_path)) == ["cut"]
        monkeypatch.undo()
        monkeypatch.setattr(fault_in_run, "_UNTAKEN_S", 0.1)
        raise KeyboardInterrupt

    monkeypatch.setattr(fault_in_run.time, "sleep", interrupted)
    assert main([*WORDS, str(a_run(tmp_path)), *keep]) == 105
    assert "withdrawn before the run took it" in capsys.readouterr().err
    assert orders.placed(tmp_path) == {}


def test_an_order_is_kept_up_while_the_run_does_not_look(journal, tmp_path, monkeypatch):
    """A run that is busy for longer than an order's lease finds it all the same."""
    path, slept = orders.path_of(tmp_path, "cut"), []

    def sleep(_s):
        slept.append(orders.placed(tmp_path))
        long_ago = path.stat().st_mtime - orders.LEASE_S - 1
        os.utime(path, (long_ago, long_ago))
        if len(slept) == 3:
            told = FaultEvent("cut", FaultMoment.FAILED, 1, "t", detail="no engines")
            (tmp_path / "faults.jsonl").write_text(json.dumps(to_json(told)) + "\n")

    monkeypatch.setattr(fault_in_run.time, "sleep", sleep)
    assert main([*WORDS, str(a_run(tmp_path))]) == 1
    assert all(slept)
    assert not path.exists()


def test_a_run_that_was_killed_is_noticed(journal, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fault_in_run, "_SILENT_S", 0.1)
    monkeypatch.setattr(fault_in_run, "_RENEW_S", 0.05)
    polls = []

    def sleep(_s):
        polls.append(1)
        moments = {1: FaultMoment.STARTED, 9: FaultMoment.STOPPED}
        if (moment := moments.get(len(polls))) is not None:
            told = FaultEvent("cut", moment, 1, "t", Evidence(3, "packets lost"))
            with (tmp_path / "faults.jsonl").open("a") as file:
                file.write(json.dumps(to_json(told)) + "\n")
        threading.Event().wait(0.05)

    monkeypatch.setattr(fault_in_run.time, "sleep", sleep)
    assert main([*WORDS, str(a_run(tmp_path))]) == 0
    assert "the run has told nothing of it for 0.1 s; does it go on?" in capsys.readouterr().err


def test_a_run_is_not_told_where_its_target_is(journal, tmp_path, capsys):
    assert main([*WORDS, str(a_run(tmp_path)), "--admin", "http://127.0.0.1:1"]) == 104
    assert "the run knows its target and its admin API" in capsys.readouterr().err
    assert orders.placed(tmp_path) == {}


# --- whose it is ----------------------------------------------------------------------------------------------------


def test_another_machines_fault_is_not_taken_for_undone_here(journal, tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    journal.write(entry("far", by_removal("a file", file), owner=ELSEWHERE, host=""))
    journal.write(entry("kept", by_removal("a file", file), owner=None, host="elsewhere"))
    for name in ("far", "kept"):
        assert main(["fault", "stop", name]) == 1
        assert (
            f"{name}: injected on elsewhere; run this there, or if you undo it by hand: rm" in capsys.readouterr().err
        )
    assert main(["fault", "stop", "--all"]) == 0
    assert "far: left alone, it was injected on elsewhere" in capsys.readouterr().err
    assert file.exists()
    assert len(journal.entries()) == 2
    main(["fault", "status"])
    assert capsys.readouterr().out.count("injected on elsewhere: callquake fault stop") == 2


def test_what_is_asked_by_http_is_undone_from_anywhere(journal, capsys):
    revert = by_http("a switch", "DELETE", "http://127.0.0.1:9/", {}, dies_with_server=True)
    journal.write(entry("far", revert, owner=ELSEWHERE))
    assert main(["fault", "stop", "far"]) == 0


def test_a_living_runs_fault_is_left_alone_and_that_is_no_failure(journal, tmp_path, capsys):
    journal.write(entry("runs", by_removal("x", tmp_path / "x"), owner=this_process(), run="/reports/one"))
    assert main(["fault", "stop", "--all"]) == 0
    assert "runs: left alone, the run /reports/one goes on and ends it" in capsys.readouterr().err
    assert [one.id for one in journal.entries()] == ["runs"]


def test_what_cannot_be_undone_says_how_to_be_rid_of_it(journal, capsys):
    revert = by_http("a switch", "DELETE", "http://127.0.0.1:9/", {})
    journal.write(entry("stuck", revert, owner=None))
    assert main(["fault", "stop", "stuck"]) == 1
    assert f"if you undo it by hand: rm {journal.path('stuck')}" in capsys.readouterr().err


def test_every_kind_says_how_it_is_undone():
    assert all(kind.reverts and kind.evidence for kind in KINDS.values())
