"""Chaos Toolkit experiments become faults, faults become experiments, and what is no fault here is told."""

import json
import os
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from harness.cli import main
from harness.faults.catalogue import KINDS
from harness.faults.check import check_parameters
from harness.faults.experiment import ExperimentError, faults_of
from harness.faults.experiment_export import experiment_of
from harness.faults.experiment_rollbacks import OURS
from harness.model.fault import Fault, FaultFilter

pytestmark = pytest.mark.unit

# As the Chaos Toolkit's own documentation writes them: two actions with pauses, two rollbacks, probes.
EXPERIMENT = {
    "version": "1.0.0",
    "title": "Does the agent live without its database?",
    "description": "The database goes, then a rule drops the model server.",
    "configuration": {"admin": {"type": "env", "key": "ADMIN_URL"}, "unit": "postgresql"},
    "steady-state-hypothesis": {
        "title": "It answers",
        "probes": [
            {
                "type": "probe",
                "name": "health",
                "tolerance": 200,
                "provider": {"type": "http", "url": "http://127.0.0.1:8080/healthz"},
            }
        ],
    },
    "method": [
        {
            "type": "action",
            "name": "stop the database",
            "provider": {"type": "process", "path": "systemctl", "arguments": "stop ${unit}", "timeout": 20},
            "pauses": {"after": 15},
        },
        {"ref": "health"},
        {
            "type": "action",
            "name": "switch the model off",
            "provider": {
                "type": "http",
                "url": "${admin}/switch",
                "method": "POST",
                "headers": {"Authorization": "Bearer x"},
                "arguments": {"on": False},
            },
            "pauses": {"before": 5},
        },
    ],
    "rollbacks": [
        {
            "type": "action",
            "name": "start it",
            "provider": {"type": "process", "path": "systemctl", "arguments": ["start", "${unit}"]},
        },
        {"type": "action", "name": "on", "provider": {"type": "http", "url": "${admin}/switch", "method": "DELETE"}},
    ],
}


def action(**provider):
    return {"type": "action", "name": "one", "provider": provider}


def imported(*method, rollbacks=(), **more):
    return faults_of({"title": "t", "description": "d", "method": list(method), "rollbacks": list(rollbacks), **more})


def test_actions_become_faults_with_their_rollbacks_and_times():
    found = faults_of(EXPERIMENT, 30)
    assert found.title == EXPERIMENT["title"]
    assert found.faults == [
        {
            "kind": "hook.command",
            "parameters": {
                "command": "systemctl stop postgresql",
                "timeout_s": 20.0,
                "revert": "systemctl start postgresql",
            },
            "start_s": 30,
            "name": "stop-the-database",
        },
        {
            "kind": "hook.http",
            "parameters": {
                "url": "${ADMIN_URL}/switch",
                "method": "POST",
                "headers": ["Authorization: Bearer x", "Content-Type: application/x-www-form-urlencoded"],
                "body": "on=False",
                "revert_url": "${ADMIN_URL}/switch",
                "revert_method": "DELETE",
            },
            "start_s": 50.0,
            "name": "switch-the-model-off",
        },
    ]
    assert found.left_out == ["steady-state-hypothesis: probe 'health'", "method: probe 'health'"]
    assert found.unknown == []


def test_what_is_no_fault_here_is_told():
    found = imported(
        action(type="python", module="chaosk8s.pod.actions", func="terminate_pods"),
        action(type="magic"),
        rollbacks=[action(type="process", path="true")],
    )
    assert found.faults == []
    assert found.unknown[0].startswith(
        "method: 'one': chaosk8s.pod.actions.terminate_pods is Python of somebody else's"
    )
    assert found.unknown[1:] == [
        "method: 'one': provider.type 'magic'; legal here: process, http, python (chaostoxi)",
        "rollbacks: 'one': there is no action that it undoes",
    ]


def test_actions_of_the_toxiproxy_extension_are_ours():
    found = imported(
        action(
            type="python",
            module="chaostoxi.toxic.actions",
            func="create_latency_toxic",
            arguments={"for_proxy": "llm", "toxic_name": "slow", "latency": 300, "jitter": 20},
        ),
        action(type="python", module="chaostoxi.proxy.actions", func="disable_proxy", arguments={"proxy_name": "llm"}),
        rollbacks=[
            action(type="python", module="chaostoxi.proxy.actions", func="reset"),
            action(
                type="python", module="chaostoxi.proxy.actions", func="enable_proxy", arguments={"proxy_name": "llm"}
            ),
        ],
    )
    assert found.unknown == []
    assert [(one["name"], one["kind"], one["parameters"]) for one in found.faults] == [
        ("one", "toxiproxy.latency", {"proxy": "llm", "latency_ms": 300, "jitter_ms": 20}),
        ("one-2", "toxiproxy.down", {"proxy": "llm"}),
    ]


