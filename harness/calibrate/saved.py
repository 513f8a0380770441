"""The calibrations of this user's machines, kept between runs in one small JSON file.

$CALLQUAKE_CALIBRATION names the file; else it is callquake/calibration.json in $XDG_STATE_HOME (~/.local/state).
One entry for each machine and set of conditions: the last one. A quick or partial one never replaces a whole one.
"""

import json
import os
from pathlib import Path
from typing import Any

from harness.calibrate.machine import machine_key
from harness.measure.calibration import SCHEMA_VERSION, Calibration
from harness.model.codec import from_json, to_json
from harness.model.errors import ScenarioError

FILE_VARIABLE = "CALLQUAKE_CALIBRATION"


def calibration_file() -> Path:
    """Return where calibrations are kept; the file need not exist."""
    chosen = os.environ.get(FILE_VARIABLE)
    if chosen:
        return Path(chosen)
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "callquake" / "calibration.json"


def save(calibration: Calibration, path: Path | None = None) -> Path:
    """Keep `calibration` as the last one under its conditions; return the file. Raises ScenarioError."""
    file = path or calibration_file()
    try:
        entries = _read(file)
    except ScenarioError:
        # Whatever it holds, it is no help to anybody here; but it may be to its owner.
        file.replace(file.with_name(f"{file.name}.unreadable"))
        entries = {}
    entries.setdefault(calibration.machine, {})[_condition_key(calibration)] = to_json(calibration)
    content = {"schema_version": SCHEMA_VERSION, "machines": entries}
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        temporary.replace(file)
    except OSError as error:
        raise ScenarioError(
            f"{file}: the calibration cannot be saved: {error.strerror}; set ${FILE_VARIABLE}"
        ) from error
    return file


def last_calibration(
    transport: str, codec: str, path: Path | None = None, *, media_loop: str = "", source_ports: str = "auto"
) -> Calibration | None:
    """Return what this machine was last calibrated to for such calls without loss; None when it never was.

    `media_loop` is "compiled" or "python", "" where that is not known: the two are never taken for each other. Whole
    ones come before quick or partial, then those with an agent that sends packets in silence, then those with the same
    `source_ports`. Raises ScenarioError when the file is there and cannot be read.
    """
    file = path or calibration_file()
    found: list[Calibration] = []
    for entry in _read(file).get(machine_key(), {}).values():
        try:
            found.append(from_json(Calibration, entry))
        except (TypeError, ValueError) as error:
            raise ScenarioError(f"{file}: an entry is no calibration: {error}; run: callquake calibrate") from error
    fitting = [
        c
        for c in found
        if c.conditions.transport == transport
        and c.conditions.codec.lower() == codec.lower()
        and c.conditions.loss_ratio == 0
        and (not media_loop or c.media_loop == media_loop)
        and c.steps
    ]
    return max(fitting, key=lambda c: _nearness(c, source_ports), default=None)


def _nearness(calibration: Calibration, source_ports: str) -> tuple[bool, bool, bool, str]:
    """Return how near a calibration comes to a run; of equals, the later one is the greater."""
    conditions = calibration.conditions
    return (
        not (calibration.is_partial or conditions.is_quick),
        conditions.silence == "packets",
        conditions.source_ports == source_ports,
        calibration.calibrated_at,
    )


def _condition_key(calibration: Calibration) -> str:
    conditions = calibration.conditions
    words = [conditions.transport, conditions.codec.lower(), conditions.silence, f"loss {conditions.loss_ratio:g}"]
    words += [f"source ports {conditions.source_ports}"] if conditions.source_ports != "auto" else []
    words += [f"media loop {calibration.media_loop}"] if calibration.media_loop != "compiled" else []
    words += ["quick"] if conditions.is_quick else []
    words += ["partial"] if calibration.is_partial else []
    return ", ".join(words)


def _read(file: Path) -> dict[str, dict[str, Any]]:
    """Return entries by machine and conditions, {} when the file is not there."""
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ScenarioError(f"{file}: the calibration cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ScenarioError(f"{file}: not JSON: {error}; run: callquake calibrate") from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    machines = raw.get("machines") if isinstance(raw, dict) else None
    if version != SCHEMA_VERSION or not isinstance(machines, dict):
        raise ScenarioError(
            f"{file}: schema_version {version!r}; this callquake reads {SCHEMA_VERSION}; run: callquake calibrate"
        )
    return {str(name): entries for name, entries in machines.items() if isinstance(entries, dict)}
