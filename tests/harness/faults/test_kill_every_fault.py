"""kill -9 of callquake in the middle of any kind of fault: the next command undoes it, and nothing stays broken.

`pytest --soak tests/harness/faults/test_kill_every_fault.py` has every kind in a real process of its own; ungated, one
of each family, together. What the engines of a run carry out has nothing to undo: it is gone when the engines are.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest
from kill_cases import CASES, Stands, path_with

from harness.commands.fault_words import example_of
from harness.faults import engine_fault
from harness.faults.catalogue import KINDS
from harness.faults.check import check_parameters
from harness.faults.effect import Admin, Means
from harness.faults.injection import Injector
from harness.faults.journal import Journal, replay
from harness.faults.owner import Owner
from harness.model.fault import Fault

pytestmark = pytest.mark.loopback

DEADLINE_S = 60
GONE = Owner(2**22 + 1, 5, "another boot", os.uname().nodename)
IN_ENGINES = sorted(name for name, kind in KINDS.items() if kind.make is engine_fault.make)
# One of each family, held by real processes that are killed together; each has a stand-in of its own. Processes and
# hooks are in test_infrastructure_faults.py, the agent's stages in test_cli_faults.py.
OF_FAMILIES = ("coturn.stop", "media_server.kill", "toxiproxy.down", "netem.qdisc")
# For what comes back in its own time: processes, models.
SETTLES_S = 30
# For a run to begin: Locust, an engine, the first call; several times as long where other work has the machine.
BEGINS_S = 180


@pytest.fixture(scope="module")
def stands(tmp_path_factory):
    found = Stands(tmp_path_factory.mktemp("stands"))
    yield found
    found.close()


def test_every_kind_has_a_case_or_dies_with_the_engines():
    assert sorted([*CASES, *IN_ENGINES]) == sorted(KINDS)


class NoEngines:
    """A run's engines, of which nothing is asked here."""

    def begin_fault(self, fault):
        self.begun = fault


@pytest.mark.parametrize("name", IN_ENGINES)
def test_what_the_engines_do_is_nowhere_else(name, tmp_path):
    parameters, problems = check_parameters(KINDS[name], example_of(KINDS[name]))
    assert not problems
    fault, journal = Fault("one", name, KINDS[name].where, parameters=parameters), Journal(tmp_path)
    injector = Injector(fault, Means(engines=NoEngines()), journal, lambda event: None)
    assert injector.start()
    assert journal.entries() == []


def until(condition, what, limit_s=SETTLES_S):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.05)


def new_fault(name, stand):
    parameters, problems = check_parameters(KINDS[name], stand.parameters)
    assert not problems, problems
    return Fault("broken", name, KINDS[name].where, parameters=parameters)


@pytest.mark.parametrize("name", sorted(CASES))
def test_what_a_killed_process_wrote_undoes_the_fault(name, stands, tmp_path, monkeypatch):
    with CASES[name](stands) as stand:
        before = stand.state()
        monkeypatch.setenv("PATH", path_with(stand.path))
        if stand.needs_root:
            monkeypatch.setattr(os, "geteuid", lambda: 0)
        journal, told = Journal(tmp_path), []
        means = Means(admin=Admin(stand.admin) if stand.admin else None, folder=str(tmp_path))
        injector = Injector(new_fault(name, stand), means, journal, told.append)
        assert injector.start(), told
        until(lambda: stand.state() != before, lambda: f"{name} broke nothing")
        # Its process is gone, without having undone anything.
        (entry,) = journal.entries()
        journal.write(replace(entry, owner=GONE))
        said = []
        assert replay({**os.environ, "CALLQUAKE_STATE": str(tmp_path)}, said.append) == 0, said
        assert f"undid {name} (fault broken)" in said[0]
        assert journal.entries() == []
        until(lambda: stand.state() == before, lambda: f"{stand.state()} is not {before}")


def environment(folder, stand=None):
    path = {"PATH": path_with(stand.path)} if stand is not None else {}
    return {**os.environ, "CALLQUAKE_STATE": str(folder), "CALLQUAKE_MEDIA": "python", **path}