def process(name, arguments, path="systemctl", **more):
    return {
        "type": "action",
        "name": name,
        "provider": {"type": "process", "path": path, "arguments": arguments},
        **more,
    }


def test_an_action_in_the_background_keeps_nobody_waiting():
    found = imported(
        process("a", "stop a", background=True, pauses={"before": 60, "after": 500}),
        process("b", "stop b", background=True, pauses={"before": 90}),
        process("c", "stop c", pauses={"before": 5, "after": 10}),
        {"type": "probe", "name": "p", "pauses": {"after": 3}},
        process("d", "fault start process.kill pid=77 --for 20s --name d", "callquake", pauses={"before": 1}),
        process("e", "stop e"),
    )
    assert found.unknown == []
    starts = {one["name"]: one["start_s"] for one in found.faults}
    # d begins after c's pauses, the probe's and its own, and is waited for.
    assert starts == {"a": 60.0, "b": 90.0, "c": 5.0, "d": 19.0, "e": 39.0}


def reverts(found):
    return {one["name"]: one["parameters"].get("revert", one["parameters"].get("revert_url")) for one in found.faults}


def test_a_rollback_is_taken_by_the_action_that_it_undoes_wherever_it_stands():
    found = imported(
        process("stop the database", "stop postgresql"),
        process("pause the cache", ["pause", "redis"], "docker"),
        action(type="http", url="http://h/faults", method="POST", arguments={"id": "one"}) | {"name": "rule one"},
        action(type="http", url="http://h/faults", method="POST", arguments={"id": "two"}) | {"name": "rule two"},
        rollbacks=[
            action(type="http", url="http://h/faults/two", method="DELETE"),
            process("unpause", ["unpause", "redis"], "docker"),
            action(type="http", url="http://h/faults/one", method="DELETE"),
            process("start", "start postgresql"),
        ],
    )
    assert found.unknown == []
    assert reverts(found) == {
        "stop-the-database": "systemctl start postgresql",
        "pause-the-cache": "docker unpause redis",
        "rule-one": "http://h/faults/one",
        "rule-two": "http://h/faults/two",
    }


def test_a_rollback_that_may_be_of_several_actions_is_nobodys():
    found = imported(process("a", "stop a"), process("b", "stop b"), rollbacks=[process("all", "start everything")])
    assert reverts(found) == {"a": None, "b": None}
    assert found.unknown == ["rollbacks: 'all': which of 2 actions it undoes is not to be seen from it"]
    one = imported(process("a", [], "./break.sh"), rollbacks=[process("b", [], "./mend.sh")])
    assert (reverts(one), one.unknown) == ({"a": "./mend.sh"}, [])
    more = imported(process("a", "stop a"), rollbacks=[process("b", "start a"), process("c", "start c")])
    assert (reverts(more), len(more.unknown)) == ({"a": "systemctl start a"}, 1)


def test_rollbacks_of_our_own_faults_go_with_the_fault_that_they_name():
    ours = process("one", "fault start process.kill pid=77 --name gone --for 2m", OURS)
    found = imported(ours, rollbacks=[process("x", "fault stop other", OURS), process("y", "fault stop gone", OURS)])
    assert found.unknown == ["rollbacks: 'x': there is no action that it undoes"]
    assert found.faults[0] == {
        "kind": "process.kill",
        "parameters": {"pid": 77},
        "name": "gone",
        "duration_s": 120.0,
        "start_s": 0.0,
    }
    assert imported(ours, rollbacks=[process("x", "fault stop --all", OURS)]).unknown == []


