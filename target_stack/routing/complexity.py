"""How much a turn asks of the language model, by rules that cost nothing, so that a model can be chosen for it.

A turn scores a point for each sign of work in it; the table says how many points make which complexity.
"""

import re
from collections.abc import Sequence
from typing import Literal

from target_stack.stages.prompt import Message

Complexity = Literal["simple", "medium", "complex"]
COMPLEXITIES: tuple[Complexity, ...] = ("simple", "medium", "complex")

# Points from which a turn is of that complexity, hardest first.
_FROM: tuple[tuple[int, Complexity], ...] = ((3, "complex"), (1, "medium"), (0, "simple"))
_REASONING = re.compile(
    r"\b(why|how (?:come|do|does|would|should)|explain|compare|difference|instead|unless|except|if|because|calculate|"
    r"which (?:one|of)|what happens|both|either)\b",
    re.IGNORECASE,
)
# Spoken in one breath: more is more than one thing.
LONG_WORDS = 25
# Turns after which "it" and "that" may mean many things.
LONG_HISTORY = 8


def complexity_of(history: Sequence[Message]) -> Complexity:
    """Return the complexity of the last user turn in its conversation."""
    asked = next((message.text for message in reversed(history) if message.role == "user"), "")
    words = len(asked.split())
    reasons = len(set(map(str.lower, _REASONING.findall(asked))))
    points = (
        min(2, reasons)
        + (words > LONG_WORDS)
        + (words > 2 * LONG_WORDS)
        + (len(history) > 2 * LONG_HISTORY)
        + (len(re.findall(r"\?", asked)) > 1)
    )
    return next(name for least, name in _FROM if points >= least)
