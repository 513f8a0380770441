"""`python -m benchmarks.sipp_sip_calls HOST:PORT CALLS AT_A_TIME`: the same calls by SIPp's own `uac` scenario."""

import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.network import free_udp_ports

# More than it reaches: it calls as soon as one of AT_A_TIME calls is over.
_MOST_CALLS_PER_SECOND = "100000"


def main(address: str, calls: int, at_a_time: int) -> None:
    """Run SIPp once and say what it took; what it counted itself is read from its statistics."""
    with tempfile.TemporaryDirectory() as folder:
        stat = Path(folder) / "stat.csv"
        limits = ["-m", str(calls), "-l", str(at_a_time), "-r", _MOST_CALLS_PER_SECOND, "-d", "0"]
        ports = ["-i", address.partition(":")[0], "-p", str(free_udp_ports(1)), "-cp", str(free_udp_ports(1))]
        told = ["-trace_stat", "-stf", str(stat), "-fd", "1"]
        print(json.dumps({"event": "ready"}), flush=True)
        sys.stdin.readline()
        began = time.monotonic()
        command = ["setpriv", "--pdeathsig", "KILL", "sipp", "-nostdin", "-sn", "uac", address, *limits, *ports, *told]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        wall_s = time.monotonic() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        with stat.open() as file:
            last = list(csv.DictReader(file, delimiter=";"))[-1]
    done = {
        "event": "done",
        "calls": int(last["SuccessfulCall(C)"]),
        "failed": int(last["FailedCall(C)"]),
        "wall_s": wall_s,
        "cpu_s": used.ru_utime + used.ru_stime,
        "resent": int(last["Retransmissions(C)"]),
    }
    print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
