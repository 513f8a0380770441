"""Compose file, manifests, alerts and dashboard: as consistent as can be seen without a cluster or a GPU."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml

from target_stack.__main__ import parser
from target_stack.config import config_from
from target_stack.edge.counts import EdgeCounts
from target_stack.routing.routing_stats import RoutingStats, render_routing
from target_stack.servers.front_metrics import __file__ as front_metrics_file
from target_stack.telemetry.batch_stats import BatchStats, render_batches
from target_stack.telemetry.compliance import ComplianceCounts, render_compliance
from target_stack.telemetry.gpu import GpuReading, render_gpus
from target_stack.telemetry.llm_stats import LlmStats, render_llm
from target_stack.telemetry.metrics import render_edge, render_stats
from target_stack.telemetry.stats import Stats

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
BASE = DEPLOY / "kubernetes" / "base"
SIZES = (10, 100, 1000, 10_000)
# Of servers that are not ours; the real vLLM's test reads these two.
FOREIGN = {"vllm:num_requests_running", "vllm:num_requests_waiting"}


def generator():
    spec = importlib.util.spec_from_file_location("deploy_generate", DEPLOY / "generate.py")
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def documents():
    return [
        doc
        for path in sorted(BASE.glob("*.yaml"))
        if path.name != "kustomization.yaml"
        for doc in yaml.safe_load_all(path.read_text())
    ]


def pods():
    return {d["metadata"]["name"]: d for d in documents() if d["kind"] in ("Deployment", "StatefulSet")}


def containers():
    return [c for pod in pods().values() for c in pod["spec"]["template"]["spec"]["containers"]]


def our_metrics():
    text = render_stats(Stats()) + render_edge(EdgeCounts()) + render_batches({"tts": BatchStats()})
    text += render_llm(LlmStats()) + render_gpus([GpuReading("A10")]) + render_compliance(ComplianceCounts())
    text += render_routing(RoutingStats(), {}, 0)
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    front = Path(front_metrics_file).read_text()
    names |= {f"callquake_{name}" for name in re.findall(r'gauge\(\s*"(\w+)"', front)}
    return names | {f"callquake_{name}_total" for name in re.findall(r'counter\(\s*"(\w+)"', front)}


def test_the_overlays_are_what_the_table_says():
    written = generator().overlays()
    assert {int(path.parent.name) for path in written} == set(SIZES)
    for path, text in written.items():
        assert path.read_text() == text, f"{path}: run python deploy/generate.py"


def test_every_number_of_the_table_names_its_source():
    table = yaml.safe_load((DEPLOY / "sizing.yaml").read_text())
    rows = [*table["per_call"].values(), *table["limits"].values(), table["gpu_split"]]
    for size in table["sizes"]:
        rows += [size["gpus"], size["servers"]]
    assert {row["source"] for row in rows} == set(table["sources"])
    assert all(row.get("why") for row in rows if row["source"] == "derived")


@pytest.mark.parametrize("calls", SIZES)
def test_a_plan_carries_its_calls_with_the_gpus_of_the_table(calls):
    module = generator()
    table = yaml.safe_load((DEPLOY / "sizing.yaml").read_text())
    size = next(size for size in table["sizes"] if size["calls"] == calls)
    planned = module.plan(table, size)
    # Every GPU of the table has a pod, and those that share one share the last.
    assert set(planned.model_pods) == {"vllm", "stt", "tts"}
    assert min(planned.model_pods.values()) >= 1
    whole = sum(n for name, n in planned.model_pods.items() if name not in planned.shared)
    assert whole + bool(planned.shared) == size["gpus"]["count"]
    assert planned.agent_pods == size["servers"]["count"]
    assert planned.vcpu_a_pod <= size["servers"]["vcpu"]
    assert planned.agent_pods * planned.media_servers_a_pod * 100 * 0.8 >= calls
    kustomization = yaml.safe_load((DEPLOY / f"kubernetes/overlays/{calls}/kustomization.yaml").read_text())
    patched = [yaml.safe_load(p["patch"]) for p in kustomization["patches"] if "target" not in p]
    assert {p["metadata"]["name"]: p["spec"]["replicas"] for p in patched} == {
        "agent": planned.agent_pods,
        **planned.model_pods,
    }
    for patch in patched:
        resources = patch["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
        name = patch["metadata"]["name"]
        gpus = {key for key in resources if key.startswith("nvidia.com/")}
        if name == "agent":
            assert gpus == set()
        else:
            assert gpus == {"nvidia.com/gpu.shared" if name in planned.shared else "nvidia.com/gpu"}
    for patch in patched:
        base = pods()[patch["metadata"]["name"]]
        assert (patch["kind"], patch["apiVersion"]) == (base["kind"], base["apiVersion"])


@pytest.mark.parametrize("calls", SIZES)
def test_models_are_asked_for_on_nodes_that_there_are(calls):
    table = yaml.safe_load((DEPLOY / "sizing.yaml").read_text())
    size = next(size for size in table["sizes"] if size["calls"] == calls)
    kustomization = yaml.safe_load((DEPLOY / f"kubernetes/overlays/{calls}/kustomization.yaml").read_text())
    patched = [yaml.safe_load(p["patch"]) for p in kustomization["patches"] if "target" not in p]
    for pod in (patch["spec"]["template"]["spec"] for patch in patched if patch["kind"] == "Deployment"):
        # GPU feature discovery adds "-SHARED" only where slices keep the name of whole GPUs.
        assert pod["nodeSelector"]["nvidia.com/gpu.product"] in {"Tesla-T4", "NVIDIA-A10"}
        assert pod["nodeSelector"]["nvidia.com/gpu.product"].endswith(size["gpus"]["kind"])
        (container,) = pod["containers"]
        is_shared = "nvidia.com/gpu.shared" in container["resources"]["limits"]
        share = {each["name"]: each["value"] for each in container.get("env", [])}
        assert share == ({"VLLM_GPU_SHARE": "0.9"} if container["name"] == "vllm" and not is_shared else {})


def test_no_variable_of_the_cluster_is_taken_for_an_option():
    """A cluster sets SERVICE_PORT and the like, by each Service's name, in every pod that does not say otherwise."""
    services = {d["metadata"]["name"].upper().replace("-", "_") + "_" for d in documents() if d["kind"] == "Service"}
    read_by = {"vllm": "VLLM_", "grafana": "GF_"} | dict.fromkeys(("agent", "stt", "tts"), "CALLQUAKE_")
    for name, pod in pods().items():
        is_told = pod["spec"]["template"]["spec"].get("enableServiceLinks", True)
        assert not (is_told and read_by.get(name) in services), name


