"""The words of one turn, recognised while the user still speaks, or all at its end.

    audio    |===== part =====|pause|===== part =====|pause|== open ==|pause|
    asked     part (settled)          part (settled)         draft at each pause; partial once a second
    at the turn's end: settled parts + the last draft, where nothing was said after it, else one more request

No request is longer than a part, so the recogniser's window and its time-out hold for utterances of any length. Where
`is_chunked` is off, the whole utterance is one request at the end: what breaks on long ones.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from target_stack.call_scope import Work
from target_stack.pipeline.listening import NOTHING_HEARD, Heard, together
from target_stack.pipeline.parts import CutSearch, PartRules, joined
from target_stack.pipeline.task_ends import CalledOff, has_failed, read
from target_stack.stages.stt import Transcription
from target_stack.stages.vad import CHUNK_MS

# Gives a stretch to the recogniser, within the time-out.
Ask = Callable[[Heard, Work], Coroutine[Any, Any, Transcription]]
# What a request gave, and whether its first words may be the last ones of the one before.
_Answer = tuple[Transcription, bool]


@dataclass(frozen=True, slots=True)
class SttRules:
    """How utterances are recognised."""

    # Off: one request at the turn's end, however long it is.
    is_chunked: bool = True
    # From asking to the words, waiting for a free recogniser included.
    timeout_ms: float = 8_000.0
    # The words so far, for who reads along; 0: none.
    partial_every_ms: float = 1_000.0
    parts: PartRules = field(default_factory=PartRules)


@dataclass(frozen=True, slots=True)
class Words:
    """What a turn's recognition came to. `queue_ms`: of the request that was answered last."""

    text: str
    queue_ms: float = 0.0
    is_emulated: bool = False


class _Request:
    """One stretch at the recogniser. `voiced`: the chunk of the turn behind its last voice."""

    def __init__(self, ask: Ask, heard: Heard, work: Work, *, voiced: int, is_overlapping: bool) -> None:
        self.heard = heard
        self.voiced = voiced
        # Its first words may be the last ones of the part before.
        self.is_overlapping = is_overlapping
        self.task = asyncio.create_task(ask(heard, work))
        self.task.add_done_callback(read)

    @property
    def has_failed(self) -> bool:
        """Whether it ended without words."""
        return has_failed(self.task)


