"""What the agent says: disclosure, notices, questions, reactions. The texts are the operator's to change."""

from collections.abc import Iterable
from datetime import timedelta
from string import Formatter

from pydantic import BaseModel, ConfigDict, field_validator

from target_stack.compliance.words import Activity, Notice

_FIELDS = frozenset({"operator", "days", "agree", "refuse", "withdraw"})


class Texts(BaseModel):
    """Every text may hold {operator}, {days} (how long a call is kept), and the keys {agree}, {refuse}, {withdraw}."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    ai_disclosure: str = "Hello, you are speaking with an AI assistant of {operator}, not with a person."
    caller_identity: str = "This is a call on behalf of {operator}."
    data_notice: str = "We use what you say to answer you, and for nothing else."
    recording_notice: str = "If this call is recorded, recording and transcript are deleted after {days} days."
    opt_out: str = "Press {withdraw} at any time if you do not want to be called or recorded."
    ask_process: str = "Do you agree that the assistant processes what you say? Press {agree} for yes, {refuse} for no."
    ask_record: str = "May we record this call? Say yes or no, or press {agree} for yes, {refuse} for no."
    # For where the answer may not be understood before there is consent.
    ask_record_by_key: str = "May we record this call? Press {agree} for yes, {refuse} for no."
    ask_process_by_voice: str = (
        "Do you agree that the assistant processes what you say? "
        "Say yes or no, or press {agree} for yes, {refuse} for no."
    )
    recorded: str = "Thank you. This call is recorded."
    not_recorded: str = "All right, this call is not recorded."
    agreed: str = "Thank you."
    declined: str = "Understood. Without your consent I cannot go on with this call. Goodbye."
    taken_back: str = "All right. Nothing of this call is kept."

    @field_validator("*")
    @classmethod
    def _fields_are_known(cls, text: str) -> str:
        try:
            used = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
        except ValueError as error:
            raise ValueError(f"{error}; write {{{{ for a brace") from error
        if not used <= _FIELDS:
            wrong = ", ".join(sorted(used - _FIELDS))
            raise ValueError(f"{{{wrong}}} is no field; legal: {', '.join(sorted(_FIELDS))}")
        return text


class Script:
    """The texts with their fields filled in."""

    def __init__(self, texts: Texts, operator: str, keys: dict[str, str]) -> None:
        self._texts = texts
        self._fields = {"operator": operator, **keys}

    def notice(self, notice: Notice, retention: timedelta) -> str:
        """Return how a notice is said."""
        return self._filled(getattr(self._texts, notice.value), retention)

    def question(self, about: Iterable[Activity], retention: timedelta, *, is_answer_heard: bool) -> str:
        """Return how a question is asked."""
        if Activity.PROCESS in about:
            text = self._texts.ask_process_by_voice if is_answer_heard else self._texts.ask_process
        else:
            text = self._texts.ask_record if is_answer_heard else self._texts.ask_record_by_key
        return self._filled(text, retention)

    def reaction(self, about: Iterable[Activity], *, is_yes: bool, retention: timedelta) -> str:
        """Return what is said to an answer; a no to being understood has `declined` instead."""
        if Activity.PROCESS in about:
            text = self._texts.agreed
        else:
            text = self._texts.recorded if is_yes else self._texts.not_recorded
        return self._filled(text, retention)

    def declined(self) -> str:
        """Return what is said before the call is ended."""
        return self._filled(self._texts.declined, timedelta())

    def taken_back(self) -> str:
        """Return what is said when consent was withdrawn and the call goes on."""
        return self._filled(self._texts.taken_back, timedelta())

    def _filled(self, text: str, retention: timedelta) -> str:
        return text.format(**self._fields, days=retention.days)
