"""SIPp's short calls: `sipp -sn uac -r RATE`, and the `sipp -sn uas` that answers them and ours."""

import csv
import re
import shlex
import shutil
from pathlib import Path

from benchmarks.accounting import read_cpu
from benchmarks.bench import Ground
from benchmarks.call_rate import Held
from benchmarks.failure import BenchmarkError
from benchmarks.network import free_udp_ports
from benchmarks.peers.sipp import HOST, SIPP
from benchmarks.processes import Child

# As large as ours; the kernel grants what net.core.rmem_max allows.
BUFFER_BYTES = 4 << 20
_END_LIMIT_S = 60.0


class Uas(Child):
    """The agent: 180, 200, and 200 to the BYE; no audio."""

    def __init__(self, ground: Ground) -> None:
        self.port = free_udp_ports(1)
        own = ["-i", HOST, "-p", str(self.port), "-cp", str(free_udp_ports(1)), "-buff_size", str(BUFFER_BYTES)]
        # Its screens fill a pipe that nobody reads within half a minute, and then it stands still.
        command = ["sh", "-c", f"exec {shlex.join([*SIPP, '-sn', 'uas', *own])} >/dev/null"]
        super().__init__(command, ground.answer_core, ground.log("sipp-uas"), ground.logs)

    @property
    def url(self) -> str:
        """Where it is called."""
        return f"sip:{HOST}:{self.port}"


def hold(uas: Uas, ground: Ground, rate: float, seconds: float) -> Held:
    """Hold `rate` calls a second for `seconds` with SIPp's own caller."""
    placed, table = max(1, round(rate * seconds)), ground.logs / "uac.csv"
    table.unlink(missing_ok=True)
    own = ["-i", HOST, "-p", str(free_udp_ports(1)), "-cp", str(free_udp_ports(1)), "-buff_size", str(BUFFER_BYTES)]
    # No limit on the calls at a time: who falls behind shall not be spared.
    placing = ["-r", str(round(rate)), "-m", str(placed), "-l", str(placed)]
    counting = ["-trace_stat", "-stf", str(table), "-fd", "1"]
    sipp = shlex.join([*SIPP, "-sn", "uac", f"{HOST}:{uas.port}", *placing, *counting, *own])
    # A shell waits for it and tells what it has used: /proc forgets a process that has ended.
    shell = [shutil.which("bash") or "bash", "-c", f"{sipp} >/dev/null; times"]
    before = read_cpu(uas.pid)
    with Child(shell, ground.caller_core, ground.log("sipp-uac"), ground.logs) as child:
        # The shell's own times come first.
        child.hear_line(seconds + _END_LIMIT_S)
        told = child.hear_line(_END_LIMIT_S)
        peer_s = read_cpu(uas.pid).since(before) / 1e9
    counts = last_row(table)
    return Held(
        asked_per_s=rate,
        placed=placed,
        completed=int(counts["SuccessfulCall(C)"]),
        seconds=placed / float(counts["CallRate(C)"]),
        resent=int(counts["Retransmissions(C)"]),
        cpu_s=cpu_of(told),
        peer_cpu_s=peer_s,
        more={"failed": int(counts["FailedCall(C)"]), "watchdog": int(counts["WatchdogMajor(C)"])},
    )


def last_row(table: Path) -> dict[str, str]:
    """Return the last row of SIPp's statistics."""
    try:
        rows = list(csv.DictReader(table.read_text().splitlines(), delimiter=";"))
    except OSError as error:
        raise BenchmarkError(f"SIPp left no statistics: {error}") from error
    if not rows:
        raise BenchmarkError(f"SIPp's statistics are empty: {table}")
    return rows[-1]


def cpu_of(told: str) -> float:
    """Return the CPU seconds that a line of the shell's `times` tells: `0m1.234s 0m0.567s`."""
    found = re.fullmatch(r"(\d+)m([\d.]+)s (\d+)m([\d.]+)s", told.strip())
    if found is None:
        raise BenchmarkError(f"the shell around SIPp said '{told}' instead of its times")
    minutes, seconds, more_minutes, more_seconds = map(float, found.groups())
    return 60 * (minutes + more_minutes) + seconds + more_seconds
