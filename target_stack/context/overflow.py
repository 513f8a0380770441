"""What servers say when a prompt is longer than their context, and the numbers in it.

vLLM, llama.cpp and OpenAI all answer 400, each in words of its own; the texts that were seen stand in the tests.
"""

import json
import re
from dataclasses import dataclass

# HTTP statuses a server may say it with: 400 by all of the above, 413 (RFC 9110 15.5.14) by proxies.
STATUSES = frozenset({400, 413})
_SIGNS = re.compile(
    r"maximum context length|context size|context_length_exceeded|exceed_context_size|maximum model length|"
    r"context window|max_model_len",
    re.IGNORECASE,
)
_LIMITS = (
    re.compile(r"maximum context length (?:is|of) (\d+)", re.IGNORECASE),
    re.compile(r"context size[^\d]{0,3}\((\d+) tokens\)", re.IGNORECASE),
    re.compile(r"maximum model length of (\d+)", re.IGNORECASE),
    re.compile(r"\"?n_ctx\"?\s*[:=]\s*(\d+)"),
)
_ASKED = (
    re.compile(r"\((\d+) in the messages", re.IGNORECASE),
    re.compile(r"(?:request has|prompt contains|contains at least) (\d+) input tokens", re.IGNORECASE),
    re.compile(r"request \((\d+) tokens\)", re.IGNORECASE),
    re.compile(r"messages resulted in (\d+) tokens", re.IGNORECASE),
    re.compile(r"prompt \(length (\d+)\)", re.IGNORECASE),
    re.compile(r"\"?n_prompt_tokens\"?\s*[:=]\s*(\d+)"),
    re.compile(r"you requested (\d+) tokens", re.IGNORECASE),
)


@dataclass(frozen=True, slots=True)
class Overflow:
    """The server's own numbers, None where it told none. `asked`: the prompt's tokens."""

    limit: int | None
    asked: int | None


def overflow_of(status: int, body: str) -> Overflow | None:
    """Return the numbers of a refusal because of length; None: it is about something else."""
    if status not in STATUSES or not _SIGNS.search(body):
        return None
    text = _plain(body)
    return Overflow(_first(_LIMITS, text), _first(_ASKED, text))


def _plain(body: str) -> str:
    """Return the body without JSON's escapes, which hide quotes in it."""
    try:
        return json.dumps(json.loads(body)).replace("\\", "")
    except ValueError:
        return body


def _first(patterns: tuple[re.Pattern[str], ...], text: str) -> int | None:
    found = next((match for pattern in patterns if (match := pattern.search(text))), None)
    return int(found[1]) if found else None
