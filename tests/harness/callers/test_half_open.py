"""Agents that vanish in the middle of a call, over every transport: noticed in seconds, by cause, nothing left behind.

With `-s` the time that each took to be noticed is printed as the documentation's table.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
import rtp_bench
import sip_bench
import stream_agent
from engine_bench import bench_clips, responder, write_wav_corpus
from engine_bench import plan as webrtc_plan
from test_sip_tls import certificate

from harness.callers.call import Call, CallContext
from harness.callers.media_stream_host import StreamHost
from harness.callers.setup_queue import SetupQueue
from harness.callers.sip_host import SipHost
from harness.callers.source_ports import SourcePorts
from harness.corpus.manifest import load_corpus
from harness.engine.clip_store import ClipStore
from harness.media.loop import MediaLoop
from harness.media.peer.host import PeerHost
from harness.model.clock import monotonic_ns, ms_between
from harness.model.plan import CallLimits, Patience
from harness.protocols.sip.config import AgentConfig, TimerValues

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(180)]

__all__ = ["certificate"]

MEDIA_TIMEOUT_MS = float(os.environ.get("HALF_OPEN_MEDIA_TIMEOUT_MS", "1500"))
# Nothing but the watchdogs may end a call: callers wait for a greeting that never comes, for longer than the test.
LIMITS = CallLimits(
    connect_timeout_ms=20_000, greeting_timeout_ms=120_000, call_timeout_ms=120_000, media_timeout_ms=MEDIA_TIMEOUT_MS
)
PATIENT = Patience("unlimited", 0.0, 1.0, 0)
LOST, CUT, BROKEN = {"media_lost"}, {"sip_transport_lost"}, {"connection_lost"}
# What a process that was killed leaves to its kernel: connections are ended, datagrams fall on the floor.
KILLED = {
    "webrtc": LOST, "rtp": LOST, "sip udp": LOST, "sip tcp": CUT, "sip tls": CUT,
    "media stream": BROKEN,
    # AudioSocket knows no goodbye but the end of the connection: a FIN is one, a RST is none, and the kernel sends
    # either, by whether all was read.
    "audiosocket": BROKEN | {"agent_hung_up"},
}  # fmt: skip
# The kernel of one that is stopped goes on acknowledging. AudioSocket has no sign of life to ask for: an agent that
# sends nothing may only have nothing to say, and it is the answer that it owes which is missed.
STOPPED = {name: LOST for name in KILLED if name != "audiosocket"}
RESET = {"sip tcp": CUT, "sip tls": CUT, "media stream": BROKEN, "audiosocket": BROKEN}


@contextlib.contextmanager
def agents(certificate):
    """Run the agents that can vanish; yields (addresses by name, process)."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("vanishing_agents.py")), *map(str, certificate)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    ) as process:
        try:
            yield json.loads(process.stdout.readline()), process
        finally:
            process.kill()


def plans(urls, certificate):
    def planned(name, call_id):
        url = urls[name]
        if name == "webrtc":
            made = webrtc_plan(url, call_id, ["voiced-b"], dialect="json")
        elif name == "rtp":
            made = rtp_bench.plan(url, call_id, codec="PCMU")
        elif name.startswith("sip"):
            made = sip_bench.plan(url, call_id, tls_ca=str(certificate[0]) if "tls" in name else None)
        else:
            dialect, codec = ("twilio", "PCMU") if name == "media stream" else ("audiosocket", "L16")
            made = stream_agent.plan(url, call_id, dialect=dialect, codec=codec)
        turns = tuple(replace(turn, utterance_id="voiced-b") for turn in made.turns)
        return replace(made, turns=turns, limits=LIMITS, patience=PATIENT)

    # Two of each: one's end is not to hide the other's.
    return [planned(name, f"{name} {i}") for name in urls for i in range(2)]


class Host:
    """All that calls of an engine share."""

    async def __aenter__(self):
        self.media_loop = MediaLoop(capacity=64)
        self.media_loop.start()
        self.peers = PeerHost(self.media_loop)
        # T1 of 20 ms: what a BYE without an answer leaves behind is gone after 1.3 s, not 32.
        self.sip = SipHost(AgentConfig(invites=False, timers=TimerValues(t1_ms=20)))
        self.ports = SourcePorts(self.media_loop)
        self.http = aiohttp.ClientSession()
        self.streams = StreamHost(self.http)
        return self

    async def __aexit__(self, *_):
        await self.sip.aclose()
        self.streams.close()
        self.peers.close()
        await self.http.close()
        # Connections are closed in a step of the event loop of their own.
        await asyncio.sleep(0.1)
        self.media_loop.stop()

    def context(self, tmp_path, corpus, on_milestone):
        loaded = load_corpus(corpus)
        return CallContext(
            worker="w", run_dir=tmp_path, http=self.http, media_loop=self.media_loop, peers=self.peers,
            source_ports=self.ports, setup_queue=SetupQueue(), timers=self.peers.timers,
            utterances=loaded.utterances, clip=ClipStore(loaded).clip, on_turn=lambda _turn: None,
            on_milestone=on_milestone, streams=self.streams, sip=self.sip,
        )  # fmt: skip

    def leftovers(self):
        """Return what is left of calls, by what it is; connections for SIP are all calls', and end with the host."""
        shared = [port for ports in self.peers._shared.values() for port in ports]
        agent = self.sip.agent
        found = {
            "rows": list(self.media_loop._calls._calls),
            "places": [place for port in shared for place in (*port.owners, *port.checks, *port.claims)],
            "own sockets": len(self.media_loop._ports) - len(shared) - len(self.ports._shared.get("127.0.0.1", ())),
            "marks": [mark for ports in self.ports._shared.values() for _, marks in ports for mark in marks],
            "dialogs and transactions": (agent.calls, agent.held),
            "riders": dict(self.sip._riders),
            "beats": dict(self.streams.ticker._phase_of),
            "streams": dict(self.streams._streams),
        }
        return {name: what for name, what in found.items() if what and what != (0, 0)}


