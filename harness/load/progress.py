"""Tells the parent process, once a second and over an inherited pipe, how the run goes; and notices when it is gone."""

import json
import os
from typing import Any

import gevent

from harness.load.cluster.master import Cluster
from harness.load.runs import Runs

INTERVAL_S = 1.0


def snapshot(runs: Runs) -> dict[str, Any]:
    """Return the progress of the run now going on."""
    session, live = runs.session, runs.live
    due = runs.prepared.due_ms
    users = runs.prepared.loaded.scenario.load.users
    total_s = due[-1] / 1000 if due else sum(stage.duration_s for stage in users.stages) if users else None
    active = session.active if session is not None else 0
    return {
        "is_ready": session is not None and session.ready.is_set(),
        "is_ending": session is not None and session.is_ending,
        "placed": live.ended + active,
        "active": active,
        "ended": live.ended,
        "completed": live.outcomes["completed"],
        "turns": live.turns,
        "last_ttfb_ms": live.last_ttfb_ms,
        "planned": runs.prepared.max_calls if due is None else len(due),
        "elapsed_s": round(runs.elapsed_s or 0.0, 1),
        "arrivals_end_s": total_s,
        "engine_pids": session.engine_pids if session is not None else [],
        "warnings": [] if session is None or isinstance(session, Cluster) else session.engine.warnings,
        "workers": session.n_workers if isinstance(session, Cluster) else None,
        "workers_gone": session.n_gone if isinstance(session, Cluster) else 0,
    }


def report_progress(runs: Runs, descriptor: int) -> None:
    """Write a JSON line a second until the parent closes its end; then the run is interrupted. Runs in a greenlet."""
    os.set_blocking(descriptor, False)
    while True:
        try:
            if runs.session is not None or runs.last_run_dir is None:
                # Once the run is over its last word stands.
                os.write(descriptor, json.dumps(snapshot(runs)).encode() + b"\n")
        except BlockingIOError:
            # The parent is busy; the next line says more.
            pass
        except OSError:
            runs.interrupt("callquake, which started this run, is gone")
            runs.environment.runner.quit()
            return
        gevent.sleep(INTERVAL_S)
