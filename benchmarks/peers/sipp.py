"""SIPp: its `rtp_stream` callers, and its `-rtp_echo` server that answers both competitors of the RTP comparison."""

import shutil
import subprocess
import time
from pathlib import Path

from benchmarks.bench import Ground
from benchmarks.failure import BenchmarkError
from benchmarks.network import drops_of_port, free_udp_ports, read_udp
from benchmarks.peers import apt
from benchmarks.processes import Child, Counts

PACKAGE = "sip-tester"
HOST = "127.0.0.1"
# SIPp does not notice that nobody wants it any more; the kernel ends it with its parent.
SIPP = ["setpriv", "--pdeathsig", "KILL", "sipp", "-nostdin"]
_CALLS_PER_SECOND = 200
_SCENARIO = Path(__file__).with_name("sipp_uac.xml")
_START_LIMIT_S = 20.0
# Playback tasks a thread: SIPp's default of 1 would start a thread per call.
_TASKS_PER_THREAD = 100


def need() -> None:
    """Make sure SIPp is installed."""
    apt.need("SIPp", [PACKAGE], lambda: shutil.which("sipp") is not None)


def version() -> str:
    """Return SIPp's version as it tells it."""
    told = subprocess.run(["sipp", "-v"], capture_output=True, text=True, check=False, timeout=10)
    lines = [line.strip(" .") for line in (told.stdout + told.stderr).splitlines() if line.strip()]
    return lines[0] if lines else "unknown"


class Echo(Child):
    """`sipp -sn uas -rtp_echo` on the answering side's core: every RTP datagram goes back where it came from."""

    def __init__(self, ground: Ground) -> None:
        self.sip_port = free_udp_ports(1)
        # Audio and, two ports on, video.
        self.media_port = free_udp_ports(4)
        ports = ["-i", HOST, "-p", str(self.sip_port), "-mi", HOST, "-mp", str(self.media_port)]
        command = [*SIPP, "-sn", "uas", *ports, "-rtp_echo", "-rtp_buffsize", "4194304", "-cp", _control_port()]
        super().__init__(command, ground.answer_core, ground.log("sipp-uas"), ground.logs)
        _wait_until_bound(self, self.media_port)

    @property
    def rtp_url(self) -> str:
        """Where RTP callers without signalling find it."""
        return f"rtp://{HOST}:{self.media_port}"

    def drops(self) -> int:
        """Return how many datagrams its media socket has lost."""
        return drops_of_port(self.media_port)


class SippCallers:
    """`sipp` placing calls with `rtp_stream`; all of them leave from one socket, which SIPp 3.6 never reads.

    SIPp does not tell how many packets it sent. With the echo as the only other user of UDP in the namespace, the
    callers sent half of all datagrams that left, and half of those that the echo's socket dropped.
    """

    def __init__(self, echo: Echo, speech: bytes, ground: Ground) -> None:
        self._echo = echo
        self._ground = ground
        self._child: Child | None = None
        self._calls = 0
        (ground.logs / "speech.raw").write_bytes(speech)

    @property
    def pid(self) -> int:
        """SIPp's process."""
        if self._child is None:
            raise BenchmarkError("SIPp has not been started: no call was added")
        return self._child.pid

    def add(self, calls: int) -> int:
        """Start SIPp with `calls` calls; it takes no more afterwards."""
        if self._child is not None:
            raise BenchmarkError("a running SIPp takes no more calls")
        placing = ["-m", str(calls), "-l", str(calls), "-r", str(_CALLS_PER_SECOND)]
        media = ["-mi", HOST, "-rtp_threadtasks", str(_TASKS_PER_THREAD)]
        own = ["-i", HOST, "-p", str(free_udp_ports(1)), "-cp", _control_port()]
        command = [*SIPP, "-sf", str(_SCENARIO), f"{HOST}:{self._echo.sip_port}", *placing, *media, *own]
        log = self._ground.log("sipp-uac")
        self._child = Child(command, self._ground.caller_core, log, self._ground.logs)
        self._calls = calls
        time.sleep(calls / _CALLS_PER_SECOND + 2.0)
        if not self._child.is_running():
            raise BenchmarkError(f"SIPp's callers ended at once; the end of their log: {log.read_text()[-400:]}")
        return calls

    def count(self) -> Counts:
        """Return packets sent, from the kernel's counts; what came back SIPp does not tell."""
        if not self._ground.is_own_network:
            return Counts(self._calls, None, None, {})
        udp = read_udp()
        dropped = self._echo.drops()
        sent = (udp.out + dropped) // 2
        return Counts(self._calls, sent, udp.delivered - (sent - dropped), {"echo_drops": dropped})

    def close(self) -> None:
        """End SIPp and with it all calls."""
        if self._child is not None:
            self._child.close()


def _control_port() -> str:
    return str(free_udp_ports(1))


def _wait_until_bound(child: Child, port: int) -> None:
    wanted = f":{port:04X} "
    deadline = time.monotonic() + _START_LIMIT_S
    while wanted not in Path("/proc/self/net/udp").read_text():
        if not child.is_running() or time.monotonic() > deadline:
            child.close()
            raise BenchmarkError(f"SIPp did not open its media port {port}")
        time.sleep(0.05)
