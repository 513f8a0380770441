"""The composition root: builds the models, the stages and the edge from the configuration. Nothing else does."""

import asyncio
import ipaddress
from typing import Any

from harness.protocols.sip.flow import host_port
from harness.signalling.sip_endpoint import SipEndpoint
from target_stack.chaos.admin import Admin, why_not_shown
from target_stack.chaos.chaos import Chaos
from target_stack.chaos.parts import TlsListener
from target_stack.compliance.office import Office
from target_stack.compliance.session import GuardedSession
from target_stack.config import StackConfig
from target_stack.echo.guard import EchoGuard, Overheard
from target_stack.edge.behind import Behind
from target_stack.edge.server import EdgeServer
from target_stack.edge.sip_edge import SipEdge
from target_stack.edge.sip_listening import SipAddresses
from target_stack.emulation.emulated import EmulatedModels
from target_stack.emulation.level_vad import LevelVad
from target_stack.frames import AgentSession, EdgeSink
from target_stack.gate import Gate
from target_stack.loading import Loading
from target_stack.models.catalogue import GEMMA
from target_stack.own_models import OwnModels, stt_description, tts_description
from target_stack.pipeline.reply import NO_SAMPLES
from target_stack.pipeline.session import Greeting, Session, SessionRules, Stages
from target_stack.readiness import Readiness
from target_stack.routing.billing import BillingTelemetry
from target_stack.routing.routing_stats import RoutingStats
from target_stack.routing.switchboard import Switchboard
from target_stack.serving.remote import RemoteStt, RemoteTts
from target_stack.stages.llm import LanguageModel
from target_stack.stages.llm_server import LocalLlmServer
from target_stack.stages.llm_stage import SLOTS, LlmStage
from target_stack.stages.stt import SpeechToText
from target_stack.stages.tts import TextToSpeech
from target_stack.stages.vad import SileroVad
from target_stack.telemetry.batch_stats import BatchStats, render_batches
from target_stack.telemetry.compliance import render_compliance
from target_stack.telemetry.events import EventLog
from target_stack.telemetry.gpu import GpuWatch
from target_stack.telemetry.metrics import render_sip, render_stats
from target_stack.telemetry.otel import OtelSpans
from target_stack.telemetry.process_facts import child_facts, process_facts, render_process
from target_stack.telemetry.service_metrics import render_service
from target_stack.telemetry.stats import Stats
from target_stack.telemetry.turn_metrics import render_turns

LLM_SLOTS = SLOTS


