"""A call's agent behind its compliance: an AgentSession to the edge, an edge to the agent it lets in.

    edge ─ audio, keys, playout ─► GuardedSession ─ only once it may ─► Session
         ◄─ disclosure, questions ─┘    │    ◄─ replies, events ────────┘
                                        └─► recording, only what may be kept

Until processing is allowed the agent does not exist: no VAD, STT or model hears the caller, except, where that is
allowed, for the answer to a question. Whatever fails on the way (store, voice, disk) ends the call or the recording.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from typing import Any

from harness.model.clock import monotonic_ns
from target_stack.compliance.answers import takes_back
from target_stack.compliance.case import CallCase
from target_stack.compliance.decision import Decision
from target_stack.compliance.mouth import Mouth
from target_stack.compliance.office import Office
from target_stack.compliance.opening import Opening
from target_stack.compliance.recording.recording import Recording
from target_stack.compliance.trail import What
from target_stack.compliance.words import Activity, Form
from target_stack.frames import (
    AgentEvent,
    AgentSession,
    CallFacts,
    EdgeSink,
    Interrupted,
    Pcm,
    SessionFactory,
    SpeechOut,
    StageFailed,
    Transcript,
    TurnTiming,
)
from target_stack.pipeline.session import Stages
from target_stack.stages.endpointing import EndpointRules

_log = logging.getLogger(__name__)
_DONE: dict[str, str] = {
    Activity.PROCESS: "processed",
    Activity.RECORD: "recorded",
    Activity.TRANSCRIBE: "transcribed",
}


class GuardedSession:
    """`sessions` makes the agent, once. Everything runs on the event loop; store and disk have their own threads."""

    def __init__(
        self,
        call_id: str,
        sink: EdgeSink,
        *,
        office: Office,
        sessions: SessionFactory,
        stages: Stages,
        rules: EndpointRules,
        now: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._sink = sink
        self._office = office
        self._sessions = sessions
        self._now = now
        self._case = CallCase(call_id, sink.facts, office)
        self._mouth = Mouth(self.play, self._sink.tell)
        self._opening = Opening(self._case, office, self._mouth, stages, rules)
        self._recording: Recording | None = None
        self._inner: AgentSession | None = None
        self._is_fed = False
        # False from the moment the caller takes consent back.
        self._may_keep = True
        self._has_begun = asyncio.Event()
        # The opening may be cut short; what was taken back is seen through to its end.
        self._opened: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        # Who changes what is done with the caller's voice.
        self._changing = asyncio.Lock()
        # What the agent said in each turn that is not over.
        self._replies: dict[int, list[str]] = {}

    # --- AgentSession ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin with what is to be said first; return when it is queued, or the agent was let in at once."""
        self._opened = asyncio.create_task(self._guarded(self._open()))
        begun = asyncio.create_task(self._has_begun.wait())
        try:
            await asyncio.wait({self._opened, begun}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            begun.cancel()

    def push_audio(self, samples: Pcm, arrived_at_ns: int) -> None:
        """Give the samples to the agent once it was let in, to the ear while a question is open; else drop them."""
        if self._is_fed and self._inner is not None:
            if self._recording is not None:
                self._recording.caller_said(samples, arrived_at_ns)
            self._inner.push_audio(samples, arrived_at_ns)
        elif self._opening.ear is not None:
            self._opening.ear.push_audio(samples, arrived_at_ns)

    def push_digit(self, digit: str, duration_ms: float, at_ns: int) -> None:
        """Take an answer, or the key that takes consent back; other keys are the agent's."""
        if self._opening.ear is not None:
            self._opening.ear.press(digit)
        if digit == self._office.settings.block.keys.withdraw:
            self._take_back(Form.KEYPAD)
        elif self._is_fed and self._inner is not None:
            self._inner.push_digit(digit, duration_ms, at_ns)

    def playout_started(self, turn: int, at_ns: int) -> None:
        """Pass it to whose turn it is."""
        if self._recording is not None:
            self._recording.agent_started(turn, at_ns)
        if turn < 0:
            self._mouth.started(turn)
        elif self._inner is not None:
            self._inner.playout_started(turn, at_ns)

    def playout_drained(self, turn: int, at_ns: int) -> None:
        """Pass it to whose turn it is; what was said in it is kept where it may be."""
        if self._recording is not None:
            self._recording.agent_drained(turn)
            self._recording.words(turn, "agent", " ".join(filter(None, self._replies.pop(turn, []))))
        if turn < 0:
            self._mouth.drained(turn)
        elif self._inner is not None:
            self._inner.playout_drained(turn, at_ns)

    async def aclose(self) -> None:
        """End the agent, close what is kept."""
        self._mouth.close()
        if self._opened is not None:
            self._opened.cancel()
            await asyncio.gather(self._opened, return_exceptions=True)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._let_out()
        recording, self._recording = self._recording, None
        if recording is not None:
            await recording.aclose(self._now())
            self._office.counts.lost_blocks += recording.lost_blocks
            if recording.failure is not None:
                _log.error("a call is not wholly recorded: %s", recording.failure)
        await self._case.note(What.CALL_ENDED)

    # --- EdgeSink, to the agent ------------------------------------------------------------------------------------

    @property
    def facts(self) -> CallFacts:
        """Tell what the edge tells."""
        return self._sink.facts

    def decline(self) -> None:
        """End the call."""
        self._sink.decline()

    def play(self, speech: SpeechOut) -> None:
        """Queue speech."""
        self._has_begun.set()
        if self._recording is not None:
            self._recording.agent_queued(speech, self._now())
            self._replies.setdefault(speech.turn, []).append(speech.text)
        self._sink.play(speech)

    def flush(self) -> float:
        """Drop what is queued."""
        played_s = self._sink.flush()
        self._mouth.cut_off()
        self._replies.clear()
        if self._recording is not None:
            self._recording.agent_interrupted(played_s)
        return played_s

    def tell(self, event: AgentEvent) -> None:
        """Tell the client; keep what may be kept of it."""
        self._sink.tell(event)
        if isinstance(event, Transcript) and event.is_final and takes_back(event.text):
            self._take_back(Form.VOICE)
        elif self._recording is not None:
            self._keep(self._recording, event)

    def _keep(self, recording: Recording, event: AgentEvent) -> None:
        match event:
            case Transcript(turn, text, True):
                recording.words(turn, "caller", text)
            case Interrupted(turn, heard):
                recording.words(turn, "agent", heard)
            case TurnTiming():
                recording.times(asdict(event))

    # --- the call's steps ------------------------------------------------------------------------------------------

    async def _guarded(self, step: Coroutine[Any, Any, None]) -> None:
        """Let a step that fails end the call: what cannot be said, asked or written down may not be done."""
        try:
            await step
        except Exception as error:  # noqa: BLE001 - whatever failed, the call may not go on without it
            _log.exception("call %s: compliance failed; the call is ended", self._case.call_id)
            self._sink.tell(StageFailed(0, "compliance", f"{type(error).__name__}: {error}", fatal=True))

    async def _open(self) -> None:
        await self._case.open()
        await self._opening.run()
        async with self._changing:
            # Anew: consent may have been taken back since.
            decision = self._case.decide()
            if decision.allows(Activity.PROCESS):
                await self._let_in(decision)
            else:
                await self._decline(decision)

    async def _let_in(self, decision: Decision) -> None:
        """Begin what is allowed. That something is kept is in the store before its first byte is on disk."""
        kept = {Activity.RECORD, Activity.TRANSCRIBE} & decision.allowed
        if kept and self._may_keep:
            await self._case.keep(self._office.retention(decision))
        if not self._may_keep:
            kept = set()
        begun = [self._case.row(What.BEGAN, activity) for activity in (Activity.PROCESS, *sorted(kept))]
        if kept:
            self._recording = self._office.new_recording(self._case.key)
        if self._recording is not None and Activity.RECORD in kept:
            self._recording.keep_audio(self._now())
        if self._recording is not None and Activity.TRANSCRIBE in kept:
            self._recording.keep_words()
        await self._office.ledger.ask(lambda store: store.note(begun))
        for row in begun:
            self._office.counts.activities[_DONE[row.about]] += 1
        self._inner = self._sessions(self._case.call_id, self)
        await self._inner.start()
        self._is_fed = True
        self._has_begun.set()

    async def _decline(self, decision: Decision) -> None:
        """Say why, where anything may be said, and end the call."""
        why = decision.blocked.get(Activity.PROCESS, "")
        await self._case.note(What.DECLINED, Activity.PROCESS, why=why)
        self._office.counts.activities["declined"] += 1
        if self._case.said:
            text = self._office.script.declined()
            await self._mouth.say(text, await self._office.speech(text))
        self._sink.decline()

    def _take_back(self, form: Form) -> None:
        """Keep nothing from this moment on; the rest takes its time."""
        self._may_keep = False
        recording, self._recording = self._recording, None
        task = asyncio.create_task(self._guarded(self._taken_back(form, recording)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _taken_back(self, form: Form, recording: Recording | None) -> None:
        """Erase what was kept of this call and soon of earlier ones; end the call where it cannot go on."""
        if recording is not None:
            await recording.abandon()
        is_news = await self._case.withdraw(form)
        await self._case.erase("withdrawn")
        await self._office.make_due(self._case.caller, "withdrawn")
        async with self._changing:
            # Before the agent was let in, the opening decides.
            if not is_news or self._inner is None:
                return
            decision = self._case.decide()
            if decision.allows(Activity.PROCESS):
                text = self._office.script.taken_back()
                self._mouth.say(text, await self._office.speech(text))
            else:
                await self._let_out()
                self._sink.flush()
                await self._decline(decision)

    async def _let_out(self) -> None:
        self._is_fed = False
        inner, self._inner = self._inner, None
        if inner is not None:
            await inner.aclose()
