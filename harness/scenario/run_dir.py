"""A run's directory: how it is named, and run.json in it."""

import json
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RUN_FILE = "run.json"


def new_run_id(name: str, now: datetime | None = None) -> str:
    """Return an id that sorts by time and reads well in a folder: UTC time, scenario, four random hex digits."""
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    return f"{stamp}-{name}-{secrets.token_hex(2)}"


def utc_now() -> str:
    """Return the wall-clock time in ISO 8601, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` by way of a temporary file beside it: a reader sees the old file or the new one."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    fresh.replace(path)
