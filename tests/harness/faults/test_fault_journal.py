"""What stands in the journal is undone by whoever comes next, once its owner is gone, and not before."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.faults.journal import Journal, new_entry, replay, state_folder
from harness.faults.owner import Owner, is_alive, owner_of, this_process
from harness.faults.reverts import Revert, RevertError, by_command, by_removal, by_signal, by_start, undo

pytestmark = pytest.mark.loopback

GONE = Owner(2**22 + 1, 5, "another boot", os.uname().nodename)


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path)


def entry(name, *reverts):
    return new_entry(name, "test.kind", name, "2026-01-01T00:00:00.000Z", reverts)


def test_an_entry_is_read_as_it_was_written_and_is_nobody_elses_to_read(journal):
    written = entry("run/1.loss", by_command("x", ["true"], gone=("no such",)))
    journal.write(written)
    assert journal.entries() == [written]
    assert [path.stat().st_mode & 0o777 for path in journal.folder.glob("*.json")] == [0o600]
    journal.remove(written.id)
    journal.remove(written.id)
    assert journal.entries() == []


def test_a_living_owners_entry_is_left_alone_and_a_gone_ones_is_undone(journal, tmp_path):
    kept, left, own = (tmp_path / name for name in ("kept", "left", "own"))
    for path in (kept, left, own):
        path.touch()
    journal.write(entry("own", by_removal("own", own)))
    journal.write(replace(entry("left", by_removal("left", left)), owner=GONE))
    journal.keep(entry("kept", by_removal("kept", kept)))
    told = []
    assert replay({"CALLQUAKE_STATE": str(tmp_path)}, told.append) == 0
    assert [path.exists() for path in (kept, left, own)] == [True, False, True]
    assert told == [f"undid left (fault left), which process {GONE.pid} had left behind"]
    assert sorted(one.id for one in journal.entries()) == ["kept", "own"]
    assert replay({"CALLQUAKE_STATE": str(tmp_path)}, told.append) == 0
    assert len(told) == 1


def test_another_machines_entry_in_a_shared_home_is_its_own(journal, tmp_path):
    path = tmp_path / "file"
    path.touch()
    journal.write(replace(entry("far", by_removal("far", path)), owner=replace(GONE, host="elsewhere")))
    assert journal.left_behind() == []


def test_what_cannot_be_undone_stays_and_is_told(journal, tmp_path):
    journal.write(replace(entry("stuck", by_command("the rule", ["false"])), owner=GONE))
    told = []
    assert replay({"CALLQUAKE_STATE": str(tmp_path)}, told.append) == 1
    assert "stuck" in told[0]
    assert "the rule: false: status 1" in told[0]
    assert [one.id for one in journal.entries()] == ["stuck"]


def test_a_torn_or_foreign_file_stops_nobody(journal, tmp_path):
    journal.folder.mkdir()
    (journal.folder / "torn.json").write_text('{"id": "x", "ki')
    (journal.folder / "list.json").write_text("[]")
    assert replay({"CALLQUAKE_STATE": str(tmp_path)}, print) == 0


def test_a_file_that_nobody_can_read_is_told(journal, tmp_path):
    journal.folder.mkdir()
    torn = journal.folder / "torn.json"
    torn.write_text('{"id": "x", "ki')
    told = []
    replay({"CALLQUAKE_STATE": str(tmp_path)}, told.append)
    assert told == [
        f"faults: {torn} cannot be read: what it would undo may be broken still; see to it, and remove the file"
    ]


def test_two_faults_of_one_name_are_both_undone(journal, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for path in (first, second):
        path.touch()
        added = journal.add(replace(entry("run.loss", by_removal(path.name, path)), owner=GONE))
    assert added.id == "run.loss.2"
    assert replay({"CALLQUAKE_STATE": str(tmp_path)}, lambda _: None) == 0
    assert not first.exists()
    assert not second.exists()
    assert [path for path in journal.folder.iterdir() if path.name != ".lock"] == []


def test_commands_that_begin_at_once_undo_a_thing_once(journal, tmp_path):
    mark = tmp_path / "mark"
    back = by_start("a server", ["sh", "-c", f"echo x >> {mark}; sleep 3"], "", GONE)
    journal.write(replace(entry("left", back), owner=GONE))
    version = [sys.executable, "-m", "harness.cli", "version"]
    environ = {**os.environ, "CALLQUAKE_STATE": str(tmp_path)}
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(subprocess.Popen(version, env=environ, stdout=subprocess.DEVNULL))
    assert mark.read_text() == "x\n"


def test_a_start_that_fails_is_told():
    with pytest.raises(RevertError, match="a server: sh -c exit 7: status 7"):
        undo(by_start("a server", ["sh", "-c", "exit 7"], "", GONE), {})


def test_one_that_takes_its_time_to_end_is_started_again_afterwards(tmp_path):
    mark = tmp_path / "mark"
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.5)"]) as process:
        undo(by_start("x", ["touch", str(mark)], "", owner_of(process.pid), patience_s=30.0), {})
        assert mark.exists()


def test_state_is_where_the_environment_says():
    assert state_folder({"CALLQUAKE_STATE": "/a"}) == Path("/a")
    assert state_folder({"XDG_STATE_HOME": "/b"}) == Path("/b/callquake")
    assert state_folder({}) == Path.home() / ".local/state/callquake"


def test_a_user_without_a_home_has_left_nothing_behind(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    told = []
    assert (replay({}, told.append), told) == (0, [])


def test_everything_may_be_undone_twice_and_when_it_is_gone(tmp_path):
    file = tmp_path / "ballast"
    file.touch()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        reverts = [
            by_removal("a", file),
            by_signal("b", owner_of(process.pid), signal.SIGCONT),
            by_command("c", ["sh", "-c", "echo Cannot find device >&2; exit 2"], gone=("Cannot find device",)),
            by_start("d", ["true"], "", owner_of(process.pid)),
        ]
        for revert in [*reverts, *reverts]:
            undo(revert, {})
    finally:
        process.communicate(b"\n")
    for revert in reverts:
        undo(revert, {})
    assert not file.exists()


def test_a_signal_never_reaches_another_process_of_the_same_number():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        other = replace(owner_of(process.pid), start_ticks=1)
        undo(by_signal("x", other, signal.SIGKILL), {})
        assert process.poll() is None
    finally:
        process.communicate(b"\n")


def test_an_unknown_way_to_undo_is_told():
    with pytest.raises(RevertError, match="does not know how to undo by 'magic'"):
        undo(Revert("magic", "a rule"), {})


def test_a_process_is_alive_until_it_is_not(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = owner_of(process.pid)
    assert is_alive(owner)
    assert is_alive(this_process())
    assert not is_alive(replace(owner, start_ticks=owner.start_ticks + 1))
    process.stdin.close()
    deadline = time.monotonic() + 10
    # A corpse that nobody has waited for is not alive, either.
    while is_alive(owner) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(owner)
    process.wait()


OWNER = """
import os, sys, signal
from pathlib import Path
from harness.faults.journal import Journal, new_entry
from harness.faults.reverts import by_removal
path = Path(sys.argv[2])
Journal(Path(sys.argv[1])).write(new_entry("f", "k", "a file", "2026", (by_removal("a file", path),)))
path.touch()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_owners_fault_is_undone_by_the_next_command(tmp_path):
    file = tmp_path / "broken"
    killed = subprocess.run([sys.executable, "-c", OWNER, str(tmp_path), str(file)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert file.exists()
    assert len(json.loads(next((tmp_path / "faults").glob("*.json")).read_text())["reverts"]) == 1
    version = [sys.executable, "-m", "harness.cli", "version"]
    environ = {**os.environ, "CALLQUAKE_STATE": str(tmp_path)}
    done = subprocess.run(version, env=environ, capture_output=True, text=True, check=True)
    assert "undid a file" in done.stderr or "undid f" in done.stderr, done.stderr
    assert not file.exists()
    assert subprocess.run(version, env=environ, capture_output=True, text=True, check=True).stderr == ""
