"""Writes deploy/kubernetes/overlays/ from deploy/sizing.yaml: `python deploy/generate.py`, or `--check` to compare."""

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
HEADER = "# Written by deploy/generate.py from deploy/sizing.yaml: change that, not this.\n"
GPU_NODES = {"T4": "Tesla-T4", "A10": "NVIDIA-A10"}


@dataclass(frozen=True)
class Plan:
    """What runs for a number of calls. An agent pod has one GPU for speech and several media servers on it."""

    calls: int
    gpu_kind: str
    llm_pods: int
    agent_pods: int
    media_servers_a_pod: int
    vcpu_a_pod: int
    memory_mb_a_pod: tuple[int, int]
    # One GPU for everything: both pods take a time slice of it.
    is_shared: bool


def plan(table: dict[str, Any], size: dict[str, Any]) -> Plan:
    """Return the plan of one row."""
    calls, gpus = size["calls"], size["gpus"]["count"]
    split, limits, each = table["gpu_split"], table["limits"], table["per_call"]
    is_shared = gpus == 1
    llm = (
        1
        if is_shared
        else max(1, min(gpus - 1, round(gpus * split["llm"] / (split["stt"] + split["llm"] + split["tts"]))))
    )
    agents = 1 if is_shared else gpus - llm
    servers = math.ceil(calls / (limits["calls_a_media_server"]["value"] * limits["planned_load"]["value"]))
    calls_a_pod = math.ceil(calls / agents)
    low, high = (math.ceil(calls_a_pod * mb) for mb in each["memory_mb"]["value"])
    # The models' own memory beside the calls'.
    own_mb = 6144
    return Plan(
        calls,
        size["gpus"]["kind"],
        llm,
        agents,
        math.ceil(servers / agents),
        max(4, math.ceil(calls_a_pod * each["routing_vcpu"]["value"]) + 2),
        (low + own_mb, high + own_mb),
        is_shared,
    )


def overlay(planned: Plan) -> str:
    """Return one overlay's kustomization."""
    gpu = "nvidia.com/gpu.shared" if planned.is_shared else "nvidia.com/gpu"
    node = {"nvidia.com/gpu.product": GPU_NODES[planned.gpu_kind] + ("-SHARED" if planned.is_shared else "")}
    low, high = planned.memory_mb_a_pod
    agent = _patch("StatefulSet", "agent", planned.agent_pods, node)
    container = agent["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {
        "requests": {"cpu": str(planned.vcpu_a_pod), "memory": f"{low}Mi", gpu: "1"},
        "limits": {"memory": f"{high}Mi", gpu: "1"},
    }
    container["env"] = [{"name": "CALLQUAKE_MEDIA_SERVERS", "value": str(planned.media_servers_a_pod)}]
    vllm = _patch("Deployment", "vllm", planned.llm_pods, node)
    vllm["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {gpu: "1"}, "limits": {gpu: "1"}}
    patches = [{"patch": yaml.safe_dump(each, sort_keys=False)} for each in (agent, vllm)]
    if planned.is_shared:
        # A resource cannot be taken away by the merges above.
        patches += [{"target": {"name": name}, "patch": _without_whole_gpu()} for name in ("agent", "vllm")]
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["../../base"],
        "patches": patches,
    }
    return HEADER + yaml.safe_dump(kustomization, sort_keys=False)


def _patch(kind: str, name: str, replicas: int, node: dict[str, str]) -> dict[str, Any]:
    pod: dict[str, Any] = {"nodeSelector": node, "containers": [{"name": name}]}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "template": {"spec": pod}},
    }


def _without_whole_gpu() -> str:
    place = "/spec/template/spec/containers/0/resources/{}/nvidia.com~1gpu"
    return yaml.safe_dump([{"op": "remove", "path": place.format(part)} for part in ("requests", "limits")])


def overlays() -> dict[Path, str]:
    """Return path -> text of every overlay."""
    table = yaml.safe_load((HERE / "sizing.yaml").read_text())
    folder = HERE / "kubernetes" / "overlays"
    return {folder / str(size["calls"]) / "kustomization.yaml": overlay(plan(table, size)) for size in table["sizes"]}


def main() -> int:
    """Write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file differs")
    is_check = parser.parse_args().check
    stale = [path for path, text in overlays().items() if not path.is_file() or path.read_text() != text]
    for path in stale:
        print(f"{'differs' if is_check else 'written'}: {path.relative_to(HERE.parent)}")
        if not is_check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(overlays()[path])
    return int(bool(stale) and is_check)


if __name__ == "__main__":
    sys.exit(main())
