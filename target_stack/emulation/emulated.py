"""The emulated models of one agent: built from the configuration, loaded, counted, closed."""

import asyncio
from functools import partial

from target_stack.emulation.cold_starts import ColdStarts
from target_stack.emulation.emulated_metrics import render_servers
from target_stack.emulation.life import Life
from target_stack.emulation.pool_client import PoolClient
from target_stack.emulation.servers import LocalServers
from target_stack.emulation.stages import EmulatedLlm, EmulatedStt, EmulatedTts
from target_stack.emulation.voice import voiced
from target_stack.emulation.work import Servers
from target_stack.emulation_config import EmulationConfig
from target_stack.telemetry.batch_stats import BatchStats
from target_stack.telemetry.stats import Stats


class EmulatedModels:
    """All three stages. Load each, then `settle`; `aclose` at the end. `local` is None where a pool is shared."""

    def __init__(self, config: EmulationConfig, stats: Stats, batches: dict[str, BatchStats]) -> None:
        self._config = config
        self.local: LocalServers | None = None
        self._pool: PoolClient | None = None
        if config.pool is not None:
            self._pool = PoolClient(config.pool)
        else:
            self.local = LocalServers(config.times, config.servers, stats, batches)
        servers = self._servers()
        told = config.descriptions
        cold = ColdStarts(config.times, config.servers.seed)
        self.stt = EmulatedStt(servers, told["stt"], Life("stt", partial(cold.draw_ms, "stt")))
        self.llm = EmulatedLlm(servers, told["llm"], Life("llm", partial(cold.draw_ms, "llm")))
        pace_ms = config.times.tts.speech_ms_per_character
        self.tts = EmulatedTts(servers, told["tts"], Life("tts", partial(cold.draw_ms, "tts")), pace_ms)
        self._connecting: asyncio.Task[None] | None = None

    def _servers(self) -> Servers:
        servers = self.local or self._pool
        assert servers is not None
        return servers

    async def load_stt(self) -> EmulatedStt:
        """Return it when its cold start is over. Raises OSError where there is no pool."""
        await self._warm("stt")
        return self.stt

    async def load_llm(self) -> EmulatedLlm:
        """Return it when its cold start is over."""
        await self._warm("llm")
        return self.llm

    async def load_tts(self) -> EmulatedTts:
        """Return it when its cold start is over."""
        # Made once, in a moment that no call should feel.
        await asyncio.to_thread(voiced, 1000.0)
        await self._warm("tts")
        return self.tts

    async def _warm(self, stage: str) -> None:
        if self._pool is not None:
            if self._connecting is None:
                self._connecting = asyncio.create_task(self._pool.connect())
            await asyncio.shield(self._connecting)
        elif self.local is not None and self._config.cold_start == "start":
            await asyncio.sleep(self.local.cold_starts.draw_ms(stage) / 1000)

    def settle(self) -> None:
        """Everything is loaded: from here on calls come, and the first may find the models cold."""
        if self.local is not None and self._config.cold_start == "first":
            for stage in self.local.conditions:
                self.local.go_cold(stage)

    @property
    def processes(self) -> dict[str, Life]:
        """What runs each stage, to be killed and started again."""
        return {"stt": self.stt.life, "llm": self.llm.life, "tts": self.tts.life}

    def fault(self) -> str:
        """Return why calls cannot be taken, "" while they can."""
        return "" if self._pool is None or self._pool.is_connected else "the pool of emulated servers is gone"

    def metrics(self) -> str:
        """Return the Prometheus text; a pool's is its host's to tell."""
        return render_servers(self.local) if self.local is not None else ""

    async def aclose(self) -> None:
        """Refuse what waits and runs."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._pool is not None:
            await self._pool.aclose()
        if self.local is not None:
            await self.local.aclose()
