"""A fault at the bundled agent: its answer decides whether the fault is told as undone, and stays in the journal."""

import contextlib
import os
import socket
import socketserver
import threading
from dataclasses import replace

import pytest
from kill_cases import GOOD, Scripted, serving

from harness.faults import admin_client
from harness.faults.catalogue import KINDS
from harness.faults.effect import Admin, Means
from harness.faults.injection import Injector
from harness.faults.journal import Journal, replay
from harness.faults.owner import Owner
from harness.faults.reverts import RevertError, undo
from harness.faults.undone import not_undone
from harness.model.fault import Fault, FaultMoment

pytestmark = pytest.mark.loopback

FAILED = {**GOOD, "undone": False, "detail": "could not be undone: llm: no memory left"}


class Bench:
    """One fault at the agent of an address."""

    def __init__(self, folder, address, lease_s):
        self.told, self.journal = [], Journal(folder)
        fault = Fault("gone", "gpu.loss", KINDS["gpu.loss"].where, parameters={"stage": "all"})
        means = Means(admin=Admin(f"http://{address}"), lease_s=lease_s)
        self.injector = Injector(fault, means, self.journal, self.told.append)

    @property
    def moments(self):
        return [event.event for event in self.told]


@pytest.fixture
def kept():
    return {}


@pytest.fixture
def bench(tmp_path, kept, monkeypatch):
    """Return what makes a bench with a fault in force, or whose begin failed."""
    monkeypatch.setattr(admin_client, "END_TIMEOUT_S", 0.5)
    with contextlib.ExitStack() as stack:

        def make(lease_s=None):
            address = stack.enter_context(serving(Scripted, kept))
            found = Bench(tmp_path, address, lease_s)
            found.injector.start()
            return found

        yield make


def test_an_end_that_undid_it_is_told_as_stopped(bench, kept):
    one = bench()
    kept["DELETE"] = ({**GOOD, "undone": True}, 200, 0)
    assert one.injector.stop().touched == 3
    assert one.moments == [FaultMoment.STARTED, FaultMoment.STOPPED]
    assert one.journal.entries() == []


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((FAILED, 200, 0), "could not be undone: llm: no memory left"),
        (({"servers": [{**GOOD, "server": "s1"}, {**FAILED, "server": "s2"}]}, 200, 0), "s2: could not be undone"),
        (({"error": "boom"}, 500, 0), "HTTP 500: boom"),
        ((GOOD, 200, 1), "has not said within 0.5 s"),
    ],
)
def test_what_is_not_undone_is_told_as_such_and_stays_in_the_journal(answer, why, bench, kept):
    one = bench()
    kept["DELETE"] = answer
    one.injector.stop()
    assert one.moments == [FaultMoment.STARTED, FaultMoment.NOT_UNDONE]
    assert why in one.told[-1].detail
    assert [entry.id for entry in one.journal.entries()] == ["gone"]


def test_an_end_that_hangs_elsewhere_is_told_as_not_undone_and_only_then(bench, kept):
    kept["DELETE"] = (GOOD, 200, 0.4)
    one = bench()
    ending = threading.Thread(target=one.injector.stop)
    ending.start()
    while one.injector.is_in_force:
        pass
    one.injector.stop()
    one.injector.give_up("nothing was heard of its end within 75 s")
    assert one.moments == [FaultMoment.STARTED, FaultMoment.NOT_UNDONE]
    assert one.told[-1].detail == "nothing was heard of its end within 75 s"
    ending.join()


@pytest.mark.parametrize("status", [200, 409, 500])
def test_what_is_undone_or_was_never_there_is_not_given_up(status, bench, kept):
    kept["POST"] = (GOOD, status, 0)
    one = bench()
    one.injector.stop()
    told = list(one.told)
    one.injector.give_up("too late")
    assert one.told == told


def test_a_later_command_says_whether_it_is_undone_now(bench, kept):
    one = bench()
    kept["DELETE"] = (FAILED, 200, 0)
    one.injector.stop()
    (entry,) = one.journal.entries()
    with pytest.raises(RevertError, match="no memory left"):
        one.journal.undo(entry, {})
    kept["DELETE"] = ({**GOOD, "undone": True}, 200, 0)
    one.journal.undo(entry, {})
    assert one.journal.entries() == []


@pytest.mark.parametrize(("status", "asked"), [(500, ["POST", "DELETE"]), (409, ["POST"]), (400, ["POST"])])
def test_what_may_have_begun_is_ended_and_anothers_is_left_alone(status, asked, bench, kept):
    kept["POST"] = ({"error": "no"}, status, 0)
    one = bench()
    assert one.moments == [FaultMoment.FAILED]
    assert kept["asked"] == asked
    assert one.journal.entries() == []


def test_a_target_that_is_gone_has_no_faults(tmp_path):
    with serving(Scripted) as address:
        one = Bench(tmp_path, address, None)
        assert one.injector.start()
    one.injector.stop()
    assert one.moments == [FaultMoment.STARTED, FaultMoment.STOPPED]
    assert "last told before" in one.told[-1].evidence.detail


def test_a_target_that_cannot_be_reached_may_have_its_fault_still(bench, kept):
    class CutOff(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(4_096)

    one = bench()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), CutOff) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        one.injector._effect._admin = Admin(f"http://127.0.0.1:{server.server_address[1]}")
        one.injector.stop()
        server.shutdown()
    assert one.moments == [FaultMoment.STARTED, FaultMoment.NOT_UNDONE]
    assert "it lapses there 10 s after it was renewed last" in one.told[-1].detail
    assert [entry.id for entry in one.journal.entries()] == ["gone"]


def test_only_what_lapses_by_itself_is_over_when_the_target_refuses(bench, kept):
    kept["DELETE"] = ({"error": "the admin API needs its token"}, 401, 0)
    (lapsing,) = bench().injector.entry.reverts
    undo(lapsing, {})
    (lasting,) = bench(lease_s=3_600.0).injector.entry.reverts
    with pytest.raises(RevertError, match="HTTP 401: the admin API needs its token"):
        undo(lasting, {})


def test_a_kept_faults_target_that_is_gone_has_no_faults():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    fault = Fault("gone", "gpu.loss", KINDS["gpu.loss"].where)
    (revert,) = admin_client.AdminFault(fault, Admin(url), "gone", 3_600.0).reverts
    undo(revert, {})


def test_the_next_command_tells_what_is_still_broken(bench, kept, tmp_path):
    one = bench()
    kept["DELETE"] = (FAILED, 200, 0)
    gone = Owner(2**22 + 1, 5, "another boot", os.uname().nodename)
    one.journal.write(replace(one.injector.entry, owner=gone))
    told = []
    assert replay({"CALLQUAKE_STATE": str(tmp_path)}, told.append) == 1
    assert "is still in force" in told[0]
    assert "no memory left" in told[0]


def test_answers_without_a_word_of_it_are_good():
    assert not_undone({"undone": True}) == not_undone([]) == not_undone(GOOD) == ""