class Recognition:
    """One turn's. `take` what is heard, in order; `draft` and `ask_partial` for words so far; `finish` at its end.

    Requests are tasks of their own, so that the listener never waits; `close` calls off what is left of them.
    """

    def __init__(self, ask: Ask, rules: SttRules, called_off: CalledOff) -> None:
        """`called_off`: the call's, which waits for what is in it."""
        self._ask = ask
        self._rules = rules
        self._called_off = called_off
        self._settled: list[_Request] = []
        # What no settled part has; it begins behind `_before` chunks of the turn.
        self._open = NOTHING_HEARD
        self._search = CutSearch(rules.parts)
        self._open_overlaps = False
        self._before = 0
        # Begins where the open stretch begins.
        self._draft: _Request | None = None
        self._partial: asyncio.Task[str] | None = None
        # Voice since a partial was asked for.
        self._untold_ms = 0.0
        # Chunks taken of the utterance that is being spoken, for who asks for the rest of it.
        self.taken = 0
        self.duration_ms = 0.0

    def take(self, heard: Heard) -> None:
        """Add what was heard since; settle each part that is complete with it."""
        self.taken += heard.chunks
        self.duration_ms += heard.duration_ms
        self._untold_ms += CHUNK_MS * int((heard.voice >= self._rules.parts.voice).sum())
        self._open = together(self._open, heard)
        if self._rules.is_chunked:
            self._settle_parts()

    def utterance_ended(self) -> None:
        """Count the next utterance's chunks from nothing: the user may go on with this turn in another one."""
        self.taken = 0
        self._untold_ms = 0.0

    def _settle_parts(self) -> None:
        while (cut := self._search.look(self._open)) is not None:
            self._search = CutSearch(self._rules.parts)
            part = self._open.until(cut.end)
            drafted, self._draft = self._draft, None
            if drafted is not None and not drafted.has_failed and drafted.voiced == self._voiced(part):
                # Only silence came since: its words are the part's.
                self._settled.append(drafted)
            else:
                self._drop(drafted)
                self._settled.append(self._request(part, "part"))
            self._before += cut.start
            self._open = self._open.since(cut.start)
            self._open_overlaps = cut.is_in_speech

    def _request(self, heard: Heard, work: Work) -> _Request:
        return _Request(self._ask, heard, work, voiced=self._voiced(heard), is_overlapping=self._open_overlaps)

    def _voiced(self, heard: Heard) -> int:
        """Return the chunk of the turn behind the last voice in a stretch that begins where the open one begins."""
        loud = (heard.voice >= self._rules.parts.voice).nonzero()[0]
        return self._before + (int(loud[-1]) + 1 if loud.size else 0)

    @property
    def _has_open_voice(self) -> bool:
        return self._voiced(self._open) > self._before

    async def draft(self) -> Words:
        """Return the words so far, as if the turn were over; a draft that the next one supersedes is cancelled."""
        if self._has_open_voice and not self._is_drafted:
            self._drop(self._draft)
            self._draft = self._request(self._open, "draft")
        parts = [(await asyncio.shield(part.task), part.is_overlapping) for part in self._settled]
        return await self._words(parts)

    @property
    def is_partial_due(self) -> bool:
        """Whether the user has said enough since the last partial, still speaks, and none is at work."""
        every_ms, voice = self._rules.partial_every_ms, self._open.voice
        is_busy = self._partial is not None and not self._partial.done()
        is_speaking = voice.size > 0 and voice[-1] >= self._rules.parts.voice
        return 0 < every_ms <= self._untold_ms and is_speaking and not is_busy

    def ask_partial(self, tell: Callable[[str], None]) -> None:
        """Have the words so far told, unless the recogniser has better to do."""
        self._untold_ms = 0.0
        self._partial = asyncio.create_task(self._partial_text())
        self._partial.add_done_callback(lambda task: None if has_failed(task) else tell(task.result()))

    async def _partial_text(self) -> str:
        parts = [part for part in self._settled if part.task.done() and not part.has_failed]
        request = self._request(self._open, "partial")
        last = await request.task
        text = ""
        for part in parts:
            text = joined(text, part.task.result().text, is_overlapping=part.is_overlapping)
        return "" if last.is_emulated else joined(text, last.text, is_overlapping=request.is_overlapping)

    async def finish(self) -> Words:
        """Return all the words of the turn. Raises what a request raised, TimeoutError among it."""
        self._called_off.add(self._partial)
        if not self._has_open_voice or self._is_drafted:
            return await self._words(await self._settled_words())
        self._drop(self._draft)
        self._draft = None
        # Behind the parts, which were asked for before.
        last = await self._ask(self._open, "final")
        return await self._words([*await self._settled_words(), (last, self._open_overlaps)])

    async def _settled_words(self) -> list[_Answer]:
        """Wait for every part; one that failed is asked once more: only now its words are needed."""
        answers = []
        for part in self._settled:
            await asyncio.wait({part.task})
            again = self._ask(part.heard, "final") if part.has_failed else asyncio.shield(part.task)
            answers.append((await again, part.is_overlapping))
        return answers

    @property
    def _is_drafted(self) -> bool:
        """Whether the draft has all that was said."""
        return self._draft is not None and not self._draft.has_failed and self._draft.voiced == self._voiced(self._open)

    async def _words(self, answers: list[_Answer]) -> Words:
        """Return these, and the draft's behind them where there is one."""
        if self._draft is not None:
            answers = [*answers, (await asyncio.shield(self._draft.task), self._draft.is_overlapping)]
        text = ""
        for heard, is_overlapping in answers:
            text = joined(text, heard.text, is_overlapping=is_overlapping)
        return Words(
            text,
            queue_ms=answers[-1][0].queue_ms if answers else 0.0,
            is_emulated=any(heard.is_emulated for heard, _ in answers),
        )

    def _drop(self, request: _Request | None) -> None:
        self._called_off.add(None if request is None else request.task)

    def close(self) -> None:
        """Withdraw what is still asked for."""
        for request in (*self._settled, self._draft):
            self._drop(request)
        self._called_off.add(self._partial)
