"""What the session tells, as RTVI messages."""

from harness.protocols import rtvi
from target_stack import frames

# Named so that a client which sorts Pipecat's metrics by processor name finds the stages.
STT, LLM, TTS = "CallquakeSTTService#0", "CallquakeLLMService#0", "CallquakeTTSService#0"


def messages_for(event: frames.AgentEvent, timestamp: str) -> tuple[rtvi.Message, ...]:
    """Return the messages that carry `event`, in order; `timestamp` is ISO 8601 for those that have one.

    BotStartedSpeaking and BotStoppedSpeaking give none: the edge says them itself, when the packet leaves.
    """
    match event:
        case frames.LlmText() | frames.TtsText():
            return _streamed(event)
        case frames.Transcript(turn, text, is_final):
            return (rtvi.UserTranscription(text, is_final, "caller", timestamp, turn),)
        case frames.TurnTiming():
            return (_timing(event), _metrics(event))
        case frames.StageFailed(_, stage, message, fatal):
            return (rtvi.ErrorMessage(f"{stage}: {message}", fatal),)
        case _:
            return _BARE.get(type(event), ())


_BARE: dict[type[frames.AgentEvent], tuple[rtvi.Message, ...]] = {
    frames.UserStartedSpeaking: (rtvi.UserStartedSpeaking(),),
    frames.UserStoppedSpeaking: (rtvi.UserStoppedSpeaking(),),
    frames.Interrupted: (rtvi.BotInterrupted(),),
}


def _streamed(event: frames.LlmText | frames.TtsText) -> tuple[rtvi.Message, ...]:
    messages: list[rtvi.Message] = []
    is_llm = isinstance(event, frames.LlmText)
    if event.started:
        messages.append(rtvi.BotLlmStarted() if is_llm else rtvi.BotTtsStarted())
    if event.text and is_llm:
        messages.append(rtvi.BotLlmText(event.text))
    elif event.text:
        messages += [rtvi.BotOutput(event.text), rtvi.BotTtsText(event.text)]
    if event.stopped:
        messages.append(rtvi.BotLlmStopped() if is_llm else rtvi.BotTtsStopped())
    return tuple(messages)


def _timing(event: frames.TurnTiming) -> rtvi.TurnTimingMessage:
    return rtvi.TurnTimingMessage(
        turn=event.turn,
        endpointing_ms=event.endpointing_ms,
        stt_ms=event.stt_ms,
        llm_ms=event.llm_ms,
        tts_ms=event.tts_ms,
        playout_ms=event.playout_ms,
        llm_ttft_ms=event.llm_ttft_ms,
        queue_ms=event.queue_ms,
    )


def _metrics(event: frames.TurnTiming) -> rtvi.Metrics:
    ttfb = ((STT, event.stt_ms), (LLM, event.llm_ttft_ms), (TTS, event.tts_ms))
    return rtvi.Metrics(
        ttfb=tuple(rtvi.ProcessorTime(name, ms / 1e3) for name, ms in ttfb),
        processing=(rtvi.ProcessorTime(LLM, event.llm_ms / 1e3),),
    )
