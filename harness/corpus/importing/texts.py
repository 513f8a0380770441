"""Bytes of other people's files as text, and texts as the names that a manifest takes."""

import hashlib
import re
import unicodedata

from harness.corpus.importing.items import UnusableError

_LONGEST_NAME = 80
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def decode_text(raw: bytes, encoding: str = "utf-8") -> str:
    """Decode `raw`; a byte order mark decides over `encoding`. Raises UnusableError naming the first wrong byte."""
    chosen = next((name for mark, name in _MARKS if raw.startswith(mark)), encoding)
    try:
        return raw.decode(chosen)
    except UnicodeDecodeError as error:
        wrong = raw[error.start : error.start + 1].hex()
        raise UnusableError(
            "transcript cannot be read", f"byte 0x{wrong} at {error.start} is not {chosen}; --encoding names another"
        ) from error


def one_line(text: str) -> str:
    """`text` without control characters, its white space as single spaces, in Unicode's composed form."""
    kept = "".join(" " if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") else letter for letter in text)
    return " ".join(unicodedata.normalize("NFC", kept).split())


def shown(text: str) -> str:
    """`text` as it can be printed and stored on one line: what is no character, or would break the line, escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in text
    )


def slug(text: str) -> str:
    """`text` as a Name of the manifest: lower-case ASCII letters, digits and hyphens; may be empty."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def name_of(text: str) -> str:
    """Return a Name for `text` that no other text is likely to have: its slug, with a hash where that lost too much."""
    made = slug(text)
    letters = sum(letter.isalnum() for letter in text)
    if len(made) <= _LONGEST_NAME and 2 * sum(map(str.isalnum, made)) >= letters and made:
        return made
    return f"{made[:_LONGEST_NAME].strip('-') or 'clip'}-{short_hash(text)}"


def short_hash(text: str) -> str:
    """Eight hexadecimal digits of `text`."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def sentence_name(transcript: str) -> str:
    """Return the Name that all recordings of the same words share, whatever their spelling in case and punctuation."""
    words = re.findall(r"\w+", transcript.casefold())
    return f"s-{hashlib.sha256(' '.join(words).encode()).hexdigest()[:12]}"
