"""Kinds of values that several blocks of a target have: secrets, and files beside the scenario."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

from harness.model.secrets import expand, names_in


def check_secret(text: str, info: ValidationInfo) -> str:
    """Return `text` as it stands; ValueError where what it names is not there. Never shows a value."""
    expanded(text, info)
    return text


def expanded(text: str, info: ValidationInfo) -> str:
    """Return `text` with its variables' values where the loader was given an environment, else as it stands."""
    environ = (info.context or {}).get("environ")
    if environ is not None:
        return expand(text, environ)
    names_in(text)
    return text


def _find_file(name: str, info: ValidationInfo) -> str:
    folder = (info.context or {}).get("folder")
    path = Path(name) if folder is None else Path(folder) / name
    if not path.is_file():
        raise ValueError(f"got {name!r}: no such file ({path}); legal: a file of PEM certificates, beside the scenario")
    if "-----BEGIN CERTIFICATE-----" not in path.read_text(encoding="utf-8", errors="replace"):
        raise ValueError(f"got {name!r}: no certificate in it; legal: a file of PEM certificates")
    return str(path.resolve())


# May name environment variables as ${NAME}.
Secret = Annotated[str, AfterValidator(check_secret)]
CertificateFile = Annotated[str, AfterValidator(_find_file)]
