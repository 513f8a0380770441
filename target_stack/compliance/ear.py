"""Listens for one answer to a question of consent: a key, or spoken words where they may be understood.

The words are recognised in memory and dropped; nothing but a yes or a no, and for a yes its words, leaves this file.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from harness.model.clock import monotonic_ns
from target_stack.compliance.answers import Answer, answer_in
from target_stack.compliance.settings import Keys
from target_stack.compliance.words import Form
from target_stack.frames import Pcm
from target_stack.pipeline.listening import Listening, UtteranceEnded
from target_stack.stages.endpointing import EndpointRules
from target_stack.stages.stt import SpeechToText
from target_stack.stages.vad import VoiceActivity

_log = logging.getLogger(__name__)
# Three seconds of 20 ms packets.
_PACKETS_AHEAD = 150
_GAP_CHECK_S = 0.25
# How long an answer that has begun may go on beyond the time-out.
_LONGEST_S = 10.0


@dataclass(frozen=True, slots=True)
class Answered:
    """A yes or no, how it came, and the words or key it came in."""

    is_yes: bool
    form: Form
    words: str


class AnswerEar:
    """Keys count from the question's first word on, speech from its end (`answer`). `new_vad` None: only keys do."""

    def __init__(
        self, keys: Keys, stt: SpeechToText, rules: EndpointRules, new_vad: Callable[[], VoiceActivity] | None
    ) -> None:
        self._keys = keys
        self._stt = stt
        self._listening = Listening(new_vad(), rules) if new_vad else None
        self._audio: deque[tuple[Pcm, int]] = deque(maxlen=_PACKETS_AHEAD)
        self._came = asyncio.Event()
        self._is_open = False
        self._is_recognising = False
        self._answer: asyncio.Future[Answered | None] = asyncio.get_running_loop().create_future()

    def push_audio(self, samples: Pcm, arrived_at_ns: int) -> None:
        """Take the caller's samples; outside of `answer` and without a VAD they are dropped unheard."""
        if self._is_open and self._listening is not None:
            self._audio.append((samples, arrived_at_ns))
            self._came.set()

    def press(self, digit: str) -> None:
        """Take a key."""
        answers = {self._keys.agree: True, self._keys.refuse: False}
        if digit in answers:
            self._settle(Answered(answers[digit], Form.KEYPAD, digit))

    async def answer(self, timeout_s: float) -> Answered | None:
        """Wait for a yes or no; None when nothing, or nothing clear, came in time."""
        listening = asyncio.create_task(self._listen()) if self._listening is not None else None
        self._is_open = True
        try:
            async with asyncio.timeout(timeout_s + _LONGEST_S):
                while not self._answer.done():
                    await asyncio.wait({self._answer}, timeout=timeout_s)
                    if not self._is_busy:
                        break
                    timeout_s = _GAP_CHECK_S
        except TimeoutError:
            pass
        finally:
            self._is_open = False
            if listening is not None:
                listening.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await listening
        return self._answer.result() if self._answer.done() else None

    @property
    def _is_busy(self) -> bool:
        return self._is_recognising or (self._listening is not None and self._listening.is_user_speaking)

    def _settle(self, answered: Answered | None) -> None:
        if not self._answer.done():
            self._answer.set_result(answered)

    async def _listen(self) -> None:
        assert self._listening is not None
        while not self._answer.done():
            heard = self._listening.tick(monotonic_ns())
            while self._audio:
                heard += self._listening.feed(*self._audio.popleft())
                await asyncio.sleep(0)
            self._came.clear()
            for event in heard:
                if isinstance(event, UtteranceEnded):
                    await self._understand(event.samples)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._came.wait(), _GAP_CHECK_S)

    async def _understand(self, samples: Pcm) -> None:
        """Settle on what was said; what is unclear ends the wait, too, so that the question can be put again."""
        self._is_recognising = True
        try:
            words = (await self._stt.transcribe(samples)).text
        except Exception:  # noqa: BLE001 - whatever failed, it is no answer
            _log.exception("an answer could not be recognised; the question is put again")
            words = ""
        finally:
            self._is_recognising = False
        answer = answer_in(words)
        self._settle(None if answer is Answer.UNCLEAR else Answered(answer is Answer.YES, Form.VOICE, words))
