"""The front: what callers reach where the agent runs in several processes. It holds no models and sees no audio.

start() ─► HTTP and SIP sockets, a process for each server ─► ready() when the first can take calls ─► drain(), aclose()

Told by the servers' lines: registered, load, SIP, gone. Own clock: leases, deadlines of drains, a hung server's end.
"""

import asyncio
import contextlib
import logging

from harness.model.clock import NS_PER_S, monotonic_ns
from target_stack.config import StackConfig
from target_stack.edge.sip_listening import SipAddresses
from target_stack.servers.admin import Admin
from target_stack.servers.children import Children, ServerStartError
from target_stack.servers.counts import FrontCounts
from target_stack.servers.front_http import FrontHttp
from target_stack.servers.front_sip import FrontSip
from target_stack.servers.link import Frame, Link
from target_stack.servers.member_config import MemberConfig, stack_of_member
from target_stack.servers.overview import Overview
from target_stack.servers.registry import Load, Registry, State
from target_stack.servers.routing import Desk
from target_stack.servers.shared_stages import SharedStages

_log = logging.getLogger(__name__)
_WATCH_S = 0.1
# Silent for so long, a process is taken for hung and is ended, so that another can begin.
_HUNG_S = 20.0
# And for so long where none of them says anything: they hang because the machine does.
_ALL_HUNG_S = 60.0
# A look that comes later than this was kept from the CPU, and so were the ears.
_AWAY_S = 0.5


class Front:
    """Routes to the media servers of one configuration."""

    def __init__(self, config: StackConfig) -> None:
        self._config = config
        servers = config.servers
        self._shared = SharedStages(config)
        self.counts = FrontCounts()
        self.registry = Registry(servers.rules)
        limits = {} if servers.trunk_calls is None else {"sip": servers.trunk_calls}
        self._desk = Desk(self.registry, self.counts, limits)
        self._children = Children(
            servers.names,
            self._config_of,
            on_begun=self._begun,
            on_frame=self._frame_arrived,
            on_gone=self._gone,
        )
        self._overview = Overview(
            self.registry,
            self._desk,
            self.counts,
            config.sip.retry_after_s,
            self._shared.metrics,
            has_one_llm=bool(config.llm.url),
            token=config.admin_token,
        )
        self._admin = Admin(
            self._desk, self._children, self._overview, drain_s=servers.drain_s, token=config.admin_token
        )
        self._http = FrontHttp(
            config.host,
            config.port,
            self._desk,
            self.counts,
            retry_after_s=config.sip.retry_after_s,
            pages={**self._overview.pages(), **self._admin.pages()},
        )
        self._http_port = 0
        self._sip = FrontSip(config.sip, self._desk, self.counts, self._overview.health) if config.sip.is_on else None
        self._watching: asyncio.Task[None] | None = None
        self._is_up = asyncio.Event()
        self._is_empty = asyncio.Event()

    async def start(self) -> tuple[int, SipAddresses]:
        """Listen and begin the processes; return the HTTP port and where SIP is. OSError, ScenarioError."""
        self._config = await self._shared.start()
        self._http_port = await self._http.start()
        addresses = await self._sip.start() if self._sip is not None else SipAddresses()
        self._children.start()
        self._watching = asyncio.create_task(self._watch(), name="media servers' leases")
        return self._http_port, addresses

    async def ready(self) -> None:
        """Return when every server takes calls; ServerStartError when one of them cannot start."""
        await self._is_up.wait()
        failures = self._children.failures
        if failures:
            raise ServerStartError("; ".join(f"media server {name}: {why}" for name, why in failures.items()))

    async def drain(self, limit_s: float) -> None:
        """Begin no session any more, and wait until those there are have ended, or for `limit_s`."""
        self._desk.closed_because = "the agent is shutting down"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                # From the next look on: sessions that were let in just before are seen by then.
                self._is_empty.clear()
                await self._is_empty.wait()

    async def aclose(self) -> None:
        """End every server, which says goodbye to its callers, then stop listening."""
        self._desk.closed_because = "the agent is shutting down"
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await self._children.aclose()
        if self._sip is not None:
            await self._sip.aclose()
        await self._http.aclose()
        await self._overview.aclose()
        await self._shared.aclose()

    def _config_of(self, name: str) -> MemberConfig:
        return MemberConfig(
            name,
            stack_of_member(self._config, self._config.servers.calls_each),
            self._config.host,
            self._http_port,
            logging.getLogger().level,
        )

    # --- what the servers say ---

    def _begun(self, name: str, link: Link) -> None:
        if name in self.registry:
            self.counts.restarts[name] += 1
        self.registry.register(name, self._config.servers.calls_each, monotonic_ns())
        self._desk.connect(name, link)

    def _frame_arrived(self, name: str, frame: Frame) -> None:
        match frame.kind:
            case "load":
                fields = frame.fields
                self.registry.heard(name, Load(fields["calls"], fields["settled"], fields["is_ready"]), monotonic_ns())
                self._overview.cpu_s[name] = float(fields["cpu_s"])
                self._overview.processes[name] = fields["processes"]
                self._look_whether_up()
            case "registered":
                self._overview.http_ports[name] = int(frame.fields["http_port"])
                self._overview.described_as(frame.fields["about"])
            case "sip" | "sip_call" if self._sip is not None:
                self._sip.frame_arrived(name, frame)

    def _gone(self, name: str, was_asked: bool) -> None:
        server = self.registry[name]
        if server.state is State.GONE:
            return
        if not was_asked:
            self.counts.lost_calls[name] += server.load.active
            _log.warning("media server %s is gone, and %d calls with it", name, server.load.active)
        self._desk.disconnect(name)
        self._overview.gone(name, was_asked=was_asked)
        self.registry.gone(name, was_asked=was_asked)
        if self._sip is not None:
            self._sip.server_gone(name)
        self._look_whether_up()

    def _look_whether_up(self) -> None:
        servers = self.registry.all()
        is_complete = len(servers) == self._config.servers.count
        if self._children.failures or (is_complete and all(s.load.is_ready for s in servers)):
            self._is_up.set()

    async def _watch(self) -> None:
        looked_ns = monotonic_ns()
        while True:
            await asyncio.sleep(_WATCH_S)
            now_ns = monotonic_ns()
            away_ns, looked_ns = now_ns - looked_ns, now_ns
            if away_ns > _AWAY_S * NS_PER_S:
                self.registry.pardon(away_ns)
            for name in self.registry.expire(now_ns):
                _log.warning("media server %s says nothing any more: no new calls for it", name)
            hung_s = _ALL_HUNG_S if self.registry.is_all_late else _HUNG_S
            for server in self.registry.all():
                if server.state is State.LOST and now_ns - server.heard_at_ns > hung_s * NS_PER_S:
                    _log.error("media server %s has been silent for %.0f s: ended", server.name, hung_s)
                    self._children.kill(server.name)
            self._admin.watch()
            if not self.registry.in_use:
                self._is_empty.set()