def test_a_pod_that_ends_has_time_to_let_its_calls_go():
    generated = yaml.safe_load((BASE / "kustomization.yaml").read_text())["configMapGenerator"]
    (literals,) = [
        dict(text.split("=", 1) for text in each["literals"]) for each in generated if each["name"] == "agent"
    ]
    grace_s = pods()["agent"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert float(literals["CALLQUAKE_DRAIN_S"]) + 10 <= grace_s
    assert config_from(parser({}).parse_args(["up", "--drain-s", literals["CALLQUAKE_DRAIN_S"]]), {})


def test_prometheus_asks_each_pod_once_and_the_agents_with_their_token():
    config = yaml.safe_load((BASE / "files/prometheus-kubernetes.yaml").read_text())
    asked = {}
    for job in config["scrape_configs"]:
        rules = [rule for rule in job["relabel_configs"] if rule.get("action") in ("keep", "drop")]
        for name, pod in pods().items():
            meta = pod["spec"]["template"]["metadata"]
            values = {
                "__meta_kubernetes_pod_label_app": meta["labels"]["app"],
                "__meta_kubernetes_pod_annotation_prometheus_io_scrape": meta.get("annotations", {}).get(
                    "prometheus.io/scrape", ""
                ),
            }
            fits = [
                (re.fullmatch(rule["regex"], values[rule["source_labels"][0]]) is not None)
                == (rule["action"] == "keep")
                for rule in rules
            ]
            if all(fits):
                asked.setdefault(name, []).append(job.get("authorization"))
    token = {"credentials_file": "/etc/callquake/admin-token"}
    assert asked == {"agent": [token], **{name: [None] for name in ("coturn", "stt", "tts", "vllm")}}
    spec = pods()["prometheus"]["spec"]["template"]["spec"]
    (mount,) = [m for m in spec["containers"][0]["volumeMounts"] if m["mountPath"] == "/etc/callquake"]
    (volume,) = [v for v in spec["volumes"] if v["name"] == mount["name"]]
    (agent,) = pods()["agent"]["spec"]["template"]["spec"]["containers"]
    (secret,) = [e["valueFrom"]["secretKeyRef"] for e in agent["env"] if e["name"] == "CALLQUAKE_ADMIN_TOKEN"]
    key = {"key": secret["key"], "path": "admin-token"}
    assert volume["secret"] == {"secretName": secret["name"], "items": [key]}


def test_roles_are_bound_within_the_namespace_that_is_made():
    (namespace,) = [d["metadata"]["name"] for d in documents() if d["kind"] == "Namespace"]
    accounts = {d["metadata"]["name"] for d in documents() if d["kind"] == "ServiceAccount"}
    for binding in (d for d in documents() if d["kind"] == "RoleBinding"):
        assert {(s["name"], s["namespace"]) for s in binding["subjects"]} == {(name, namespace) for name in accounts}


def test_services_find_their_pods_and_ports():
    for service in (d for d in documents() if d["kind"] == "Service"):
        spec = service["spec"]
        matching = [
            p
            for p in pods().values()
            if spec["selector"].items() <= p["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert len(matching) == 1, service["metadata"]
        ports = {
            port["name"]: port.get("protocol", "TCP")
            for c in matching[0]["spec"]["template"]["spec"]["containers"]
            for port in c["ports"]
        }
        for port in spec["ports"]:
            assert ports[port["targetPort"]] == port.get("protocol", "TCP")


def test_pods_select_themselves_and_mount_what_they_have():
    claims = {d["metadata"]["name"] for d in documents() if d["kind"] == "PersistentVolumeClaim"}
    generated = yaml.safe_load((BASE / "kustomization.yaml").read_text())["configMapGenerator"]
    maps = {each["name"] for each in generated}
    for name, pod in pods().items():
        template = pod["spec"]["template"]
        assert pod["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"] == {"app": name}
        volumes = {volume["name"]: volume for volume in template["spec"].get("volumes", [])}
        for volume in volumes.values():
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims
            if "configMap" in volume:
                assert volume["configMap"]["name"] in maps
        for container in template["spec"]["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= set(volumes)
            assert {source["configMapRef"]["name"] for source in container.get("envFrom", [])} <= maps
    for each in generated:
        assert all((BASE / file).is_file() for file in each.get("files", []))


def test_images_are_pinned_and_resources_bounded():
    images = [c["image"] for c in containers()]
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    images += [service["image"] for service in compose["services"].values()]
    assert all(re.search(r":(v?\d+\.\d+|local$)", image) for image in images), images
    assert all(c["resources"]["requests"] and c["resources"]["limits"]["memory"] for c in containers())
    assert all("readinessProbe" in c for c in containers())


def test_every_setting_of_the_speech_servers_is_an_option_and_every_agent_finds_them():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    generated = yaml.safe_load((BASE / "kustomization.yaml").read_text())["configMapGenerator"]
    maps = {each["name"]: dict(text.split("=", 1) for text in each.get("literals", [])) for each in generated}
    ports = {d["metadata"]["name"]: d["spec"]["ports"][0]["port"] for d in documents() if d["kind"] == "Service"}
    for stage in ("stt", "tts"):
        known = {f"CALLQUAKE_{name.upper()}" for name in vars(parser({}).parse_args(["serve", stage]))}
        pod = pods()[stage]["spec"]["template"]["spec"]["containers"][0]
        assert pod["command"] == compose[stage]["entrypoint"]
        parser({}).parse_args(pod["command"][1:])
        assert set(maps[stage]) | set(compose[stage]["environment"]) <= known
        assert maps[stage]["CALLQUAKE_PORT"] == compose[stage]["environment"]["CALLQUAKE_PORT"] == str(ports[stage])
        assert maps["agent"][f"CALLQUAKE_{stage.upper()}_URL"] == f"http://{stage}:{ports[stage]}"
        assert compose["agent"]["environment"][f"CALLQUAKE_{stage.upper()}_URL"].endswith(f":{ports[stage]}")


def test_every_setting_is_an_option_of_up():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    settings = set(compose["services"]["agent"]["environment"])
    (agent,) = [c for c in containers() if c["name"] == "agent"]
    settings |= {each["name"] for each in agent["env"]}
    generated = yaml.safe_load((BASE / "kustomization.yaml").read_text())["configMapGenerator"]
    (literals,) = [each["literals"] for each in generated if each["name"] == "agent"]
    settings |= {literal.partition("=")[0] for literal in literals}
    options = vars(parser({}).parse_args(["up"]))
    known = {f"CALLQUAKE_{name.upper()}" for name in options}
    assert "CALLQUAKE_MEDIA_SERVERS" in settings
    assert settings <= known


def expressions():
    for group in yaml.safe_load((DEPLOY / "prometheus/rules.yaml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in json.loads((DEPLOY / "grafana/dashboards/agent.json").read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def test_alerts_and_dashboard_ask_for_metrics_that_exist():
    known, asked = our_metrics(), set()
    for expression in expressions():
        asked |= set(re.findall(r"\b(?:callquake_\w+|vllm:\w+)", expression))
        assert expression.count("(") == expression.count(")")
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) if name not in known else name for name in asked - FOREIGN}
    assert ours - known == set()
    assert len(asked) > 20


def test_what_the_cluster_gets_is_what_the_one_machine_gets():
    for there, here in (
        ("files/rules.yaml", "prometheus/rules.yaml"),
        ("files/agent.json", "grafana/dashboards/agent.json"),
        ("files/provider.yaml", "grafana/provisioning/dashboards/provider.yaml"),
    ):
        assert (BASE / there).read_text() == (DEPLOY / here).read_text()
