"""What a caller does in a call besides speaking: keys pressed (DTMF), the agent put on hold."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from harness.model.plan import PlannedAction, TargetSpec
from harness.scenario.strict_model import StrictModel

# Which transports carry which action.
CARRIED_BY = {"dtmf": ("sip", "media_stream"), "hold_s": ("sip",)}
_DIGITS = re.compile(r"[0-9*#A-D]{1,32}")


def _digits(value: Any) -> Any:
    if not isinstance(value, str) or not _DIGITS.fullmatch(value):
        raise ValueError(f'got {value!r}; legal: 1 to 32 of 0-9 * # A-D, in quotes, like "12#"')
    return value


class CallerAction(StrictModel):
    """One action, done before the caller speaks a turn."""

    before_turn: int = Field(ge=1, description="1: before the first utterance")
    dtmf: Annotated[
        str | None, BeforeValidator(_digits), WithJsonSchema({"type": "string", "pattern": f"^{_DIGITS.pattern}$"})
    ] = Field(default=None, description="keys to press")
    hold_s: float | None = Field(default=None, gt=0, le=300, description="put the agent on hold for so long")

    @model_validator(mode="after")
    def _is_one_action(self) -> "CallerAction":
        if (self.dtmf is None) == (self.hold_s is None):
            raise ValueError("needs exactly one of: dtmf, hold_s")
        return self

    @property
    def kind(self) -> str:
        """Return the key that says what is done."""
        return "hold_s" if self.dtmf is None else "dtmf"

    def to_plan(self) -> PlannedAction:
        """Return the action as a plan has it."""
        return PlannedAction(self.dtmf or "", (self.hold_s or 0.0) * 1000)


def before(actions: Sequence[CallerAction], turn: int) -> tuple[PlannedAction, ...]:
    """Return what is done before turn `turn` (from 1), in the file's order."""
    return tuple(action.to_plan() for action in actions if action.before_turn == turn)


def problem_with(action: CallerAction, target: TargetSpec, least_turns: int) -> str | None:
    """Say why calls of `least_turns` turns and more to `target` cannot do it, None when they can."""
    legal = CARRIED_BY[action.kind]
    if target.transport not in legal:
        return f"{action.kind} cannot be done over {target.transport}; legal: with transport {' or '.join(legal)}"
    if target.sip is not None and not target.sip.media:
        return f"{action.kind} needs a call with audio; legal: with target.sip.media: true"
    if action.before_turn > least_turns:
        return (
            f"before_turn: got {action.before_turn}, but a call may have {least_turns} turns; legal: 1 to {least_turns}"
        )
    return None
