"""What an agent tells beside the audio, as a conversation understands it: what dialects have in common, and RTVI.

Nothing here is used for timing: RTVI carries no server clock.
"""

import time
from dataclasses import replace
from typing import Protocol

from harness.callers.exchange import (
    AgentSpeaking,
    AgentStages,
    AgentText,
    Disconnected,
    SideEvent,
    TranscriptChannel,
    UserTranscript,
)
from harness.model.records import StageTimes
from harness.protocols import rtvi


class SideChannel(Protocol):
    """One call's data channel, as its dialect speaks; `label` is what it is opened by."""

    label: str
    # A text to send this often while the channel is open; None = none.
    ping_interval_s: float | None

    def hello(self) -> list[str]:
        """Return what is sent when the channel opens."""

    def ping(self) -> str:
        """Return what keeps the channel alive."""

    def read(self, text: str | bytes) -> list[SideEvent]:
        """Return what a message means to the conversation; RemoteProtocolError where it cannot be read."""


class RtviChannel:
    """RTVI on Pipecat's data channel."""

    label = "chat"
    ping_interval_s: float | None = rtvi.PING_INTERVAL_S

    def __init__(self) -> None:
        self._meaning = RtviSideChannel()

    def hello(self) -> list[str]:
        """Return what is sent when the channel opens."""
        return [rtvi.build(rtvi.ClientReady(id="1", library="callquake"))]

    def ping(self) -> str:
        """Return what keeps the channel alive."""
        return rtvi.build(rtvi.Ping(int(time.time() * 1000)))

    def read(self, text: str | bytes) -> list[SideEvent]:
        """Return what a message means to the conversation; RemoteProtocolError where it cannot be read."""
        message = rtvi.parse(text)
        if isinstance(message, rtvi.PeerLeft):
            return [Disconnected("the agent left (peerLeft)")]
        return self._meaning.events(message)


_NOTHING_TOLD = StageTimes(source="rtvi-metrics")


class RtviSideChannel:
    """One call's RTVI view; keeps what several messages of a turn add up to."""

    def __init__(self) -> None:
        self._announced = False
        self._metrics = _NOTHING_TOLD
        # Of the reply whose figures these are: the bot began to speak, and stopped.
        self._has_begun = False
        self._has_spoken = False
        # The STT's figure: it came after the last transcript; it was taken over from before the user's last start.
        self._is_stt_new = False
        self._is_stt_kept = False
        self._has_turn_timing = False
        self._last_transcript: tuple[str, str] | None = None

    def events(self, message: rtvi.Message) -> list[SideEvent]:
        """Return what `message` means to the conversation."""
        return [*self._announcement(message), *self._meaning(message)]

    def _announcement(self, message: rtvi.Message) -> list[SideEvent]:
        if self._announced or not isinstance(message, rtvi.BotReady | rtvi.UserTranscription | rtvi.UserInput):
            return []
        self._announced = True
        return [TranscriptChannel("rtvi")]

    def _meaning(self, message: rtvi.Message) -> list[SideEvent]:
        match message:
            case rtvi.UserStartedSpeaking():
                self._begin_turn()
            case rtvi.UserTranscription(text=text, is_final=True, timestamp=timestamp, turn=turn):
                return self._transcript(text, timestamp, turn)
            case rtvi.UserInput(text=text, input_type="transcription", is_final=True, timestamp=timestamp):
                return self._transcript(text, timestamp)
            case rtvi.BotTtsText() | rtvi.BotOutput() | rtvi.BotTranscription():
                return _agent_text(message)
            case rtvi.BotStartedSpeaking():
                self._has_begun = True
                return [AgentSpeaking(True)]
            case rtvi.BotStoppedSpeaking() | rtvi.BotInterrupted():
                self._has_spoken = self._is_reply_told()
                return [AgentSpeaking(False)]
            case rtvi.TurnTimingMessage():
                self._has_turn_timing = True
                return [AgentStages(_from_turn_timing(message))]
            case rtvi.Metrics() if not self._has_turn_timing:
                stages = self._merge(rtvi.stage_ttfb(message))
                return [] if stages is None else [AgentStages(stages)]
        return []

    def _transcript(self, text: str, timestamp: str, turn: int = 0) -> list[SideEvent]:
        if timestamp and (text, timestamp) == self._last_transcript:
            # The same words told in the other message type.
            return []
        self._last_transcript = (text, timestamp)
        if self._is_reply_told():
            self._begin_turn()
        if self._is_stt_kept and not self._is_stt_new:
            # The figure kept was that of another utterance.
            self._metrics = replace(self._metrics, stt_ms=None)
        self._is_stt_new = self._is_stt_kept = False
        return [UserTranscript(text, turn)]

    def _begin_turn(self) -> None:
        """Forget the figures of the turn before, if its reply was heard.

        Pipecat tells user-started-speaking, the STT's figure, the transcript, then the reply's figures. It can be set
        not to tell the first, and the figure of a streaming STT may come seconds late, after the reply's. Where its
        user's turn ended before a slow STT was done, the late transcript begins another: user-started-speaking follows
        it, and the reply goes on, or begins anew, unheard. To the caller that is one turn.
        """
        if self._has_begun:
            self._metrics = _NOTHING_TOLD
        self._is_stt_kept = self._metrics.stt_ms is not None
        self._has_begun = self._has_spoken = False

    def _is_reply_told(self) -> bool:
        return self._metrics.llm_ms is not None or self._metrics.tts_ms is not None

    def _merge(self, told: rtvi.StageTtfb) -> StageTimes | None:
        if told.stt_ms is None and told.llm_ms is None and told.tts_ms is None:
            return None
        if told.stt_ms is not None:
            if self._has_spoken:
                self._begin_turn()
            self._is_stt_new = True
        before = self._metrics
        if told.llm_ms is not None and not self._has_begun:
            # What the TTS had told was of a reply cut off before it was heard: Pipecat tells its time until the cut.
            before = replace(before, tts_ms=None)
        self._metrics = StageTimes(
            stt_ms=before.stt_ms if told.stt_ms is None else told.stt_ms,
            llm_ms=before.llm_ms if told.llm_ms is None else told.llm_ms,
            # A later sentence of the same turn has its own TTS time: only the first one stood in the caller's way.
            tts_ms=before.tts_ms if before.tts_ms is not None else told.tts_ms,
            source="rtvi-metrics",
        )
        return self._metrics


def _agent_text(message: rtvi.BotTtsText | rtvi.BotOutput | rtvi.BotTranscription) -> list[SideEvent]:
    match message:
        case rtvi.BotTtsText():
            return [AgentText(message.text, "tts")]
        case rtvi.BotTranscription():
            return [AgentText(message.text, "transcription")]
        case rtvi.BotOutput(will_be_spoken=True, spoken_status="new" | ""):
            return [AgentText(message.text, "output")]
    return []


def _from_turn_timing(message: rtvi.TurnTimingMessage) -> StageTimes:
    return StageTimes(
        endpointing_ms=message.endpointing_ms,
        stt_ms=message.stt_ms,
        llm_ms=message.llm_ms,
        tts_ms=message.tts_ms,
        playout_ms=message.playout_ms,
        source="turn-timing",
    )
