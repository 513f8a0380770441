"""What the session tells, as OpenAI's Realtime events: the same channel as RTVI's, in another dialect."""

import itertools
from collections.abc import Callable, Iterable

from harness.protocols import openai_realtime as realtime
from harness.protocols import rtvi
from target_stack.edge.rtvi_channel import DataChannel, RtviChannel, library_name


class RealtimeChannel(RtviChannel):
    """`oai-events` with one client; usable before, while and after its channel is open."""

    def __init__(self, call_id: str, on_disconnect: Callable[[], None]) -> None:
        super().__init__(call_id, on_disconnect)
        self._events = itertools.count(1)
        # The caller's speech and the agent's reply to it, by number.
        self._item = 0
        self._reply = 0
        # What is said of the reply so far; None between replies.
        self._words: list[str] | None = None

    def attach(self, channel: DataChannel) -> None:
        """Use `channel`, which is open: the session comes first, then what has waited."""
        self._queued.appendleft(
            self._build(realtime.Session(f"sess_{self._call_id}", library_name(), transcribes=True))
        )
        super().attach(channel)

    def receive(self, text: str | bytes) -> None:
        """Refuse a client's event: this agent's session is not the client's to change."""
        kind = text[:60] if isinstance(text, str) else "bytes"
        self._put(self._build(realtime.Problem(f"this agent takes no client events ({kind})", "invalid_request_error")))

    def _texts(self, message: rtvi.Message) -> Iterable[str]:
        return (self._build(event) for event in self._events_of(message))

    def _build(self, event: realtime.Event) -> str:
        return realtime.build(event, f"event_{next(self._events)}")

    def _events_of(self, message: rtvi.Message) -> list[realtime.Event]:
        match message:
            case rtvi.UserStartedSpeaking():
                self._item += 1
                return [realtime.SpeechStarted(f"item_{self._item}")]
            case rtvi.UserStoppedSpeaking():
                return [realtime.SpeechStopped(f"item_{self._item}")]
            case rtvi.UserTranscription(text=text, is_final=True):
                return [realtime.UserTranscript(f"item_{self._item}", text)]
            case rtvi.ErrorMessage():
                return [realtime.Problem(message.message, "server_error")]
            case _:
                return self._reply_events(message)

    def _reply_events(self, message: rtvi.Message) -> list[realtime.Event]:
        name = f"resp_{self._reply}"
        match message:
            case rtvi.BotTtsStarted():
                self._reply += 1
                self._words = []
            case rtvi.BotTtsText(text=text) if self._words is not None:
                self._words.append(text)
                return [realtime.AgentTranscriptDelta(name, text)]
            case rtvi.BotTtsStopped() if self._words is not None:
                said, self._words = " ".join(self._words), None
                return [realtime.AgentTranscript(name, said)]
            case rtvi.BotStartedSpeaking():
                return [realtime.OutputAudio(True)]
            case rtvi.BotStoppedSpeaking():
                return [realtime.OutputAudio(False), realtime.ResponseDone(name, "completed")]
            case rtvi.BotInterrupted():
                self._words = None
                return [realtime.OutputAudio(False, is_cleared=True), realtime.ResponseDone(name, "cancelled")]
        return []
