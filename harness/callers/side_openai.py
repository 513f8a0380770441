"""OpenAI's Realtime events to what a conversation understands. Nothing here is used for timing."""

import logging

from harness.callers.exchange import AgentSpeaking, AgentText, SideEvent, TranscriptChannel, UserTranscript
from harness.protocols import openai_realtime as realtime

_logger = logging.getLogger(__name__)
# Of one call: nobody says as much in a day.
MOST_ITEMS = 4_096


class OpenAiChannel:
    """One call's `oai-events`."""

    label = realtime.CHANNEL
    ping_interval_s: float | None = None

    def __init__(self) -> None:
        self._announced = self._warned = False
        # Items of the user's speech in the order in which they began: the transcript of one may come after the next.
        self._segments: dict[str, int] = {}

    def hello(self) -> list[str]:
        """Return what is sent when the channel opens: nothing, for the session is the agent's to set."""
        return []

    def ping(self) -> str:
        """Return what keeps the channel alive; never asked for."""
        return ""

    def read(self, text: str | bytes) -> list[SideEvent]:
        """Return what a message means to the conversation; RemoteProtocolError where it cannot be read."""
        event = realtime.parse(text)
        return [*self._announcement(event), *self._meaning(event)]

    def _announcement(self, event: realtime.Event) -> list[SideEvent]:
        """Tell once that transcripts come here: only a session that was set so has any."""
        is_told = isinstance(event, realtime.UserTranscript | realtime.UserTranscriptFailed)
        if self._announced or not (is_told or (isinstance(event, realtime.Session) and event.transcribes)):
            return []
        self._announced = True
        return [TranscriptChannel(realtime.CHANNEL)]

    def _meaning(self, event: realtime.Event) -> list[SideEvent]:
        match event:
            case realtime.SpeechStarted():
                self._segment(event.item_id)
            case realtime.UserTranscript():
                return [UserTranscript(event.text, self._segment(event.item_id))]
            case realtime.AgentTranscript():
                return [AgentText(event.text, "transcription")]
            case realtime.OutputAudio():
                return [AgentSpeaking(event.is_playing)]
            case realtime.UserTranscriptFailed():
                _logger.warning("the agent could not transcribe %s: %s", event.item_id, event.message)
            case realtime.Problem():
                _logger.warning("the agent reports an error: %s %s", event.code, event.message)
            case realtime.ResponseDone(status="failed"):
                _logger.warning("the agent's response failed: %s", event.message)
        return []

    def _segment(self, item_id: str) -> int:
        """Return a number for the item; 0, which stands for none, where the agent names none or far too many."""
        if not item_id:
            return 0
        if item_id not in self._segments and len(self._segments) >= MOST_ITEMS:
            self._warn_of_too_many()
            return 0
        return self._segments.setdefault(item_id, len(self._segments) + 1)

    def _warn_of_too_many(self) -> None:
        if not self._warned:
            self._warned = True
            words = "the agent heard more than %d utterances in one call: the order of the others' transcripts is lost"
            _logger.warning(words, MOST_ITEMS)
