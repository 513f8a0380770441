"""One call from its due time to its record: set-up, conversation, end. The I/O shell around Conversation."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp

from harness.callers.backstop import GRACE_S, CutShort, bounded
from harness.callers.caller import Caller
from harness.callers.conduct import Conduct
from harness.callers.conversation import Conversation
from harness.callers.exchange import (
    Action,
    CallEvent,
    HangUp,
    Hold,
    MediaView,
    Milestone,
    Press,
    Speak,
    Spoken,
    TurnEnded,
    UserTranscript,
)
from harness.callers.fallback import FALLBACK_CODEC, FallbackCaller
from harness.callers.media_stream import MediaStreamCaller, stream_codec
from harness.callers.media_stream_host import StreamHost
from harness.callers.recording import keep_recording
from harness.callers.rtp import RtpCaller
from harness.callers.setup_failure import SetupFailure
from harness.callers.setup_queue import SetupQueue, Turn
from harness.callers.sip import SipCaller
from harness.callers.sip_begun import Begun
from harness.callers.sip_host import SipHost
from harness.callers.sip_media import codecs_of as sip_codecs_of
from harness.callers.sip_silence import Silence
from harness.callers.source_ports import SourcePorts
from harness.callers.webrtc import WebRtcCaller
from harness.media.clips import Clip
from harness.media.codecs import OPUS, Codec, codec_named
from harness.media.loop import MediaLoop
from harness.media.media_call import MediaCall
from harness.media.peer.host import PeerHost
from harness.media.timers import Timer, Timers
from harness.model.clock import monotonic_ns, ms_between
from harness.model.errors import CallquakeError, GeneratorError, LocalProtocolError
from harness.model.plan import PROPER, CallPlan, TargetSpec, impairments_of
from harness.model.records import CallRecord, Cause, EchoFacts, MediaStats, Outcome, TurnRecord
from harness.model.secrets import with_secrets

RECORDINGS = "audio"
# The goodbye to the media loop (2 s) and to the agent (3 s) have limits of their own.
_CLOSE_LIMIT_S = 5.0 + GRACE_S
# Of a call that never came to have any.
_NO_MEDIA = MediaStats()
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CallContext:
    """What every call of an engine shares."""

    worker: str
    run_dir: Path
    http: aiohttp.ClientSession
    media_loop: MediaLoop
    peers: PeerHost
    source_ports: SourcePorts
    setup_queue: SetupQueue
    timers: Timers
    utterances: Mapping[str, Spoken]
    # Encoded on first use of a codec, then shared by all calls.
    clip: Callable[[str, Codec], Clip]
    on_turn: Callable[[TurnRecord], None]
    on_milestone: Callable[[str, Milestone], None]
    # None: no media-stream calls are placed.
    streams: StreamHost | None = None
    # None: no SIP calls are placed.
    sip: SipHost | None = None
    # Told of each call that is connected: what is broken on purpose meets it then.
    on_up: Callable[["Call"], None] = lambda _call: None
    # Names of the targets that have told what they had understood, in any call: their silence says something, too.
    telling: set[str] = field(default_factory=set)


def codec_of(target: TargetSpec) -> Codec:
    """Return the codec that calls to `target` speak; known before the call, so that clips are ready when it is up."""
    if target.transport == "media_stream":
        return stream_codec(target)
    return OPUS if target.transport == "webrtc" else codec_named(target.codec)


def codecs_of(target: TargetSpec) -> tuple[Codec, ...]:
    """Return the codecs that a call to `target` may come to speak, the likeliest first; none where it has no audio."""
    if target.transport == "sip":
        return sip_codecs_of(target)
    return (codec_of(target), FALLBACK_CODEC) if target.fallback else (codec_of(target),)


def _is_silent(target: TargetSpec) -> bool:
    return target.sip is not None and not target.sip.media


def _caller_of(plan: CallPlan, context: CallContext, post: Callable[[CallEvent], None], conduct: Conduct) -> Caller:
    if plan.target.transport == "rtp":
        return RtpCaller(plan, context.http, context.media_loop, context.source_ports, post, conduct)
    if plan.target.transport == "webrtc":
        first = WebRtcCaller(plan, context.http, context.peers, context.media_loop, post, conduct)
        if plan.target.fallback and context.streams is not None:
            return FallbackCaller(plan, first, context.streams, post)
        return first
    if plan.target.transport == "media_stream" and context.streams is not None:
        return MediaStreamCaller(plan, context.streams, post)
    if plan.target.transport == "sip" and context.sip is not None:
        ports, loop = context.source_ports, context.media_loop
        return SipCaller(plan, context.sip, context.timers, loop, ports, context.http, post, conduct)
    raise LocalProtocolError(f"call {plan.call_id}: no caller for the transport {plan.target.transport!r}")


def _let_go(error: BaseException | None) -> None:
    """Forget the frames that an error came through: they hold the call, and the task in them holds the error."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


