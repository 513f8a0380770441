"""Faults that somebody asks a run for while it goes on: files in the run's folder `orders`, one a fault.

Who asks writes NAME.json and touches it every few seconds; the run injects the fault as its own and tells what becomes
of it in faults.jsonl. It ends when the file is gone, when nobody has touched it for LEASE_S (unless it is to be kept),
when its time is over, or with the run.
"""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from harness.model.codec import from_json, to_json
from harness.model.fault import Fault, FaultEvent

LEASE_S = 10.0
FOLDER = "orders"


@dataclass(frozen=True, slots=True)
class Order:
    """One fault that is asked for. `is_kept`: nobody renews it."""

    fault: Fault
    is_kept: bool = False


def path_of(run_dir: Path, name: str) -> Path:
    """Return where the order for a fault of that name is."""
    return run_dir / FOLDER / f"{name}.json"


def place(run_dir: Path, order: Order) -> Path:
    """Ask for a fault; return the order's file. Raises OSError, FileExistsError where one of its name is asked for."""
    path = path_of(run_dir, order.fault.name)
    path.parent.mkdir(exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(to_json(order)), encoding="utf-8")
    try:
        # Whole or not at all, and never over somebody else's.
        os.link(fresh, path)
    finally:
        fresh.unlink()
    return path


def renew(path: Path) -> bool:
    """Ask for it further; False where the order is gone."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def withdraw(path: Path) -> bool:
    """Ask for it no longer; False where nobody did."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def placed(run_dir: Path) -> dict[str, Order]:
    """Return what is asked for just now, by name; what nobody can read, or has not been renewed, is none."""
    found: dict[str, Order] = {}
    for path in sorted((run_dir / FOLDER).glob("*.json")):
        try:
            order = from_json(Order, json.loads(path.read_text(encoding="utf-8")))
            is_stale = time.time() - path.stat().st_mtime > LEASE_S
        except (OSError, ValueError, TypeError, KeyError):
            continue
        if order.is_kept or not is_stale:
            found[order.fault.name] = order
    return found


def events_of(run_dir: Path, name: str) -> list[FaultEvent]:
    """Return what the run has told of a fault so far; the last line may be half written."""
    events = []
    try:
        lines = (run_dir / "faults.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            event = from_json(FaultEvent, json.loads(line))
        except (ValueError, TypeError, KeyError):
            continue
        if event.fault == name:
            events.append(event)
    return events
