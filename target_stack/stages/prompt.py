"""What the language model is asked: chat messages for tuned models, a few-shot script for base models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Role = Literal["user", "assistant"]

# Turns of history sent along. A base model of 270 M parameters gains nothing from more, and reading costs time.
HISTORY_TURNS = 3


@dataclass(frozen=True, slots=True)
class Message:
    """One side's words of one turn. An interrupted reply holds only what the user heard."""

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


def chat_messages(history: Sequence[Message]) -> list[dict[str, str]]:
    """Return OpenAI chat messages for the last turns of `history`, oldest first."""
    recent = history[-2 * HISTORY_TURNS + 1 :]
    return [{"role": "system", "content": SYSTEM}, *({"role": m.role, "content": m.text} for m in recent)]


def completion_prompt(history: Sequence[Message]) -> str:
    """Return a script of example turns ending with "Agent:", for a base model to go on from; stop at a newline.

    Only the user's last words are added: a small base model repeats whatever it said before.
    """
    lines = [OPENING]
    for question, answer in EXAMPLES:
        lines += [f"Customer: {question}", f"Agent: {answer}"]
    asked = next((message.text for message in reversed(history) if message.role == "user"), "")
    return "\n".join([*lines, f"Customer: {' '.join(asked.split())}", "Agent:"])