class Stack:
    """The whole agent in this process. `start()` returns with HTTP up; `load()` ends when calls can be taken."""

    def __init__(self, config: StackConfig, behind: Behind | None = None) -> None:
        self._config = config
        # The front that callers come through, where there is one.
        self._behind = behind
        self.stats = Stats()
        self.chaos = Chaos()
        self._routing = routing = RoutingStats()
        self._disk = Gate()
        log = EventLog(config.events, disk=self._disk)
        self._telemetry = BillingTelemetry(self.stats, log, routing, config.routes.throughout)
        self._switchboard = Switchboard(
            config.routes,
            self._telemetry,
            routing,
            own_patience_ms={"llm": config.llm.patience_ms, **config.remote.patience_ms},
        )
        simulated = _simulated(config) + self._switchboard.simulated()
        self._loading = Loading(_descriptions(config), simulated, config.profile)
        self.llm_stage = LlmStage(config.llm, _descriptions(config)["llm"])
        self.gpus = GpuWatch()
        self._llm: LanguageModel | None = None
        self._stt: SpeechToText | None = None
        self._tts: TextToSpeech | None = None
        self._batches: dict[str, BatchStats] = {}
        self._own = OwnModels(config, self.stats, self._batches)
        self._emulated = (
            EmulatedModels(config.emulation, self.stats, self._batches) if config.emulation is not None else None
        )
        if self._emulated is not None:
            self._loading.watch("stt", self._emulated.fault)
        self._stages: Stages | None = None
        self._greeting = Greeting("", NO_SAMPLES)
        self._rules = SessionRules(config.turn.endpointing, config.turn.reply, config.turn.stt)
        if config.turn.otlp:
            self._telemetry.span_sinks.append(OtelSpans(config.turn.otlp))
        self._office = Office(config.compliance, disk=self._disk) if config.compliance is not None else None
        if config.events is not None or self._office is not None:
            self.chaos.parts.disk = self._disk
        if self._office is not None:
            self.chaos.parts.database = self._office.ledger.gate
        self._edge = EdgeServer(
            self.new_session,
            config.host,
            config.port,
            readiness=self.readiness,
            metrics=self._metrics,
            max_calls=config.max_calls,
            extra_routes=Admin(self.chaos, config.admin_token).routes(),
            behind=behind,
            webrtc=config.webrtc,
            has_fallback=config.has_fallback,
            processes=self.processes,
            why_no_metrics=lambda request: why_not_shown(request, config.admin_token),
        )
        self._http_port = 0
        self._sip = self._new_sip_edge() if config.sip.is_on else None

    def _new_sip_edge(self) -> SipEdge:
        return SipEdge(
            self.new_session,
            self._config.sip,
            readiness=self.readiness,
            names=self._edge.names,
            streams=self._edge.streams,
            events_base=self._events_base,
            new_sockets=SipEndpoint if self._behind is None else self._behind.new_sip_sockets,
        )

    def _events_base(self, our_host: str) -> str:
        """Return where a caller that reached us at `our_host` finds the HTTP edge."""
        listening, port = self._config.host, self._http_port
        if self._behind is not None:
            listening, port = self._behind.front_host, self._behind.front_port
        host = our_host if ipaddress.ip_address(listening).is_unspecified else listening
        return f"ws://{host_port((host, port))}"

    def _metrics(self) -> str:
        sip = render_sip(self._sip.take_counts()) if self._sip else ""
        # What waits for a batch waits, too.
        self.stats.queue_depths |= {name: batches.depth for name, batches in self._batches.items()}
        own = (
            render_stats(self.stats)
            + render_service(self.stats, self.calls_by_kind(), self.capacity_by_kind(), self._routing)
            + render_turns(self.stats, self._telemetry.budget)
            + render_batches(self._batches)
            + self._switchboard.metrics()
            + self._telemetry.events.metrics()
            + render_process()
        )
        own += self._emulated.metrics() if self._emulated else self.llm_stage.metrics() + self.gpus.metrics()
        return own + sip + (render_compliance(self._office.counts) if self._office else "")

    async def start(self) -> int:
        """Open event log, consent store and HTTP edge; return the bound port. Raises OSError, StoreError."""
        self._telemetry.events.open()
        if self._office is not None:
            await self._office.open()
        if self._emulated is None:
            await self.gpus.start()
        self._http_port = await self._edge.start()
        return self._http_port

    async def start_sip(self) -> SipAddresses:
        """Listen for SIP where that is asked for; return where. Raises OSError, ScenarioError."""
        if self._sip is None:
            return SipAddresses()
        addresses = await self._sip.start()
        options, tls = self._config.sip, self._sip.tls
        if self._behind is None and tls is not None and options.certificate is not None and options.key is not None:
            # Behind a front it is the front that shakes hands.
            self.chaos.parts.tls = TlsListener(tls, options.certificate, options.key)
        return addresses

    async def load(self) -> None:
        """Find or fetch the weights, load and warm every stage. Raises the first failure; `readiness` keeps it too."""
        await self._switchboard.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._loading.load("vad", self._load_vad()))
                group.create_task(self._loading.load("stt", self._load_stt()))
                group.create_task(self._loading.load("llm", self._load_llm()))
                group.create_task(self._loading.load("tts", self._load_tts()))
        except ExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
        own_stt, own_llm, own_tts = self.own_stages()
        board, chaos = self._switchboard, self.chaos
        # Faults are our own provider's: routing sees them, and may go around them.
        stt, llm, tts = chaos.stt(own_stt), chaos.llm(own_llm), chaos.tts(own_tts)
        routed = board.llm(llm)
        # Emulated replies do not depend on what was said, so nothing of a long call can be too long for them.
        told = routed if self._emulated is not None else self.llm_stage.within(routed, chaos.history)
        if self._emulated is None:
            chaos.runs_in("llm", self.llm_stage.server)
        self._stages = Stages(_vad(self._config), board.stt(stt), told, board.tts(tts))
        if self._emulated is not None:
            for stage, process in self._emulated.processes.items():
                chaos.runs_in(stage, process)
            self._emulated.settle()

    def own_stages(self) -> tuple[SpeechToText, LanguageModel, TextToSpeech]:
        """Return our own models as they are, with nothing before them; only after `load`."""
        assert self._stt is not None
        assert self._llm is not None
        assert self._tts is not None
        return self._stt, self._llm, self._tts

    @property
    def load_ms(self) -> dict[str, float]:
        """How long each stage took to load."""
        return self._loading.load_ms

    @property
    def events(self) -> EventLog:
        """What has been recorded of calls."""
        return self._telemetry.events

    @property
    def edge(self) -> EdgeServer:
        """Where HTTP comes in."""
        return self._edge

    def processes(self) -> list[dict[str, Any]]:
        """Return this process, and those it has begun, as /healthz tells them."""
        model = self.llm_stage.server
        begun = child_facts("llm", model.pid) if isinstance(model, LocalLlmServer) else []
        return [process_facts("agent", sum(self.calls_by_kind().values())), *begun]

    def calls_by_kind(self) -> dict[str, int]:
        """Return the calls there are now, by what they came by."""
        return {
            "webrtc": self._edge.counts.active_calls,
            "stream": self._edge.stream_calls,
            "sip": self._sip.counts.active_calls if self._sip is not None else 0,
        }

    def capacity_by_kind(self) -> dict[str, int]:
        """Return how many calls are taken at once, by what they come by."""
        trunk = self._config.sip.trunk_calls if self._sip is not None else 0
        return {"webrtc": self._config.max_calls, "stream": self._config.max_calls, "sip": trunk}

    def readiness(self) -> Readiness:
        """Return the state of start-up, and later whether the language model's process still lives."""
        return self._loading.snapshot()

    def new_session(self, call_id: str, sink: EdgeSink) -> AgentSession:
        """Build the agent of a new call. The edge asks only once `readiness` says ready."""
        if self._stages is None:
            raise RuntimeError("a session was asked for before the stages were loaded")
        session = self._new_guarded(call_id, sink)
        if self._config.detects_echo and isinstance(sink, Overheard):
            return EchoGuard(call_id, session, sink, self._telemetry)
        return session

    def _new_guarded(self, call_id: str, sink: EdgeSink) -> AgentSession:
        assert self._stages is not None
        if self._office is None:
            return self._new_agent(call_id, sink)
        return GuardedSession(
            call_id,
            sink,
            office=self._office,
            sessions=self._new_agent,
            stages=self._stages,
            rules=self._config.turn.endpointing,
        )

    def _new_agent(self, call_id: str, sink: EdgeSink) -> AgentSession:
        assert self._stages is not None
        return Session(
            call_id, sink, stages=self._stages, rules=self._rules, greeting=self._greeting, telemetry=self._telemetry
        )

    async def aclose(self) -> None:
        """Hang up, stop every thread and process, close the event log."""
        self._own.stop()
        await self.chaos.aclose()
        if self._sip is not None:
            await self._sip.aclose()
        await self._edge.aclose()
        await self._switchboard.aclose()
        await self.llm_stage.aclose()
        await self.gpus.aclose()
        if self._emulated is not None:
            await self._emulated.aclose()
        closing = [stage.aclose() for stage in (self._stt, self._tts) if stage is not None]
        await asyncio.gather(*closing)
        if self._office is not None:
            await self._office.aclose()
        for sink in self._telemetry.span_sinks:
            # It waits for its thread.
            await asyncio.to_thread(sink.close)
        self._telemetry.events.close()

    async def _load_vad(self) -> None:
        # Made anew for each call; this one only proves that it can be.
        await asyncio.to_thread(_vad(self._config))

    async def _load_stt(self) -> None:
        config = self._config
        if self._emulated is not None:
            self._stt = await self._emulated.load_stt()
        elif config.remote.stt_url:
            self._stt = stt = RemoteStt(config.remote.stt(), start_s=config.remote.start_s)
            await stt.load()
            self._loading.watch("stt", stt.fault)
        else:
            self._stt = await self._own.stt()

    async def _load_tts(self) -> None:
        config = self._config
        if self._emulated is not None:
            self._tts = await self._emulated.load_tts()
        elif config.remote.tts_url:
            self._tts = tts = RemoteTts(config.remote.tts(), start_s=config.remote.start_s)
            await tts.load()
            self._loading.watch("tts", tts.fault)
        else:
            self._tts = await self._own.tts()
        if config.greeting:
            self._greeting = Greeting(config.greeting, (await self._tts.synthesise(config.greeting)).samples)
        if self._office is not None:
            await self._office.prepare(self._tts)

    async def _load_llm(self) -> None:
        if self._emulated is not None:
            self._llm = await self._emulated.load_llm()
            return
        self._loading.watch("llm", self.llm_stage.fault)
        self._llm = await self.llm_stage.load(lambda: self._own.weights(GEMMA, self._config.models.llm))


def _vad(config: StackConfig) -> type[SileroVad | LevelVad]:
    return LevelVad if config.vad == "level" else SileroVad


def _simulated(config: StackConfig) -> tuple[str, ...]:
    """Return the parts that are not real, as /healthz tells and every report repeats."""
    if config.emulation is not None:
        return config.emulation.marks
    return ("llm: scripted replies, no language model",) if config.llm.kind == "scripted" else ()


def _descriptions(config: StackConfig) -> dict[str, str]:
    """Return stage -> model and backend, as /healthz shows it."""
    if config.emulation is not None:
        return {"vad": _vad(config).description, **config.emulation.descriptions}
    llm = {
        "real": f"{GEMMA.name} base, Q4_K_M (llama.cpp, CPU)",
        "scripted": "scripted replies",
        "vllm": f"{config.llm.vllm.model if config.llm.vllm else ''} (vLLM)",
    }[config.llm.kind]
    return {
        "vad": _vad(config).description,
        "stt": f"at {config.remote.stt_url}" if config.remote.stt_url else stt_description(config),
        "llm": f"{config.llm.model} at {config.llm.url}" if config.llm.url else llm,
        "tts": f"at {config.remote.tts_url}" if config.remote.tts_url else tts_description(config),
    }
