"""What the agent needs beside its stages, gone wrong: a clock, a disk, a database, a certificate, a GPU.

The disk, the database and the GPU are not really gone: the agent is told so where it asks for them, in the words that
the system has for it, and everything behind that is what it would do.
"""

import asyncio
import errno
import os
import ssl
import threading
from datetime import timedelta

from harness.model.clock import ms_between
from target_stack.chaos.expired import expired_chain
from target_stack.chaos.fault import STAGES, ChaosFault, FaultRequest, Passing, StageFault, loop_ns
from target_stack.chaos.parameters import Parameters
from target_stack.chaos.parts import AgentParts, is_running
from target_stack.chaos.stage_kinds import failure_of
from target_stack.compliance.database import StoreError
from target_stack.gate import Gate

MOST_SKEW_S = 400 * 86_400.0
_GPU_STATUS = 503


class ClockSkew(ChaosFault):
    """The wall clock is wrong by so much."""

    what = "readings of the wall clock"

    def __init__(self, parts: AgentParts, request: FaultRequest) -> None:
        super().__init__(request)
        read = Parameters(request.parameters)
        self._skew = timedelta(seconds=read.number("skew_s", low=-MOST_SKEW_S, high=MOST_SKEW_S))
        read.close()
        self._clock = parts.clock

    async def begin(self) -> None:
        """Set it wrong."""
        self._clock.skews.append(self._skewed)

    def _skewed(self) -> timedelta:
        self.tally.seen += 1
        self.tally.touched += bool(self._skew)
        return self._skew

    async def end(self) -> None:
        """Set it right."""
        self._clock.skews.remove(self._skewed)


class _Refusing(ChaosFault):
    """Stands in a gate and refuses everything; from whatever thread it is asked."""

    def __init__(self, request: FaultRequest, gate: Gate | None, missing: str) -> None:
        super().__init__(request)
        Parameters(request.parameters).close()
        if gate is None:
            raise ValueError(missing)
        self._gate = gate
        self._lock = threading.Lock()

    async def begin(self) -> None:
        """Stand in the way."""
        self._gate.put(self._refuse)

    def _refuse(self) -> None:
        with self._lock:
            self.tally.touched += 1
        raise self.error()

    def error(self) -> Exception:
        """Return what the agent is told."""
        raise NotImplementedError

    async def end(self) -> None:
        """Get out of the way."""
        self._gate.take_out(self._refuse)


class DiskFull(_Refusing):
    """What the agent writes, its event log and its recordings, finds no room (ENOSPC)."""

    what = "writes refused"

    def __init__(self, parts: AgentParts, request: FaultRequest) -> None:
        super().__init__(
            request, parts.disk, "this agent writes nothing; legal with `up --events FILE` or `up --compliance FILE`"
        )

    def error(self) -> Exception:
        """Return the kernel's word."""
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class DatabaseLoss(_Refusing):
    """The consent store does not answer: every question to it fails."""

    what = "questions to the database that failed"

    def __init__(self, parts: AgentParts, request: FaultRequest) -> None:
        super().__init__(request, parts.database, "this agent keeps no database; legal with `up --compliance FILE`")

    def error(self) -> Exception:
        """Return what the store raises."""
        return StoreError(f"the consent store cannot be reached, by the fault {self.request.id}")


class CertificateExpiry(ChaosFault):
    """Who connects by TLS is shown a certificate that ran out yesterday: for the same hosts and key, really made."""

    what = "TLS handshakes shown an expired certificate"

    def __init__(self, parts: AgentParts, request: FaultRequest) -> None:
        super().__init__(request)
        Parameters(request.parameters).close()
        if parts.tls is None:
            raise ValueError(
                "this agent accepts no TLS itself; legal with `up --sips-port PORT`, without media servers"
            )
        self._tls = parts.tls

    async def begin(self) -> None:
        """Have the next handshakes show it."""
        tls = self._tls
        with expired_chain(tls.certificate, tls.key) as chain:
            tls.context.load_cert_chain(chain, tls.key)
        tls.expiries.append(self._count)

        def told(_object: object, _name: str | None, _context: ssl.SSLContext) -> None:
            for count in tls.expiries:
                count()

        tls.context.sni_callback = told

    def _count(self) -> None:
        self.tally.seen += 1
        self.tally.touch()

    async def end(self) -> None:
        """Show the real one again, unless another fault has it expired as well."""
        tls = self._tls
        if tls.expiries == [self._count]:
            tls.context.load_cert_chain(tls.certificate, tls.key)
            tls.context.sni_callback = None
        if self._count in tls.expiries:
            tls.expiries.remove(self._count)


class GpuLoss(StageFault):
    """The GPU of some stages is lost, as one that falls off its bus: processes die, requests fail, models reload."""

    what = "requests lost with the GPU"
    catches_running = True

    def __init__(self, parts: AgentParts, request: FaultRequest) -> None:
        super().__init__(request)
        read = Parameters(request.parameters)
        chosen = read.choice("stage", ("all", *STAGES), "all")
        read.close()
        self._stages = STAGES if chosen == "all" else (chosen,)
        self._parts = parts
        # Whose models are still to be loaded anew.
        self._unloaded: set[str] = set()

    def stands_at(self, stage: str) -> bool:
        """Whether the stage's work was on that GPU."""
        return stage in self._stages

    async def begin(self) -> None:
        """Take the processes with it."""
        self._unloaded.update(self._stages)
        for stage in self._stages:
            if (server := self._parts.servers.get(stage)) is not None and is_running(server):
                await server.kill()
                self.tally.counts["processes_killed"] += 1

    async def meet(self, passage: Passing) -> None:
        """Fail."""
        raise self._lost(passage)

    def overtake(self, passage: Passing) -> None:
        """Fail what was under way as well."""
        self.tally.counts["under_way"] += 1
        raise self._lost(passage)

    def _lost(self, passage: Passing) -> Exception:
        self.tally.touch(passage.call_id)
        said = f"CUDA error: the GPU is lost, by the fault {self.request.id} (emulated)"
        return failure_of(passage.stage, said, _GPU_STATUS)

    async def end(self) -> None:
        """Have another GPU: load the models anew, all at once; again, those that could not be loaded."""
        stages = sorted(self._unloaded)
        found = await asyncio.gather(*map(self._load, stages), return_exceptions=True)
        problems = {stage: said for stage, said in zip(stages, found, strict=True) if said is not None}
        if problems:
            raise RuntimeError("; ".join(f"{stage}: {said}" for stage, said in problems.items()))

    async def _load(self, stage: str) -> None:
        begun_ns = loop_ns()
        if (load := self._parts.loader(stage)) is not None:
            await load()
            self.tally.counts[f"{stage}_load_ms"] = round(ms_between(begun_ns, loop_ns()))
        self._unloaded.discard(stage)


SURROUNDING_KINDS = {
    "target.clock_skew": ClockSkew,
    "target.disk_full": DiskFull,
    "target.database_loss": DatabaseLoss,
    "target.certificate_expiry": CertificateExpiry,
    "gpu.loss": GpuLoss,
}
