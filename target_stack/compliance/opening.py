"""How a call opens: notices are said and questions put until nothing is left to say or ask.

decide ─► say what is first ─► heard? ─► decide ─► ask ─► key, yes, no, silence ─► decide ─► ...
"""

from target_stack.compliance.case import CallCase
from target_stack.compliance.decision import Decision
from target_stack.compliance.ear import AnswerEar, Answered
from target_stack.compliance.mouth import Mouth
from target_stack.compliance.office import Office
from target_stack.compliance.words import Activity
from target_stack.pipeline.session import Stages
from target_stack.stages.endpointing import EndpointRules


class NotHeardError(Exception):
    """A notice could not be heard; without it nothing may go on."""


class Opening:
    """`run` it; audio and keys of the caller go to `ear` while there is one, and nowhere else."""

    def __init__(self, case: CallCase, office: Office, mouth: Mouth, stages: Stages, rules: EndpointRules) -> None:
        self.ear: AnswerEar | None = None
        self._case = case
        self._office = office
        self._mouth = mouth
        self._stages = stages
        self._rules = rules

    async def run(self) -> Decision:
        """Say and ask all there is; return what is allowed then. Raises NotHeardError, StoreError, and the TTS's."""
        while True:
            decision = self._case.decide()
            if decision.say_first:
                await self._say_notices(decision)
            elif decision.ask:
                await self._ask(decision)
            else:
                return decision

    async def _say_notices(self, decision: Decision) -> None:
        for notice in decision.say_first:
            is_heard = False
            try:
                is_heard = await self._say(self._office.script.notice(notice, self._office.retention(decision)))
            finally:
                # Also when the caller hangs up in the middle of it.
                await (self._case.played(notice) if is_heard else self._case.not_played(notice))
            if not is_heard:
                raise NotHeardError(f"{notice} was queued and not heard")

    async def _ask(self, decision: Decision) -> None:
        kept = self._office.retention(decision)
        answered = self._case.told_answer
        if answered is not None:
            await self._case.answer(decision.ask, "", answered, decision.consent_lasts)
            return
        hears = self._office.hears(decision)
        question = self._office.script.question(decision.ask, kept, is_answer_heard=hears)
        for _ in range(self._office.settings.block.asks):
            await self._case.ask(decision.ask, question)
            answered = await self._put(question, hears)
            if answered is not None:
                break
        if answered is None:
            await self._case.unanswered(decision.ask)
        else:
            await self._case.answer(decision.ask, question, answered, decision.consent_lasts)
        is_yes = answered is not None and answered.is_yes
        if is_yes or Activity.PROCESS not in decision.ask:
            await self._say(self._office.script.reaction(decision.ask, is_yes=is_yes, retention=kept))

    async def _put(self, question: str, hears: bool) -> Answered | None:
        """Say the question and wait for its answer."""
        block = self._office.settings.block
        self.ear = AnswerEar(block.keys, self._stages.stt, self._rules, self._stages.new_vad if hears else None)
        try:
            if not await self._say(question):
                raise NotHeardError("a question for consent was queued and not heard")
            return await self.ear.answer(block.answer_timeout_s)
        finally:
            self.ear = None

    async def _say(self, text: str) -> bool:
        return await self._mouth.say(text, await self._office.speech(text))
