"""Runs EngineClient against the scripted engine, in a process that Locust has patched, and prints what it saw as JSON.

`python drive_engine_client.py MODE RUN_DIR`. MODE is one of scripted_engine.py's, or "kill" (complete, and SIGKILL), or
"freeze" (complete, and SIGSTOP, with a limit of 2 s on silence).
"""

import json
import os
import signal
import sys
from pathlib import Path

import gevent
import locust  # noqa: F401  patches the interpreter, as in a real run

from harness.corpus.manifest import default_corpus_dir
from harness.load import engine_client
from harness.load.engine_client import EngineClient
from harness.model.clock import monotonic_ns
from harness.model.errors import CallquakeError
from harness.scenario.check import prepare


def main(mode: str, run_dir: Path) -> None:
    scenario = run_dir / "scenario.yaml"
    scenario.write_text(
        "name: s\ntarget: {url: 'http://127.0.0.1:9/o'}\ncallers: [{name: a, turns: 1}]\n"
        "load: {arrivals: {rate_per_minute: 600, distribution: uniform, calls: 4}}\n"
    )
    planner = prepare(scenario).planner
    if mode == "freeze":
        engine_client.SILENCE_LIMIT_S = 2.0
    seen, deaths = [], []
    client = EngineClient("w", run_dir, default_corpus_dir(), lambda kind, row: seen.append((kind, row)), deaths.append)
    result = {"error": None, "outcomes": [], "stopped": None}
    try:
        client.start()
    except CallquakeError as error:
        result |= {"error": type(error).__name__, "message": str(error)}
    else:
        now = monotonic_ns()
        # Two now, one soon, one in an hour: at the end of the run that one has never begun.
        dues = [now, now, now + 200_000_000, now + 3_600_000_000_000]
        results = [client.place(planner.plan_for_index(i), due) for i, due in enumerate(dues)]
        if mode == "kill":
            while sum(kind == "milestone" for kind, _ in seen) < 2:
                gevent.sleep(0.01)
            os.kill(client.pid, signal.SIGKILL)
        if mode == "freeze":
            os.kill(client.pid, signal.SIGSTOP)
        if mode in {"complete", "hang", "die", "kill", "freeze"}:
            gevent.joinall([gevent.spawn(r.get) for r in results[:3]])
        elif mode == "slow":
            gevent.sleep(0.5)
        result["stopped"] = client.stop(timeout_s=1.0 if mode == "hang" else 15.0)
        ends = [r.get(timeout=10) for r in results]
        result["outcomes"] = [None if end is None else [end.outcome, end.cause] for end in ends]
    result |= {
        "deaths": deaths,
        "records": [row["call_id"] for kind, row in seen if kind == "call"],
        "turns": sum(kind == "turn" for kind, _ in seen),
        "engine_is_gone": client.pid is None or not Path(f"/proc/{client.pid}").exists(),
        "open": len(client.open_calls),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
