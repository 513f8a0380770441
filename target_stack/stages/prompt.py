"""What the language model is asked: chat messages for tuned models, a few-shot script for base models.

Both say everything they are given; what of a long conversation is given is decided in target_stack/context.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]
# chat: /v1/chat/completions. completion: /v1/completions, with a script. plain: the same, the last words alone.
Style = Literal["chat", "completion", "plain"]


@dataclass(frozen=True, slots=True)
class Message:
    """One side's words of one turn, or notes ("system"). An interrupted reply holds only what the user heard."""

    role: Role
    text: str


SYSTEM = (
    "You are a friendly phone agent. Answer the customer in one short sentence of plain spoken English, "
    "without lists, symbols or digits."
)

# Each answer is complete and short: the model copies the manner, and speech over 5 s makes callers wait.
EXAMPLES = (
    ("What time do you open on Saturday?", "We are open from nine in the morning until two on Saturday."),
    ("Hi, I need to change my delivery address.", "Of course, what is the new address?"),
    ("My order number is 4592.", "Thank you, your order will arrive on Thursday."),
    ("How much is a ticket to the airport?", "A ticket to the airport is twelve dollars."),
    ("My phone has not been working since Monday.", "I am sorry about that, I will send you a new one today."),
    ("Can I book a table for two tonight?", "Certainly, I have booked a table for two at seven."),
    ("My name is Daniel Reyes and I have a question about my bill.", "Thank you, Daniel, what would you like to know?"),
    ("Could you tell me my balance?", "Your balance is forty dollars."),
    ("That was all, thank you, goodbye.", "You are welcome, have a lovely day."),
)
OPENING = "A friendly phone agent answers each customer in one short and helpful sentence."
# What shows a base model what notes are for; only where there are some.
NOTES_EXAMPLE = "(Known of the caller: name: Ruth Adler; order number: 7710.)"
NOTES_TURNS = (("Do you still know who I am?", "Of course, you are Ruth Adler, and your order number is 7710."),)
SPEAKERS = {"user": "Customer", "assistant": "Agent"}


def fixed_text(style: Style) -> str:
    """Return what goes along with every request of that style, to be counted."""
    return (
        SYSTEM
        if style == "chat"
        else "\n".join([*_script(EXAMPLES, OPENING), *_script(NOTES_TURNS, NOTES_EXAMPLE), "Agent:"])
    )


def chat_messages(history: Sequence[Message], system: str = SYSTEM) -> list[dict[str, str]]:
    """Return OpenAI chat messages, oldest first. Roles alternate from the user on, as many chat templates demand."""
    notes = [message.text for message in history if message.role == "system"]
    messages = [{"role": "system", "content": "\n\n".join([system, *notes])}]
    for message in history:
        if message.role == "system" or (message.role == "assistant" and len(messages) == 1):
            continue
        if messages[-1]["role"] == message.role:
            messages[-1]["content"] += f" {message.text}"
        else:
            messages.append({"role": message.role, "content": message.text})
    return messages


def completion_prompt(history: Sequence[Message]) -> str:
    """Return a script of example turns ending with "Agent:", for a base model to go on from; stop at a newline."""
    lines = _script(EXAMPLES, OPENING)
    notes = " ".join(_one_line(message.text) for message in history if message.role == "system")
    if notes:
        lines += [*_script(NOTES_TURNS, NOTES_EXAMPLE), f"({notes})"]
    lines += [f"{SPEAKERS[m.role]}: {_one_line(m.text)}" for m in history if m.role != "system"]
    return "\n".join([*lines, "Agent:"])


def _script(turns: Sequence[tuple[str, str]], opening: str) -> list[str]:
    lines = [opening]
    for question, answer in turns:
        lines += [f"Customer: {question}", f"Agent: {answer}"]
    return lines


def _one_line(text: str) -> str:
    return " ".join(text.split())