class Call:
    """Runs one plan to its CallRecord; never raises but for cancellation."""

    def __init__(self, plan: CallPlan, due_at_ns: int | None, context: CallContext, begun: Begun | None = None) -> None:
        """`begun`: a call over SIP that somebody else has begun."""
        target, self._secrets = with_secrets(plan.target, os.environ)
        self._plan = plan = plan if target is plan.target else replace(plan, target=target)
        self._due_at_ns = due_at_ns
        self._context = context
        self._begun = begun
        # What its signalling has done wrong on purpose is counted here.
        self.conduct = Conduct(plan.misconduct or PROPER, f"{plan.seed}/{plan.call_id}")
        self._caller = _caller_of(plan, context, self._on_event, self.conduct)
        self._codec = codec_of(plan.target)
        self._conversation = self._new_conversation()
        self._clips: dict[str, Clip] = {}
        # What the call told before its conversation began.
        self._early: list[CallEvent] = []
        # When the agent told what it had understood.
        self._transcripts_ns: list[int] = []
        # Pending while the conversation lasts; events and the deadline's timer drive it, without a task of their own.
        self._talk: asyncio.Future[None] | None = None
        self._timer: Timer | None = None
        self._timer_at_ns: int | None = None
        self._interrupted: HangUp | None = None
        # Ends the set-up, while it lasts.
        self._bell: asyncio.Future[None] | None = None
        self._end: HangUp | None = None
        self._started_at_ns = 0
        self._connected_at_ns: int | None = None

    @property
    def plan(self) -> CallPlan:
        """What the call is to do."""
        return self._plan

    @property
    def media(self) -> MediaCall | None:
        """Its part of the media loop; None before it is connected, and where it has none there."""
        # What is not of the loop, as a media stream's, has no packets to break.
        return self._caller.media if isinstance(self._caller.media, MediaCall) else None

    def _new_conversation(self) -> Conversation | Silence:
        plan, context = self._plan, self._context
        if _is_silent(plan.target):
            return Silence(plan)
        utterances = {t.utterance_id: context.utterances[t.utterance_id] for t in plan.turns}
        return Conversation(plan, utterances, self._codec.name)

    def interrupt(self, cause: Cause, detail: str) -> None:
        """End the call early, by the operator's wish."""
        stop = self._interrupted = HangUp(Outcome.INTERRUPTED, cause, detail)
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)
        self._advance(lambda now: self._conversation.interrupt(now, stop.outcome, stop.cause, stop.detail))

    @property
    def can_vanish(self) -> bool:
        """Whether it is on, over a transport that knows how."""
        return self._talk is not None and not self._talk.done() and self._vanishing is not None

    @property
    def _vanishing(self) -> SipCaller | RtpCaller | WebRtcCaller | None:
        """Who carries the call and knows how to vanish."""
        caller = self._caller.carrier if isinstance(self._caller, FallbackCaller) else self._caller
        return caller if isinstance(caller, SipCaller | RtpCaller | WebRtcCaller) else None

    def vanish(self, detail: str) -> bool:
        """Fall silent for good on purpose, goodbye included; False where it is over, or of another transport.

        The call goes on until it notices, as the agent's may; its end is then nobody's fault.
        """
        if not self.can_vanish or (caller := self._vanishing) is None:
            return False
        self.conduct.is_gone = True
        self._interrupted = HangUp(Outcome.INTERRUPTED, Cause.OPERATOR, detail)
        caller.vanish()
        return True

    @property
    def barge_ins(self) -> int:
        """How often the caller has spoken over the agent on purpose."""
        return self._conversation.barge_ins if isinstance(self._conversation, Conversation) else 0

    async def run(self) -> CallRecord:
        """Place the call and hold the conversation; return its row."""
        self._started_at_ns = monotonic_ns() if self._begun is None else self._begun.started_at_ns
        try:
            if self._begun is not None and isinstance(self._caller, SipCaller):
                self._caller.take_over(self._begun)
            await self._place_and_talk()
        except SetupFailure as error:
            self._end = HangUp(Outcome.FAILED, error.cause, error.detail)
            _let_go(error)
        except CallquakeError as error:
            self._end = HangUp(Outcome.FAILED, Cause.GENERATOR_ERROR, str(error))
            _let_go(error)
        except Exception as error:
            _logger.exception("call %s failed inside the harness", self._plan.call_id)
            self._end = HangUp(Outcome.LOST, Cause.GENERATOR_ERROR, repr(error))
        ended_at_ns = (self._begun.left_at_ns if self._begun is not None else None) or monotonic_ns()
        if self.conduct.is_gone and self.media is not None:
            self.media.send_nowhere()
        with contextlib.suppress(Exception):
            await bounded(self._caller.close(), _CLOSE_LIMIT_S, lambda: f"hanging up call {self._plan.call_id}")
        media = _NO_MEDIA if self._caller.media is None else self._caller.media.stats()
        recording, echo = await self._write_recording()
        end = self._interrupted or self._end or HangUp(Outcome.LOST, Cause.GENERATOR_ERROR, "no outcome")
        record = CallRecord(
            call_id=self._plan.call_id,
            index=self._plan.index,
            worker=self._context.worker,
            caller=self._plan.caller,
            persona=self._plan.persona,
            outcome=end.outcome,
            cause=end.cause,
            detail=self._secrets.hide(end.detail),
            transport=self._transport,
            codec=self._codec.name if self._connected_at_ns is not None and not _is_silent(self._plan.target) else None,
            due_at_ns=self._due_at_ns,
            started_at_ns=self._started_at_ns,
            connected_at_ns=self._connected_at_ns,
            ended_at_ns=ended_at_ns,
            arrival_lateness_ms=None if self._due_at_ns is None else ms_between(self._due_at_ns, self._started_at_ns),
            setup=self._caller.setup,
            greeting_ms=self._conversation.greeting_ms,
            turns_planned=0 if _is_silent(self._plan.target) else len(self._plan.turns),
            turns_answered=self._conversation.turns_answered,
            media=media,
            candidate_types=self._caller.candidate_types,
            relay=self._caller.relay if isinstance(self._caller, WebRtcCaller | FallbackCaller) else None,
            fallback=self._caller.fallback if isinstance(self._caller, FallbackCaller) else None,
            recording=recording,
            echo=echo,
            impairments=impairments_of(self._plan) if self._transport == self._plan.target.transport else {},
            sip=self._caller.facts() if isinstance(self._caller, SipCaller) else None,
            stream=self._caller.stream if isinstance(self._caller, MediaStreamCaller | FallbackCaller) else None,
            details=self._details(),
            target=self._plan.target.name,
            story=self._plan.story,
        )
        # It posts to us: each would hold the other until a collector comes by, which in an engine is after minutes.
        del self._caller
        return record

    def _get_clips(self) -> None:
        if not _is_silent(self._plan.target):
            self._clips = {t.utterance_id: self._clip(t.utterance_id) for t in self._plan.turns}

    def _adopt_codec(self) -> None:
        """Speak what was agreed on, where several codecs were offered or the agent has changed it."""
        agreed = self._caller.codec if isinstance(self._caller, SipCaller | FallbackCaller) else None
        if agreed is not None and agreed is not self._codec:
            self._codec = agreed
            self._conversation.codec = self._codec.name
            self._get_clips()

    @property
    def _transport(self) -> str:
        """What carries the audio, or was to carry it."""
        return self._caller.transport if isinstance(self._caller, FallbackCaller) else self._plan.target.transport

    def _details(self) -> dict[str, Any]:
        return self._secrets.hide_all(self._caller.details) if self._plan.trace else {}

    async def _place_and_talk(self) -> None:
        self._get_clips()
        if self._interrupted is not None:
            return
        try:
            connected_at_ns = self._connected_at_ns = await self._connect()
        except CutShort:
            return
        self._adopt_codec()
        if isinstance(self._conversation, Conversation):
            self._conversation.transport = self._transport
        setup_ms = self._caller.setup.total_ms
        if self._begun is None or not self._begun.is_connected_told:
            self._context.on_milestone(self._plan.call_id, Milestone("connected", connected_at_ns, setup_ms))
        self._context.on_up(self)
        await self._hold_conversation(connected_at_ns)

    async def _connect(self) -> int:
        """Set the call up, within its time; CutShort when it is interrupted meanwhile."""
        limit_s = self._plan.limits.connect_timeout_ms / 1000 + GRACE_S
        turn = self._context.setup_queue.turn(self._due_at_ns)
        self._bell = asyncio.get_running_loop().create_future()
        return await bounded(
            self._set_up(turn), limit_s, lambda: self._step_of(turn), lambda: turn.waited_in_all_ns, self._bell
        )

    async def _hold_conversation(self, connected_at_ns: int) -> None:
        talk = self._talk = asyncio.get_running_loop().create_future()
        try:
            self._advance(lambda _now: self._conversation.start(connected_at_ns))
            for event in self._early:
                self._on_event(event)
            if self._interrupted is not None:
                self.interrupt(self._interrupted.cause, self._interrupted.detail)
            await talk
        finally:
            if self._timer is not None:
                self._timer.cancel()

    async def _set_up(self, turn: Turn) -> int:
        """Connect when there is a place for it; what was waited for one is lateness of the arrival."""
        async with turn:
            if self._begun is None:
                self._started_at_ns = monotonic_ns()
            return await self._caller.connect(turn)

    def _step_of(self, turn: Turn) -> str:
        """Say where a set-up stands, for the error that tells that it hung there."""
        if turn.is_away:
            return "the signalling request"
        return "the set-up before an answer" if self._caller.setup.signalling_ms is None else "ICE and DTLS"

    def _clip(self, utterance_id: str) -> Clip:
        try:
            return self._context.clip(utterance_id, self._codec)
        except Exception as error:
            # The corpus was checked before the run: what cannot be read now is for want of descriptors or memory.
            raise GeneratorError(f"the audio of '{utterance_id}' cannot be read: {error!r}") from error

    def _on_event(self, event: CallEvent) -> None:
        if isinstance(event, UserTranscript) and event.text.strip():
            self._transcripts_ns.append(monotonic_ns())
            self._context.telling.add(self._plan.target.name)
        if self._talk is None:
            self._early.append(event)
        else:
            self._advance(lambda now: self._conversation.handle(event, now, self._media_view))

    def _advance(self, step: Callable[[int], list[Action]]) -> None:
        """Let the conversation take one step, given the time, and do what it asks for."""
        if self._talk is None or self._talk.done():
            return
        try:
            self._act(step(monotonic_ns()))
        except Exception as error:  # noqa: BLE001 - ends this call, where `run` says so; not the caller of `_on_event`
            self._talk.set_exception(error)
            return
        if self._end is not None:
            self._talk.set_result(None)
        elif self._conversation.deadline_ns != self._timer_at_ns:
            self._set_timer(self._conversation.deadline_ns)

    def _set_timer(self, at_ns: int | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at_ns = at_ns
        self._timer = None if at_ns is None else self._context.timers.at(at_ns, self._on_deadline)

    def _on_deadline(self) -> None:
        self._timer = self._timer_at_ns = None
        self._advance(self._conversation.expire)

    def _media_view(self) -> MediaView:
        if self._caller.media is None:
            return MediaView()
        stats = self._caller.media.stats()
        return MediaView(stats.packets_lost, stats.round_trip_ms)

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Speak():
                    if self._caller.media is not None:
                        self._adopt_codec()
                        self._caller.media.play(self._clips[action.utterance_id])
                case Press() if isinstance(self._caller, SipCaller | MediaStreamCaller):
                    self._caller.press(action.digits)
                case Hold() if isinstance(self._caller, SipCaller):
                    self._caller.hold(action.on)
                case TurnEnded():
                    self._context.on_turn(action.record)
                case Milestone():
                    self._context.on_milestone(self._plan.call_id, action)
                case HangUp():
                    self._end = action

    async def _write_recording(self) -> tuple[str | None, EchoFacts | None]:
        recorder = self._caller.recorder
        if recorder is None:
            return None, None
        relative = f"{RECORDINGS}/{self._plan.call_id}.flac"
        try:
            path, told = self._context.run_dir / relative, None
            if self._plan.target.name in self._context.telling:
                told = tuple(self._transcripts_ns)
            echo = await asyncio.get_running_loop().run_in_executor(None, keep_recording, recorder, path, told)
        except Exception:
            _logger.exception("call %s: the recording could not be written", self._plan.call_id)
            return None, None
        return relative, echo
