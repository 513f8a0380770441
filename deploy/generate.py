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
MODELS = ("vllm", "stt", "tts")
# Of a GPU's memory, for a vLLM that has it alone: vLLM's own default. The base says what it takes beside others.
WHOLE_GPU_SHARE = "0.9"


@dataclass(frozen=True)
class Plan:
    """What runs for a number of calls. Models have a GPU a pod, or a time slice of one; agents have none."""

    calls: int
    gpu_kind: str
    # By stage: vllm, stt, tts.
    model_pods: dict[str, int]
    # Stages whose pod takes a time slice of a GPU that others have, too.
    shared: frozenset[str]
    agent_pods: int
    media_servers_a_pod: int
    vcpu_a_pod: int
    memory_mb_a_pod: tuple[int, int]


def plan(table: dict[str, Any], size: dict[str, Any]) -> Plan:
    """Return the plan of one row."""
    calls, agents = size["calls"], size["servers"]["count"]
    limits, each = table["limits"], table["per_call"]
    model_pods, shared = _models(size["gpus"]["count"], table["gpu_split"])
    servers = math.ceil(calls / (limits["calls_a_media_server"]["value"] * limits["planned_load"]["value"]))
    calls_a_pod = math.ceil(calls / agents)
    low, high = (math.ceil(calls_a_pod * mb) for mb in each["memory_mb"]["value"])
    # The libraries' own memory beside the calls'.
    own_mb = 1024
    return Plan(
        calls,
        size["gpus"]["kind"],
        model_pods,
        shared,
        agents,
        math.ceil(servers / agents),
        max(4, math.ceil(calls_a_pod * each["routing_vcpu"]["value"]) + 2),
        (low + own_mb, high + own_mb),
    )


def _models(gpus: int, split: dict[str, Any]) -> tuple[dict[str, int], frozenset[str]]:
    """Return the pods of each model stage, and the stages that share a GPU: of one all, of two the speech stages."""
    if gpus <= 2:
        return dict.fromkeys(MODELS, 1), frozenset(MODELS if gpus == 1 else ("stt", "tts"))
    total = split["stt"] + split["llm"] + split["tts"]
    llm, tts = round(gpus * split["llm"] / total), max(1, round(gpus * split["tts"] / total))
    return {"vllm": llm, "stt": gpus - llm - tts, "tts": tts}, frozenset()


def overlay(planned: Plan) -> str:
    """Return one overlay's kustomization."""
    low, high = planned.memory_mb_a_pod
    agent = _patch("StatefulSet", "agent", planned.agent_pods)
    container = agent["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {
        "requests": {"cpu": str(planned.vcpu_a_pod), "memory": f"{low}Mi"},
        "limits": {"memory": f"{high}Mi"},
    }
    container["env"] = [{"name": "CALLQUAKE_MEDIA_SERVERS", "value": str(planned.media_servers_a_pod)}]
    models = [_model_patch(planned, name) for name in MODELS]
    patches = [{"patch": yaml.safe_dump(each, sort_keys=False)} for each in (agent, *models)]
    # A resource cannot be taken away by the merges above.
    patches += [
        {"target": {"kind": "Deployment", "name": name}, "patch": _without_whole_gpu()}
        for name in MODELS
        if name in planned.shared
    ]
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["../../base"],
        "patches": patches,
    }
    return HEADER + yaml.safe_dump(kustomization, sort_keys=False)


def _model_patch(planned: Plan, name: str) -> dict[str, Any]:
    is_shared = name in planned.shared
    gpu = "nvidia.com/gpu.shared" if is_shared else "nvidia.com/gpu"
    patch = _patch("Deployment", name, planned.model_pods[name])
    pod = patch["spec"]["template"]["spec"]
    # Where time slices have a resource name of their own, as here, the product's name bears no "-SHARED".
    pod["nodeSelector"] = {"nvidia.com/gpu.product": GPU_NODES[planned.gpu_kind]}
    container = pod["containers"][0]
    container["resources"] = {"requests": {gpu: "1"}, "limits": {gpu: "1"}}
    if name == "vllm" and not is_shared:
        container["env"] = [{"name": "VLLM_GPU_SHARE", "value": WHOLE_GPU_SHARE}]
    return patch


def _patch(kind: str, name: str, replicas: int) -> dict[str, Any]:
    pod: dict[str, Any] = {"containers": [{"name": name}]}
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
