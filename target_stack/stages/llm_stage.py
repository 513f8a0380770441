"""The language model's stage as a whole: its server, the client, what watches it, and how long a conversation it gets.

started here: llama.cpp, vLLM or scripted ─┐
the user's own server ─────────────────────┴─► facts (limit, tokenizer) ─► client ─► warm ─► watched
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from harness.model.clock import monotonic_ns
from target_stack.llm_config import LlmConfig
from target_stack.stages.cold_llm import ColdLlm
from target_stack.stages.contextual_llm import Before, ContextualLlm, ContextWindow
from target_stack.stages.llm import LanguageModel, LlmOptions, OpenAiClient
from target_stack.stages.llm_facts import LlmServerDesk, LlmServerFacts
from target_stack.stages.llm_health import LlmHealth
from target_stack.stages.llm_server import LocalLlmServer
from target_stack.stages.llm_tokens import TokenCounter
from target_stack.stages.prompt import fixed_text
from target_stack.stages.scripted_llm import ScriptedLlmServer
from target_stack.stages.vllm_server import VllmServer
from target_stack.telemetry.llm_stats import LlmStats, render_llm

# Replies the local model writes at the same time.
SLOTS = 2
# What a server of ours that is up may take for its first token: a busy machine reads the first prompt for long.
FIRST_TOKEN_S = 60.0
# Of a summary, for its words asked for: English has some 1.3 tokens a word.
SUMMARY_TOKENS_A_WORD = 2
SUMMARISER = "You summarise telephone calls, briefly and exactly."

Server = LocalLlmServer | ScriptedLlmServer | VllmServer


class LlmStage:
    """`load`, then `llm` is our own provider; `within` puts the context's bounds around what is routed to it."""

    def __init__(self, config: LlmConfig, description: str) -> None:
        self._config = config
        self._description = description
        self.stats = LlmStats()
        self.server: Server | None = None
        self._desk: LlmServerDesk | None = None
        self._options: LlmOptions | None = None
        self._facts = LlmServerFacts()
        self._health: LlmHealth | None = None
        # Of a model that is loaded by the first request.
        self._cold: ColdLlm | None = None
        self._contextual: ContextualLlm | None = None
        self._clients: list[OpenAiClient] = []

    async def load(self, weights: Callable[[], Awaitable[Path]]) -> LanguageModel:
        """Start what is to be started and have it write a first token. `weights`: finds the local model's.

        A model that is to be cold is asked for its facts, and then ended until somebody needs it.

        Raises LlmServerError, LlmError.
        """
        options = await self._started(weights)
        self._desk = LlmServerDesk(options.url, options.api_key)
        self._facts = await self._desk.facts(options.model)
        self._options = options = replace(options, model=self._facts.model_for(options.model))
        client = self._client(options, self._description)
        self._health = LlmHealth(client, self.stats, self._desk, every_s=self._config.check_s)
        if self._config.is_cold and isinstance(self.server, LocalLlmServer):
            return await self._let_sleep(client, self.server)
        await self._health.warm_up(
            1 if self._config.url else SLOTS,
            self._config.start_s if self._config.url else FIRST_TOKEN_S,
            self.server.began_ns if isinstance(self.server, LocalLlmServer | VllmServer) else monotonic_ns(),
        )
        if self._facts.kind == "unknown" and self._config.url:
            # It may not have been up yet when it was asked.
            self._facts = await self._desk.facts(options.model)
        self._health.start()
        return client

    async def _let_sleep(self, client: OpenAiClient, server: LocalLlmServer) -> ColdLlm:
        """End the model's process; the first request begins it anew, at the same address."""
        await server.aclose()
        self._cold = ColdLlm(client, self._wake)
        return self._cold

    async def _wake(self) -> None:
        assert isinstance(self.server, LocalLlmServer)
        assert self._health is not None
        if self.server.pid is None:
            await self.server.start()
        # As whoever scales watches a new instance: it is there when it has written a token. Without, the fixed text is
        # read anew for every request, since what a short prompt leaves in the cache is what the next ones can use.
        await self._health.warm_up(SLOTS, FIRST_TOKEN_S, self.server.began_ns)
        self._health.start()

    async def _started(self, weights: Callable[[], Awaitable[Path]]) -> LlmOptions:
        config = self._config
        limit = config.context.limit_tokens
        if config.url:
            return LlmOptions(config.url, config.style, config.model, api_key=config.api_key, keep_alive=True)
        if config.kind == "scripted":
            self.server = scripted = ScriptedLlmServer(context_tokens=limit)
            return LlmOptions(await scripted.start(), "chat")
        if config.vllm is not None:
            self.server = vllm = VllmServer(config.vllm, config.log)
            return LlmOptions(await vllm.start(), "chat")
        self.server = local = LocalLlmServer(
            await weights(), config.log, threads=config.threads, slots=SLOTS, context_tokens=limit
        )
        # A base model: it goes on with a script of example turns.
        return LlmOptions(await local.start(), "completion")

    def _client(self, options: LlmOptions, description: str) -> OpenAiClient:
        client = OpenAiClient(options, description)
        self._clients.append(client)
        return client

    def within(self, routed: LanguageModel, before: Before | None = None) -> ContextualLlm:
        """Return `routed` within the context of our own model; only after `load`. `before`: sees the history first."""
        options, rules = self._options, self._config.context
        assert options is not None
        told = self._facts.limit or 0
        limit = min(filter(None, (rules.limit_tokens, told)), default=0)
        fixed = fixed_text(options.style)
        window = ContextWindow(limit, options.max_tokens, fixed, is_ours=0 < rules.limit_tokens < (told or limit + 1))
        tokens = TokenCounter(self.stats, self._desk, self._facts, options.model)
        summariser = None
        # What never goes along need not be retold.
        if rules.mode == "summarise" and rules.keep_turns != 0:
            summariser = self._client(self._summariser_options(options), "summaries")
        self._contextual = ContextualLlm(
            routed, rules, window, tokens, self.stats, summariser=summariser, before=before
        )
        return self._contextual

    def _summariser_options(self, options: LlmOptions) -> LlmOptions:
        return replace(
            options,
            style="chat" if options.style == "chat" else "plain",
            system=SUMMARISER,
            max_tokens=self._config.context.summary_words * SUMMARY_TOKENS_A_WORD,
            temperature=0.0,
            # Beside the calls, never before them.
            max_in_flight=2,
        )

    def fault(self) -> str:
        """Return what is wrong, "" for nothing."""
        server = self.server
        if self._cold is not None and not self._cold.is_loaded:
            return ""
        if isinstance(server, LocalLlmServer | VllmServer) and server.pid is None:
            return f"its process ended; see {self._config.log}"
        return self._health.fault() if self._health is not None else ""

    def metrics(self) -> str:
        """Return the Prometheus text."""
        return render_llm(self.stats)

    async def aclose(self) -> None:
        """End what runs: summaries, checks, connections, the server."""
        if self._cold is not None:
            await self._cold.aclose()
        if self._contextual is not None:
            await self._contextual.aclose()
        if self._health is not None:
            await self._health.aclose()
        await asyncio.gather(*(client.aclose() for client in self._clients))
        if self._desk is not None:
            await self._desk.aclose()
        if self.server is not None:
            await self.server.aclose()
