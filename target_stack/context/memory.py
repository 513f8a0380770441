"""What is kept of one call for its language model; it lives and dies with the call's session."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from target_stack.context.facts import Facts
from target_stack.stages.prompt import Message


@dataclass(eq=False)
class CallMemory:
    """`summarised`: messages at the beginning of the history that `summary` retells."""

    facts: Facts = field(default_factory=Facts)
    summary: str = ""
    summarised: int = 0
    # A summary is being written.
    is_busy: bool = False
    # Summaries in a row that were of no use.
    unusable: int = 0
    _read: int = 0

    def read(self, history: Sequence[Message]) -> None:
        """Take in the caller's turns that are new. The last message is left for later: its words may be partial."""
        for at in range(self._read, len(history) - 1):
            message = history[at]
            if message.role == "user":
                before = history[at - 1] if at else None
                self.facts.learn(message.text, before.text if before and before.role == "assistant" else "")
        self._read = max(self._read, len(history) - 1)

    def fresh(self, history: Sequence[Message]) -> Sequence[Message]:
        """Return the messages that no summary has yet."""
        # The last words are never retold; a history may also have become shorter, where a fault had made it longer.
        return history[max(0, min(self.summarised, len(history) - 1)) :]

    def notes(self) -> str:
        """Return what the model is told besides the conversation; "" for nothing."""
        told = self.facts.told()
        parts = [f"Known of the caller: {told}." if told else "", f"Earlier: {self.summary}" if self.summary else ""]
        return "\n".join(filter(None, parts))
