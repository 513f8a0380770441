"""What run.json says of a run before its first call: what was asked, of whom, by which versions, on which machine."""

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import harness
from harness.calibrate.machine import cpu_model, media_loop_mode
from harness.calibrate.saved import last_calibration
from harness.measure import normaliser
from harness.model.clock import monotonic_ns
from harness.model.codec import to_json
from harness.model.errors import ScenarioError
from harness.model.secrets import redact
from harness.scenario.check import Prepared
from harness.scenario.run_dir import utc_now
from harness.verdict.thresholds import parse

SCHEMA_VERSION = 1
_PACKAGES = ("locust", "gevent", "aiortc", "aioice", "av", "jiwer", "whisper-normalizer", "numpy", "pydantic", "faker")


def describe_run(
    prepared: Prepared, run_id: str, infos: Mapping[str, Mapping[str, Any] | None], argv: Sequence[str]
) -> dict[str, Any]:
    """Return run.json as it stands at the start; `infos` is what each target says of itself, by name.

    What may be a secret is left out. Of several targets each is told in `targets`, and `target` has their addresses.
    """
    targets = {name: redact(to_json(target)) for name, target in prepared.targets.items()}
    told = {
        name: {"target": target, "info": infos.get(name), "calibration": _calibration(target)}
        for name, target in targets.items()
    }
    is_one = len(told) == 1
    first = next(iter(told.values()))
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "status": "running",
        "notes": [],
        "scenario": _scenario(prepared),
        "scenario_path": str(prepared.loaded.path),
        "runbook": prepared.runbook,
        "seed": prepared.seed,
        "target": first["target"] if is_one else {"url": prepared.url},
        "target_info": first["info"] if is_one else None,
        "targets": {} if is_one else told,
        "started_at": utc_now(),
        "ended_at": None,
        "started_monotonic_ns": monotonic_ns(),
        "ended_monotonic_ns": None,
        "calls_planned": prepared.max_calls if prepared.due_ms is None else len(prepared.due_ms),
        "corpus": {
            "dir": prepared.corpus.directory.name,
            "sha256": prepared.corpus.sha256,
            "n": len(prepared.corpus.utterances),
        },
        "versions": _versions(),
        "host": _host(),
        "calibration": first["calibration"] if is_one else None,
        "argv": list(argv),
        "simulated": _simulated(infos),
    }


def _scenario(prepared: Prepared) -> dict[str, Any]:
    """Return the scenario as it is run: with the addresses called, and of several targets the called ones alone."""
    scenario = prepared.loaded.scenario.model_dump(mode="json", by_alias=True)
    blocks = scenario["targets"] or {"": scenario["target"]}
    called = {name: redact(blocks[name] | {"url": target.url}) for name, target in prepared.targets.items()}
    if scenario["targets"] is None:
        del scenario["targets"]
        scenario["target"] = called[""]
        return scenario
    del scenario["target"]
    scenario["targets"] = called
    of = {entry["expr"]: parse(entry["expr"]).tags.get("target") for entry in scenario["thresholds"]}
    scenario["thresholds"] = [e for e in scenario["thresholds"] if of[e["expr"]] in (None, *called)]
    return scenario


def _simulated(infos: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    """Return what is not real, each part once: targets may be doors of one agent."""
    return list(dict.fromkeys(part for info in infos.values() for part in simulated_parts(info)))


def simulated_parts(target_info: Mapping[str, Any] | None) -> list[str]:
    """Return what the target says of itself that is not real: the list "simulated" of its /healthz."""
    parts = target_info.get("simulated") if target_info else None
    return [str(part) for part in parts] if isinstance(parts, list) else []


def _versions() -> dict[str, str]:
    found = {"callquake": harness.__version__, "python": platform.python_version(), "normaliser": normaliser.identity()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _host() -> dict[str, Any]:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "cpu_model": cpu_model(),
        "kernel": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "memory_mib": memory // 2**20,
    }


def _calibration(target: Mapping[str, Any]) -> Any:
    """Return what this machine was last calibrated to for such calls, None where it was not or nobody can read it."""
    try:
        calibration = last_calibration(
            str(target["transport"]),
            str(target["codec"]),
            media_loop=media_loop_mode(),
            source_ports=str(target["source_ports"]),
        )
        return to_json(calibration)
    except ScenarioError:
        return None
