"""The words of `callquake fault start`, as the command takes them and as experiments hold them, to a fault."""

import argparse
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from harness.faults.catalogue import kind_named
from harness.faults.check import check_filter, check_parameters, parameters_from_words
from harness.faults.kind import Kind
from harness.model.errors import ScenarioError
from harness.model.fault import Fault, FaultFilter

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
TOKEN_VARIABLE = "CALLQUAKE_ADMIN_TOKEN"  # noqa: S105  a variable's name
_UNITS_MS = {"ms": 1.0, "s": 1_000.0, "m": 60_000.0, "h": 3_600_000.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")


def add_options(start: argparse.ArgumentParser) -> None:
    """Add everything that `fault start` takes."""
    start.add_argument("kind", metavar="KIND", help="like stage.delay; `callquake fault list` names them")
    start.add_argument("parameters", nargs="*", metavar="NAME=VALUE", help="the kind's parameters")
    start.add_argument("--for", dest="length", metavar="TIME", help="like 30s, 5m or 500ms; default: until Ctrl-C")
    start.add_argument("--name", metavar="NAME", help="what to call it; default: the kind and four digits")
    start.add_argument("--share", type=float, default=1.0, metavar="X", help="of the calls or requests, 0 to 1")
    start.add_argument("--seed", type=int, default=0, metavar="N", help="which of them, and every other draw")
    start.add_argument(
        "--admin", metavar="URL", help=f"the bundled agent ({default_admin()}); its token in {TOKEN_VARIABLE}"
    )
    start.add_argument(
        "--target", metavar="URL", help="the address that calls go to, instead of --admin: its origin has the admin API"
    )
    start.add_argument(
        "--run", type=Path, metavar="DIR", help="in this run, which goes on: on its calls too, and in its records"
    )
    start.add_argument("--keep", action="store_true", help="leave it in force and return; `fault stop` undoes it")


def default_admin() -> str:
    """Return where the bundled agent is where nobody says."""
    return os.environ.get("CALLQUAKE_ADMIN_URL", "http://127.0.0.1:8080")


class _Reader(argparse.ArgumentParser):
    """Raises ValueError where a command would end."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def read_words(words: Sequence[str]) -> argparse.Namespace:
    """Return the options in the words behind `fault start`. Raises ValueError."""
    reader = _Reader(add_help=False)
    add_options(reader)
    return reader.parse_args(words)


def fault_from(options: argparse.Namespace) -> Fault:
    """Return the fault that the options ask for. Raises ScenarioError listing every problem."""
    kind = kind_from(options.kind)
    problems = []
    try:
        raw = parameters_from_words(kind, options.parameters)
        parameters, found = check_parameters(kind, raw)
        problems += [f"{'.'.join(map(str, place[1:])) or 'parameters'}: {said}" for place, said in found]
    except ValueError as error:
        parameters = {}
        problems.append(str(error))
    chosen = FaultFilter(share=options.share)
    if not 0 <= options.share <= 1:
        problems.append(f"--share: got {options.share:g}; legal: 0 to 1")
    problems += [said for _, said in check_filter(kind, chosen)]
    if options.name is not None and not NAME.fullmatch(options.name):
        problems.append(f"--name {options.name}: legal: up to 64 of letters, digits and _ . -")
    length_ms = None
    try:
        length_ms = None if options.length is None else duration_ms(options.length)
    except ValueError as error:
        problems.append(f"--for: {error}")
    if kind.needs_end and options.length is None:
        problems.append(f"--for: missing; {kind.name} does its work when it ends")
    if problems:
        raise ScenarioError("\n".join(problems))
    return Fault(
        name=options.name or f"{kind.name}-{secrets.token_hex(2)}",
        kind=kind.name,
        where=kind.where,
        duration_ms=length_ms,
        parameters=parameters,
        filter=chosen,
        seed=options.seed,
    )


def kind_from(name: str) -> Kind:
    """Return the kind of that name. Raises ScenarioError with the legal ones."""
    try:
        return kind_named(name)
    except ValueError as error:
        raise ScenarioError(f"KIND: {error}") from error


def duration_ms(text: str) -> float:
    """Return a duration like 30s, 5m, 500ms or 1.5h in ms; a number alone is seconds. Raises ValueError."""
    found = _DURATION.fullmatch(text.strip())
    if found is None or float(found[1]) <= 0:
        raise ValueError(f"got {text!r}; legal: a number above 0 with ms, s, m or h, like 30s")
    return float(found[1]) * _UNITS_MS[found[2] or "s"]
