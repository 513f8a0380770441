"""Where a worker's engine writes its log and recordings: the master's run directory where it can reach it."""

import json
from pathlib import Path
from typing import Any

from harness.scenario.run_dir import RUN_FILE


def own_run_dir(message: dict[str, Any], given: Path | None) -> tuple[Path, bool]:
    """Return the directory for the run of a `begin`, and whether it is the master's own.

    A path proves nothing on another machine, so that the run that lies there must be this one.
    """
    shared = Path(message["run_dir"])
    if _run_id(shared) == message["run_id"]:
        return shared, True
    if given is not None and _run_id(given) is None:
        return given, False
    return Path("reports") / message["run_id"], False


def _run_id(run_dir: Path) -> str | None:
    try:
        info = json.loads((run_dir / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return str(info.get("run_id")) if isinstance(info, dict) else None
