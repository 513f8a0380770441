"""RTVI messages to what a conversation understands. Nothing here is used for timing: RTVI carries no server clock."""

from harness.callers.exchange import (
    AgentSpeaking,
    AgentStages,
    AgentText,
    SideEvent,
    TranscriptChannel,
    UserTranscript,
)
from harness.model.records import StageTimes
from harness.protocols import rtvi


class RtviSideChannel:
    """One call's RTVI view; keeps what several messages of a turn add up to."""

    def __init__(self) -> None:
        self._announced = False
        self._metrics = StageTimes(source="rtvi-metrics")
        self._has_turn_timing = False

    def events(self, message: rtvi.Message) -> list[SideEvent]:
        """Return what `message` means to the conversation."""
        found: list[SideEvent] = []
        if not self._announced and isinstance(message, rtvi.BotReady | rtvi.UserTranscription):
            self._announced = True
            found.append(TranscriptChannel("rtvi"))
        match message:
            case rtvi.UserTranscription(text=text, is_final=True, turn=turn):
                self._metrics = StageTimes(source="rtvi-metrics")
                found.append(UserTranscript(text, turn))
            case rtvi.BotTtsText() | rtvi.BotOutput() | rtvi.BotTranscription():
                found.extend(_agent_text(message))
            case rtvi.BotStartedSpeaking():
                found.append(AgentSpeaking(True))
            case rtvi.BotStoppedSpeaking() | rtvi.BotInterrupted():
                found.append(AgentSpeaking(False))
            case rtvi.TurnTimingMessage():
                self._has_turn_timing = True
                found.append(AgentStages(_from_turn_timing(message)))
            case rtvi.Metrics() if not self._has_turn_timing:
                stages = self._merge(rtvi.stage_ttfb(message))
                if stages is not None:
                    found.append(AgentStages(stages))
            case _:
                pass
        return found

    def _merge(self, told: rtvi.StageTtfb) -> StageTimes | None:
        if told.stt_ms is None and told.llm_ms is None and told.tts_ms is None:
            return None
        before = self._metrics
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
