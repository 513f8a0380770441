"""The one text normaliser of every WER: Whisper's English one. Another normaliser, or version, gives another WER."""

from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any

NAME = "whisper-normalizer EnglishTextNormalizer"


def identity() -> str:
    """Return the normaliser's name and installed version, as every result states it."""
    return f"{NAME} {version('whisper-normalizer')}"


@cache
def _english() -> Any:
    # Loads a spelling table: once, and only where a WER is computed.
    from whisper_normalizer.english import EnglishTextNormalizer  # noqa: PLC0415 (see above)

    return EnglishTextNormalizer()


@lru_cache(maxsize=16_384)
def normalise(text: str) -> str:
    """Return `text` lower-cased, without punctuation and fillers, with numbers, contractions and spelling unified."""
    return str(_english()(text))
