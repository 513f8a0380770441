"""210 calls at once, WebRTC and SIP, over three media servers of the emulated profile; and one of the three killed.

`pytest --soak -s tests/end_to_end/test_product_media_servers.py` prints the figures (6 minutes, on an idle machine).
"""

import json
import socket
import statistics
import threading
import time
import urllib.request
from contextlib import closing, contextmanager

import pytest
from product import Run, target_stack

pytestmark = [pytest.mark.soak, pytest.mark.timeout(480)]

CALLS, SERVERS, EACH = 210, 3, 100
# Where one is to die, two of them hold all: callers that a full agent refuses call again at once, and would be all that
# there is to see.
EACH_OF_TWO = 110
MEDIA_TIMEOUT_S = 4
# Of a call that its server's death ended: its caller has to miss the audio first.
NOTICED_S = MEDIA_TIMEOUT_S + 4
ELSEWHERE_S = 2.0
S = 1e9
CLEAN = {"select": {"condition": ["clean"]}}


@contextmanager
def agent(each, events):
    """The bundled agent; yields its HTTP origin and its SIP address."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--profile", "emulated", "--media-servers", SERVERS, "--calls-per-server", each, "--sip-port", port]
    options += ["--stt-workers", 24, "--tts-workers", 8, "--drain-s", 3, "--events", events]
    with target_stack(*map(str, options)) as (origin, _):
        yield origin, f"sip:agent@127.0.0.1:{port}"


def plan(origin, sip, *, minutes, turns, **more):
    return {
        "name": "media-servers",
        "seed": 5,
        "targets": {"web": {"url": f"{origin}/api/offer"}, "phone": {"url": sip}},
        # Half of the time nobody speaks, as when people look things up: two cores hold so many.
        "callers": [{"name": "all", "turns": turns, "patience": "unlimited", "think_ms": [5000, 20000]} | CLEAN],
        "load": {"users": {"stages": [{"duration_s": 60 * minutes, "users": CALLS, "spawn_rate": 10}]}},
        "limits": {"answer_timeout_s": 20, "media_timeout_s": MEDIA_TIMEOUT_S, "call_timeout_s": 240},
        "thresholds": ["response_ratio >= 0.97"],
    } | more


class Watched:
    """What the front says of its servers twice a second, in a thread."""

    def __init__(self, origin):
        self.looks = []
        self._origin, self._stop = origin, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(10)

    def _look(self):
        while not self._stop.wait(0.5):
            health = json.load(urllib.request.urlopen(f"{self._origin}/healthz", timeout=10))
            servers = {one["name"]: one for one in health["media_servers"]}
            self.looks.append((time.monotonic(), servers))

    def full(self):
        """The looks in which everybody was on the line."""
        return [(at, servers) for at, servers in self.looks if sum(s["in_use"] for s in servers.values()) >= CALLS - 2]

    def cpu_of_a_call(self):
        """Share of a core, over the looks in which everybody was on the line."""
        (begin, first), (end, last) = self.full()[0], self.full()[-1]
        used = sum(last[name]["cpu_s"] - first[name]["cpu_s"] for name in last)
        return used / (end - begin) / CALLS, end - begin


def finish(run):
    run.deadline_s = 420
    assert run.end() == 0, run.text
    print(run.text[run.text.index("PASSED") :])
    return run.rows("calls.jsonl")


def lost(rows):
    return [row for row in rows if row["outcome"] in ("dropped", "failed")]


def median_and_p95(values):
    values = sorted(values)
    return f"{statistics.median(values):.0f} and {values[int(0.95 * (len(values) - 1))]:.0f} ms (n {len(values)})"


def test_210_calls_are_held_by_three_servers_and_none_is_dropped(tmp_path):
    with agent(EACH, tmp_path / "events.jsonl") as (origin, sip), Watched(origin) as watched:
        rows = finish(Run(tmp_path, plan(origin, sip, minutes=1.25, turns=3)))
    assert lost(rows) == []
    assert {row["outcome"] for row in rows} == {"completed"}
    share, length_s = watched.cpu_of_a_call()
    held = {name: max(servers[name]["in_use"] for _, servers in watched.full()) for name in ("s1", "s2", "s3")}
    packets = sum(row["media"]["packets_received"] for row in rows)
    gone = sum(row["media"]["packets_lost"] for row in rows)
    for way in ("web", "phone"):
        setups = [(r["connected_at_ns"] - r["started_at_ns"]) / 1e6 for r in rows if r["target"] == way]
        print(f"{way}: {len(setups)} calls, set-up p50 and p95 {median_and_p95(setups)}")
    print(
        f"{CALLS} calls held for {length_s:.0f} s, at most {held}; {share:.2%} of a core a call; "
        f"{gone} of {packets} packets lost"
    )
    assert length_s > 30
    assert min(held.values()) > CALLS / SERVERS / 2


def test_a_killed_server_takes_its_own_calls_only_and_new_ones_go_elsewhere(tmp_path):
    kill = {
        "name": "killed",
        "kind": "media_server.kill",
        "start_s": 60,
        "duration_s": 20,
        "parameters": {"server": "s2"},
    }
    # What its callers were answered is told by the run's own timeline; here only who lost a call.
    changes = {"faults": [kill], "thresholds": ["calls_completed >= 100"]}
    with agent(EACH_OF_TWO, tmp_path / "events.jsonl") as (origin, sip), Watched(origin) as watched:
        run = Run(tmp_path, plan(origin, sip, minutes=2, turns=[1, 2], **changes))
        rows = finish(run)
        metrics = urllib.request.urlopen(f"{origin}/metrics", timeout=10).read().decode()
    told = {row["event"]: row for row in run.rows("faults.jsonl")}
    killed_ns, evidence = told["started"]["at_ns"], told["stopped"]["evidence"]
    up = sum(
        row["connected_at_ns"] is not None and row["connected_at_ns"] < killed_ns < row["ended_at_ns"] for row in rows
    )
    took = [row for row in lost(rows) if row["ended_at_ns"] < killed_ns + NOTICED_S * S]
    others = [row for row in lost(rows) if row not in took]
    (died_with_it,) = [
        int(line.rpartition(" ")[2])
        for line in metrics.splitlines()
        if line.startswith('callquake_server_lost_calls_total{server="s2"}')
    ]
    print(
        f"{up} calls were up; s2 had {evidence['counts']}; the front counts {died_with_it} lost; {len(took)} callers "
        f"lost theirs within {NOTICED_S} s; lost by other causes: {[row['cause'] for row in others]} of {len(rows)}"
    )
    for row in others:
        print(f"{row['target']} {row['call_id']}, {(row['ended_at_ns'] - killed_ns) / S:.1f} s after the kill: {row}")
    assert up >= 200
    # Its own, and no other: calls that were on their way out or in may be counted by one side only.
    assert abs(len(took) - died_with_it) <= 3
    for row in took:
        assert row["connected_at_ns"] is None or row["connected_at_ns"] < killed_ns + S, row
        assert killed_ns < row["ended_at_ns"], row
    assert others == []
    for way in ("web", "phone"):
        after = sorted(
            (row for row in rows if row["target"] == way and row["started_at_ns"] > killed_ns),
            key=lambda row: row["connected_at_ns"] or row["ended_at_ns"] + 1e12,
        )
        elsewhere_s = (after[0]["connected_at_ns"] - killed_ns) / S
        setups = [(r["connected_at_ns"] - r["started_at_ns"]) / 1e6 for r in after[:40] if r["connected_at_ns"]]
        print(
            f"{way}: first new call up elsewhere {elsewhere_s:.2f} s after the kill; "
            f"set-up of the next 40: {median_and_p95(setups)}"
        )
        assert elsewhere_s < ELSEWHERE_S
    assert watched.looks[-1][1]["s2"]["state"] == "ready"