@pytest.mark.parametrize(
    ("provider", "why"),
    [
        ({"type": "process", "path": "callquake", "arguments": "fault start stage.dely"}, "did you mean stage.delay"),
        ({"type": "process", "path": "callquake", "arguments": "fault start stage.delay --share 2"}, "--share: got 2"),
        ({"type": "process", "path": "callquake", "arguments": "fault start gpu.loss --for soon"}, "--for: got 'soon'"),
        ({"type": "process", "path": "x", "arguments": ["${token}"]}, "no shell reads them"),
        ({"type": "http", "url": "https://h/${secret}"}, "url: ${secret} is in no `configuration`"),
        ({"type": "http", "url": "https://h/", "method": "POST", "arguments": "${token}"}, "takes no variables"),
        ({"type": "http", "url": "https://h/", "verify_tls": False}, "verify_tls"),
    ],
)
def test_what_would_become_another_fault_is_told(provider, why):
    found = imported(action(**provider), configuration={"token": {"type": "env", "key": "TOKEN"}})
    assert found.faults == []
    assert why in found.unknown[0]


def test_hooks_do_what_the_toolkit_does_with_arguments():
    configuration = {"token": {"type": "env", "key": "TOKEN", "default": "x"}, "port": 8080}
    json_, url = {"Content-Type": "application/json"}, "http://h:${port}/a"
    found = imported(
        action(type="process", path="tc", arguments="qdisc show | tee ${token}"),
        action(type="http", url=url, method="POST", headers=json_, arguments={"on": False}),
        action(type="http", url=url, arguments={"on": 1}),
        action(type="http", url="http://h/${token}", method="PUT", arguments="text"),
        configuration=configuration,
    )
    assert [one["parameters"] for one in found.faults] == [
        {"command": "sh -c 'tc qdisc show | tee ${TOKEN}'"},
        {
            "url": "http://h:8080/a",
            "method": "POST",
            "body": '{"on": false}',
            "headers": ["Content-Type: application/json"],
        },
        {"url": "http://h:8080/a?on=1", "method": "GET"},
        {"url": "http://h/${TOKEN}", "method": "PUT", "body": "text"},
    ]
    assert found.left_out == ["configuration: the default of TOKEN, 'x'; set it where the run is started"]


def test_a_proxys_server_is_where_the_configuration_has_it():
    toxic = action(
        type="python",
        module="chaostoxi.toxic.actions",
        func="create_latency_toxic",
        arguments={"for_proxy": "llm", "toxic_name": "slow", "latency": "${ms}"},
    )
    found = imported(toxic, configuration={"toxiproxy_host": "10.0.0.9", "toxiproxy_port": 8475, "ms": 300})
    assert found.unknown == []
    assert found.faults[0]["parameters"] == {"api": "http://10.0.0.9:8475", "proxy": "llm", "latency_ms": 300}


def test_what_no_command_line_can_ask_for_is_not_exported():
    some = FaultFilter(1.0, ("angry", "calm"), ("edge",))
    with pytest.raises(ExperimentError) as refused:
        experiment_of([replace(FAULTS[1], filter=some)], "broken", "", 60)
    assert str(refused.value).splitlines() == [
        "lossy: filter: callers: [angry, calm]: `callquake fault start` cannot choose so; legal there: share",
        "lossy: filter: targets: [edge]: `callquake fault start` cannot choose so; legal there: share",
    ]
    with pytest.raises(ExperimentError, match=r"rule: parameters\.headers: a comma in it"):
        experiment_of([replace(FAULTS[3], parameters={"headers": ("A: b, c",)})], "broken", "", 60)


def test_the_names_of_secrets_come_through_both_ways():
    secret = fault("rule", "hook.http", 1, 5, url="http://h/x", headers=["Authorization: Bearer ${TOKEN}"])
    experiment = experiment_of([secret, FAULTS[1]], "broken", "", 60)
    words = [one["provider"]["arguments"] for one in experiment["method"]]
    assert "'headers=Authorization: Bearer $${TOKEN}'" in words[0]
    assert words[1].endswith("--run '${run_dir}'")
    found = faults_of(experiment)
    assert found.faults[0]["parameters"]["headers"] == ["Authorization: Bearer ${TOKEN}"]


@pytest.mark.parametrize("said", [None, [], {"title": "t"}, {"method": {}}])
def test_what_is_no_experiment_is_refused(said):
    with pytest.raises(ExperimentError, match="no Chaos Toolkit experiment"):
        faults_of(said)


def fault(name, kind, start_s=0.0, lasts_s=None, share=1.0, seed=0, **said):
    parameters, problems = check_parameters(KINDS[kind], said)
    assert not problems
    ms = None if lasts_s is None else lasts_s * 1000
    where = KINDS[kind].where
    return Fault(name, kind, where, start_s * 1000, ms, parameters=parameters, filter=FaultFilter(share), seed=seed)