def descriptors():
    """Return what this process has open, but for the directory that is being read."""
    own = Path("/proc/self/fd")
    return sorted(os.readlink(fd) for fd in own.iterdir() if fd.is_symlink())  # noqa: PTH115 - sockets have no path


async def vanish(tmp_path, corpus, made, how):
    """Hold the calls until all are up, then have `how` done to their agents; return {name: [(record, seconds)]}."""
    up = asyncio.Semaphore(0)
    tasks_before = asyncio.all_tasks()
    async with Host() as host:
        context = host.context(tmp_path, corpus, lambda _call, what: up.release() if what.name == "connected" else None)
        calls = [asyncio.create_task(Call(each, None, context).run()) for each in made]
        async with asyncio.timeout(60):
            for _ in calls:
                await up.acquire()
        # Past the first second, in which every call's media has begun.
        await asyncio.sleep(1.0)
        assert [call for call in calls if call.done()] == []
        at_ns = monotonic_ns()
        how()
        _done, unnoticed = await asyncio.wait(calls, timeout=60 + MEDIA_TIMEOUT_MS / 1000)
        assert [each.call_id for each, call in zip(made, calls, strict=True) if call in unnoticed] == []
        records = [call.result() for call in calls]
        await asyncio.sleep(2)
        assert host.leftovers() == {}
        assert {task for task in asyncio.all_tasks() - tasks_before if "run" in repr(task.get_coro())} == set()
    noticed = {}
    for record in records:
        name = record.call_id.rpartition(" ")[0]
        noticed.setdefault(name, []).append((record, ms_between(at_ns, record.ended_at_ns) / 1000))
    return noticed


def noticed_by(tmp_path, certificate, wanted, signal_of=None):
    """Return what was told of calls to agents that got a signal, or were told to cut their connections."""
    corpus = write_wav_corpus(tmp_path / "corpus", bench_clips())
    before = None
    with agents(certificate) as (others, process), responder(tmp_path / "truth") as (webrtc, agent):
        urls = {name: url for name, url in {"webrtc": webrtc, **others}.items() if name in wanted}

        def how():
            if signal_of is None:
                process.stdin.write("cut\n")
                process.stdin.flush()
            else:
                process.send_signal(signal_of)
                agent.send_signal(signal_of)

        before = descriptors()
        try:
            noticed = asyncio.run(vanish(tmp_path, corpus, plans(urls, certificate), how))
        finally:
            for each in (process, agent):
                each.send_signal(signal.SIGCONT)
        assert descriptors() == before
    return noticed


def told(noticed):
    for name, ends in noticed.items():
        causes = ", ".join(sorted({record.cause for record, _ in ends}))
        print(f"| {name} | {causes} | {max(seconds for _, seconds in ends):.1f} s | {ends[0][0].detail} |")
        assert {record.outcome for record, _ in ends} == {"dropped"}
    return {name: {str(record.cause) for record, _ in ends} for name, ends in noticed.items()}


@pytest.mark.parametrize(
    ("wanted", "signal_of"),
    [
        pytest.param(KILLED, signal.SIGKILL, id="killed"),
        pytest.param(STOPPED, signal.SIGSTOP, id="stopped", marks=pytest.mark.slow),
        pytest.param(RESET, None, id="connections-reset", marks=pytest.mark.slow),
    ],
)
def test_an_agent_that_vanishes_is_noticed(tmp_path, certificate, wanted, signal_of):
    noticed = noticed_by(tmp_path, certificate, wanted, signal_of)
    causes = told(noticed)
    assert causes.keys() == wanted.keys()
    assert {name: found for name, found in causes.items() if not found <= wanted[name]} == {}
    # Within seconds, on a machine as slow as any.
    assert max(seconds for ends in noticed.values() for _, seconds in ends) < MEDIA_TIMEOUT_MS / 1000 + 20
