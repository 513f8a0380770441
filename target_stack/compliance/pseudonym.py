"""What stands for a caller or call in the store and the audit trail: a keyed hash, of no use without the key's file."""

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from harness.model.errors import ScenarioError

KEY_FILE = "pseudonym.key"
_KEY_BYTES = 32
_NUMBER = re.compile(r"\+?[0-9().-]+")


class Pseudonyms:
    """HMAC-SHA256 under one key, 128 bits of it in hex. Whoever has the key can only test a guess, not read back."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, name: str) -> str:
        """Return what stands for `name`; spelling that does not matter in a number or account is ignored."""
        plain = "".join(name.split()).lower()
        if _NUMBER.fullmatch(plain):
            plain = re.sub(r"[().-]", "", plain)
        return hmac.new(self._key, plain.encode(), hashlib.sha256).hexdigest()[:32]


def open_pseudonyms(folder: Path) -> Pseudonyms:
    """Return the folder's pseudonyms; a new folder gets a new key, readable by its owner only."""
    path = folder / KEY_FILE
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Written whole and linked into place: of two processes that start at once, one key wins.
    draft = path.with_name(f"{KEY_FILE}.{secrets.token_hex(4)}")
    if not path.exists():
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise ScenarioError(f"{path}: {len(key)} bytes; the key of the pseudonyms has {_KEY_BYTES}")
    return Pseudonyms(key)