FAULTS = [
    fault("slow", "stage.delay", 60, 30, 0.5, 7, stage="llm", delay_ms=1234.5678),
    fault("lossy", "network.loss", 90, 20, loss_ratio=0.1),
    fault("gone", "media_server.kill", 120, stays_down=True),
    fault("rule", "hook.http", 130, 5, url="http://127.0.0.1:1/x", headers=["A: b"]),
]


def test_faults_come_back_as_they_went():
    experiment = experiment_of(FAULTS, "broken", "http://127.0.0.1:8080/api/offer", 60)
    found = faults_of(json.loads(json.dumps(experiment)))
    assert found.unknown == []
    back = {one["name"]: one for one in found.faults}
    assert list(back) == ["slow", "lossy", "gone", "rule"]
    for one in FAULTS:
        told = back[one.name]
        parameters, problems = check_parameters(KINDS[one.kind], told["parameters"])
        assert not problems
        assert (told["kind"], parameters) == (one.kind, one.parameters)
        assert told["start_s"] == one.start_ms / 1000
        assert told["duration_s"] == (60 if one.duration_ms is None else one.duration_ms / 1000)
    assert back["slow"]["filter"] == {"share": 0.5}
    assert back["slow"]["seed"] == 7


def test_an_experiment_says_where_and_for_how_long():
    method = experiment_of(FAULTS, "broken", "http://127.0.0.1:8080/api/offer", 60)["method"]
    words = [one["provider"]["arguments"] for one in method]
    assert words[0] == (
        "fault start stage.delay stage=llm delay_ms=1234.5678 jitter_ms=0 --name slow --for 30s --share 0.5 --seed 7"
        " --target http://127.0.0.1:8080/api/offer"
    )
    assert words[1].endswith("--run '${run_dir}'")
    assert [one["pauses"] for one in method] == [
        {"before": 60.0},
        {"before": 90.0},
        {"before": 120.0},
        {"before": 130.0},
    ]
    assert all(one["background"] for one in method)


SCENARIO = """\
name: broken
target: {url: "http://127.0.0.1:9/api/offer"}
callers: [{name: any, turns: 1, select: {native: [true]}}]
load: {arrivals: {distribution: uniform, rate_per_minute: 60, calls: 10}}
faults:
  - {kind: stage.delay, start_s: 5, duration_s: 2, parameters: {stage: llm, delay_ms: 50}}
"""


def test_the_commands_write_files_that_the_other_reads(tmp_path, capsys):
    (tmp_path / "s.yaml").write_text(SCENARIO)
    assert main(["fault", "export", str(tmp_path / "s.yaml"), "--into", str(tmp_path / "e.json")]) == 0
    assert main(["fault", "import", str(tmp_path / "e.json"), "--start-s", "0"]) == 0
    told = capsys.readouterr()
    (back,) = yaml.safe_load(told.out)["faults"]
    assert back["kind"] == "stage.delay"
    assert back["parameters"] == {"stage": "llm", "delay_ms": 50, "jitter_ms": 0}
    assert (back["start_s"], back["duration_s"]) == (5.0, 2.0)
    assert "left out: steady-state-hypothesis" in told.err


def test_an_export_asks_where_the_scenario_says(tmp_path, capsys):
    sip = SCENARIO.replace("http://127.0.0.1:9/api/offer", "sip:agent@127.0.0.1")
    (tmp_path / "s.yaml").write_text(sip)
    assert main(["fault", "export", str(tmp_path / "s.yaml")]) == 104
    assert "acts by the target's admin API; legal: with `admin:" in capsys.readouterr().err
    (tmp_path / "s.yaml").write_text(sip + "admin: {url: http://127.0.0.1:8081, token: '${CHAOS}'}\n")
    assert main(["fault", "export", str(tmp_path / "s.yaml")]) == 0
    (one,) = json.loads(capsys.readouterr().out)["method"]
    assert one["provider"]["arguments"].endswith("--admin http://127.0.0.1:8081")


def test_a_scenario_with_a_filter_of_callers_is_not_exported(tmp_path, capsys):
    some = "{name: x, kind: caller.silence, filter: {callers: [any]}, parameters: {silence_ms: 50}}"
    (tmp_path / "s.yaml").write_text(SCENARIO.partition("faults:")[0] + f"faults: [{some}]\n")
    assert main(["fault", "export", str(tmp_path / "s.yaml")]) == 104
    assert "x: filter: callers: [any]" in capsys.readouterr().err


