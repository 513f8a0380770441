"""One call's agent: hears from the media loop that the caller has fallen silent, answers when due, tells the truth.

    AgentStopped (the caller's last voiced packet reached our kernel) --> plan --> play(answer, not before ...)
    SpeechStarted (the packet with the answer's first voiced sample was sent) --> one Truth

Both times are this process's own: a kernel stamp and a send stamp of this side's sockets. No time crosses from the
caller; all it gives is its call id, so that its turns can be found.
"""

from collections.abc import Callable

from harness.calibrate.answers import ANSWER, AnswerShelf
from harness.calibrate.behaviour import Behaviour, Draws, PlannedAnswer
from harness.measure.calibration import Truth
from harness.media.codecs import OPUS, Codec
from harness.media.events import MediaEvent, MediaLost, RemoteBye, SpeechStarted
from harness.media.media_call import MediaCall
from harness.media.onset import AgentStopped


class Agent:
    """Give `on_event` to the media loop and the call it makes to `begin`."""

    def __init__(
        self,
        call: str,
        codec: Codec,
        behaviour: Behaviour,
        draws: Draws,
        shelf: AnswerShelf,
        tell: Callable[[Truth], None],
        on_gone: Callable[[], None],
    ) -> None:
        self._call = call
        self._codec = codec
        self._behaviour = behaviour
        self._draws = draws
        self._shelf = shelf
        self._tell = tell
        self._on_gone = on_gone
        self._media: MediaCall | None = None
        self._turn = 0
        self._planned: tuple[int, PlannedAnswer] | None = None

    @property
    def hears_by_size(self) -> bool:
        """Whether payload sizes tell voice from silence; only Opus has different ones."""
        return self._behaviour.hear == "size" and self._codec is OPUS

    def begin(self, media: MediaCall) -> None:
        """Take the call; greet."""
        self._media = media
        greeting = self._shelf.greeting(self._codec)
        if greeting is not None:
            media.play(greeting)

    def end(self) -> None:
        """Let go of the call, which holds `on_event`."""
        self._media = None

    def on_event(self, event: MediaEvent) -> None:
        """Take one event of the media loop."""
        match event:
            case AgentStopped():
                self._answer(event.at_ns)
            case SpeechStarted() if event.utterance_id == ANSWER:
                self._answered(event.at_ns)
            case RemoteBye() | MediaLost():
                self._on_gone()

    def _answer(self, ended_at_ns: int) -> None:
        media = self._media
        if media is None or self._behaviour.mute:
            return
        planned = self._draws.answer(ended_at_ns)
        self._planned = (ended_at_ns, planned)
        media.play(self._shelf.answer(self._codec, planned.leading_packets), planned.not_before_ns)

    def _answered(self, at_ns: int) -> None:
        if self._planned is None:
            return
        ended_at_ns, planned = self._planned
        self._planned = None
        self._turn += 1
        self._tell(Truth(self._call, self._turn, ended_at_ns, at_ns, planned.delay_ms, planned.leading_silence_ms))