def in_words(stand):
    for name, value in stand.parameters.items():
        said = ("true" if value else "false") if isinstance(value, bool) else value
        yield f"{name}={','.join(value) if isinstance(value, list | tuple) else said}"


@contextlib.contextmanager
def killed_callquakes(names, stands, folder):
    """Have a real process of callquake hold each fault, then kill them all; yield the stands and how they were."""
    with contextlib.ExitStack() as stack:
        held = [(name, stack.enter_context(CASES[name](stands))) for name in names]
        before = {}
        processes = []
        for name, stand in held:
            before[name] = stand.state()
            words = ["fault", "start", name, *in_words(stand), "--name", name]
            words += ["--admin", stand.admin] if stand.admin else []
            process = subprocess.Popen(
                [sys.executable, "-m", "harness.cli", *words],
                env=environment(folder, stand),
                cwd=folder,
                stderr=subprocess.PIPE,
                text=True,
            )
            processes.append(process)
            stack.callback(process.stderr.close)
            stack.callback(process.wait)
            stack.callback(process.kill)
        for (name, _), process in zip(held, processes, strict=True):
            line = process.stderr.readline()
            assert f"{name}: in force since" in line, line
        for process in processes:
            process.kill()
            process.wait()
        yield held, before


def check_all_mended(names, stands, folder):
    with killed_callquakes(names, stands, folder) as (held, before):
        journal = Journal(folder)
        assert sorted(entry.id for entry in journal.left_behind()) == sorted(names)
        for name, stand in held:
            assert stand.state() != before[name], f"{name} broke nothing"
        # netem is undone by the `tc` that it was done by.
        environ = environment(folder, next((stand for _, stand in held if stand.path), None))
        version = [sys.executable, "-m", "harness.cli", "version"]
        done = subprocess.run(version, env=environ, capture_output=True, text=True, check=True, timeout=DEADLINE_S)
        for name, stand in held:
            assert f"undid {name} (fault {name})" in done.stderr, done.stderr
            until(lambda s=stand, n=name: s.state() == before[n], lambda s=stand, n=name: f"{n}: {s.state()}")
        assert journal.entries() == []


def only_possible(names):
    return [name for name in names if os.geteuid() == 0 or name != "netem.qdisc"]


def test_the_next_command_undoes_what_killed_callquakes_held(stands, tmp_path):
    check_all_mended(only_possible(OF_FAMILIES), stands, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", only_possible(sorted(CASES)))
def test_the_next_command_undoes_any_fault_of_a_killed_callquake(name, stands, tmp_path):
    check_all_mended([name], stands, tmp_path)


SCENARIO = """\
name: broken
target: {{url: "{url}/api/offer"}}
callers: [{{name: any, turns: 1, select: {{native: [true]}}}}]
load: {{arrivals: {{distribution: uniform, rate_per_minute: 60, calls: 400}}}}
limits: {{call_timeout_s: 60}}
thresholds: [response_ratio >= 0.9]
faults:
  - {{kind: {kind}, parameters: {parameters}{end}}}
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_ENGINES)
def test_engines_are_gone_with_a_killed_run(name, stands, tmp_path):
    scenario = tmp_path / "broken.yaml"
    # Later than it is killed.
    end = ", duration_s: 300" if KINDS[name].needs_end else ""
    scenario.write_text(SCENARIO.format(url=stands.agent(), kind=name, parameters=example_of(KINDS[name]), end=end))
    command = [sys.executable, "-m", "harness.cli", "run", str(scenario), "--run-dir", str(tmp_path / "run")]
    with (tmp_path / "out.txt").open("w") as out:
        run = psutil.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment(tmp_path)
        )
    try:
        log = tmp_path / "run" / "faults.jsonl"
        until(lambda: log.exists() and '"started"' in log.read_text(), (tmp_path / "out.txt").read_text, BEGINS_S)
        family = run.children(recursive=True)
        assert any("harness.engine" in " ".join(process.cmdline()) for process in family)
        run.send_signal(signal.SIGKILL)
        next(process for process in family if "locust" in " ".join(process.cmdline())).send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(family, timeout=DEADLINE_S)
        assert alive == []
        assert Journal(tmp_path).entries() == []
    finally:
        for process in [run, *run.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
