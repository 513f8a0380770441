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

SCHEMA_VERSION = 1
_PACKAGES = ("locust", "gevent", "aiortc", "aioice", "av", "jiwer", "whisper-normalizer", "numpy", "pydantic", "faker")


def describe_run(
    prepared: Prepared, run_id: str, target_info: Mapping[str, Any] | None, argv: Sequence[str]
) -> dict[str, Any]:
    """Return run.json as it stands at the start. What may be a secret is left out."""
    scenario = prepared.loaded.scenario.model_dump(mode="json", by_alias=True)
    scenario["target"] = redact(scenario["target"] | {"url": prepared.url})
    target = redact(to_json(prepared.target))
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "status": "running",
        "notes": [],
        "scenario": scenario,
        "scenario_path": str(prepared.loaded.path),
        "seed": prepared.seed,
        "target": target,
        "target_info": target_info,
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
        "calibration": _calibration(target),
        "argv": list(argv),
        "simulated": simulated_parts(target_info),
    }


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