def test_half_an_experiment_is_imported_only_on_demand(tmp_path, capsys):
    path = tmp_path / "e.json"
    path.write_text(json.dumps({"title": "t", "description": "d", "method": [action(type="magic")]}))
    assert main(["fault", "import", str(path)]) == 104
    assert "1 of its actions have no fault here; legal: --partly" in capsys.readouterr().err
    assert main(["fault", "import", str(path), "--partly"]) == 0


def test_a_scenario_without_faults_makes_no_experiment(tmp_path, capsys):
    (tmp_path / "s.yaml").write_text(SCENARIO.partition("faults:")[0])
    assert main(["fault", "export", str(tmp_path / "s.yaml")]) == 104
    assert "it has no `faults`" in capsys.readouterr().err


@pytest.mark.skipif("CALLQUAKE_CHAOS" not in os.environ, reason="CALLQUAKE_CHAOS names no `chaos` of the Chaos Toolkit")
def test_the_chaos_toolkit_takes_what_is_exported(tmp_path):
    """`CALLQUAKE_CHAOS=.../bin/chaos`: the package chaostoolkit, in an environment of its own."""
    chaos = os.environ["CALLQUAKE_CHAOS"]
    callquake = tmp_path / "bin" / "callquake"
    callquake.parent.mkdir()
    callquake.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nexec {sys.executable} -m harness.cli "$@"\n')
    callquake.chmod(0o755)
    root = str(Path(__file__).resolve().parents[3])
    file = tmp_path / "broken"
    hook = fault("rule", "hook.command", 0, 1, command=f"touch {file}", revert=f"rm -f {file}")
    begun = [tmp_path / f"begun-{i}" for i in range(3)]
    later = [fault(f"at-{3 * i}", "hook.command", 3 * i, 1, command=f"touch {path}") for i, path in enumerate(begun)]
    environ = {**os.environ, "PATH": f"{callquake.parent}:{os.environ['PATH']}", "PYTHONPATH": root}
    environ["CALLQUAKE_STATE"] = str(tmp_path / "state")
    for name, faults in (("all", FAULTS), ("run", [hook, *later])):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(experiment_of(faults, "broken", "", 60)))
        done = subprocess.run(
            [chaos, "validate", str(path)], env=environ, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "experiment syntax and semantic look valid" in (done.stdout + done.stderr).lower()
    done = subprocess.run(
        [chaos, "run", str(tmp_path / "run.json")],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    journal = json.loads((tmp_path / "journal.json").read_text())
    assert journal["status"] == "completed"
    assert not file.exists()
    asked = (tmp_path / "asked").read_text()
    assert "fault start hook.command" in asked
    assert "fault stop rule" in asked
    # Three seconds from one to the next, but for what a command takes to start.
    at_s = [path.stat().st_mtime for path in begun]
    assert at_s[1] - at_s[0] > 1.5
    assert at_s[2] - at_s[1] > 1.5


@pytest.mark.skipif("CALLQUAKE_CHAOS" not in os.environ, reason="CALLQUAKE_CHAOS names no `chaos` of the Chaos Toolkit")
def test_the_toolkits_own_toxiproxy_extension_works_at_ours(tmp_path):
    """`pip install chaostoolkit-toxiproxy` beside the Toolkit: a client that is not ours."""
    words = [sys.executable, "-m", "harness.toxiproxy", "--api", "127.0.0.1:0"]
    words += ["--proxy", "llm=127.0.0.1:0,127.0.0.1:9"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as proxy:
        try:
            api = proxy.stdout.readline().split()[-1]
            module = "chaostoxi.toxic.actions"
            arguments = {"for_proxy": "llm", "toxic_name": "slow", "latency": 300, "jitter": 20}
            method = [
                action(type="python", module=module, func="create_latency_toxic", arguments=arguments),
                action(
                    type="python",
                    module="chaostoxi.proxy.actions",
                    func="disable_proxy",
                    arguments={"proxy_name": "llm"},
                ),
            ]
            experiment = {"title": "t", "description": "d", "configuration": {"toxiproxy_url": api}, "method": method}
            (tmp_path / "e.json").write_text(json.dumps(experiment))
            done = subprocess.run(
                [os.environ["CALLQUAKE_CHAOS"], "run", "e.json"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            with urllib.request.urlopen(f"{api}/proxies/llm", timeout=10) as answer:
                said = json.load(answer)
        finally:
            proxy.terminate()
    assert not said["enabled"]
    assert [(one["name"], one["attributes"]["latency"]) for one in said["toxics"]] == [("slow", 300)]
