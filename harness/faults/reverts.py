"""How each thing that a fault does is undone: plain data, so that a journal can hold it and any later command do it.

Each may be done twice, and when there is nothing left to undo: both are no error.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.faults.http_json import NoAnswerError, exchange
from harness.faults.owner import Owner, owner_of
from harness.faults.program import run_program
from harness.faults.undone import not_undone
from harness.model.errors import CallquakeError
from harness.model.secrets import expand

_HTTP_TIMEOUT_S = 5.0
_COMMAND_TIMEOUT_S = 60.0
_POLL_S = 0.05
_ENDS_AT_ONCE_S = 1.0
# What is asked to be undone is not there any more.
_ALREADY_GONE = (404, 410)


class RevertError(CallquakeError):
    """A fault could not be undone; says what is still in force and how to undo it by hand."""


@dataclass(frozen=True, slots=True)
class Revert:
    """One thing to do. `how` names it, `values` are its own; `about` says for people what is still broken without."""

    how: str
    about: str
    values: dict[str, Any] = field(default_factory=dict)


def by_http(
    about: str,
    method: str,
    url: str,
    headers: Mapping[str, str],
    *,
    body: str = "",
    lapses: bool = False,
    dies_with_server: bool = False,
    patience_s: float = _HTTP_TIMEOUT_S,
) -> Revert:
    """Return: ask `url`. A text may name secrets as ${NAME}; the body is JSON, or nothing.

    `lapses`: without us it ends by itself, soon. `dies_with_server`: where nobody listens any more it is over.
    `patience_s`: how long the answer may take.
    """
    values: dict[str, Any] = {"method": method, "url": url, "headers": dict(headers), "lapses": lapses}
    values |= {"body": body, "dies_with_server": dies_with_server, "patience_s": patience_s}
    return Revert("http", about, values)


def by_command(
    about: str,
    words: list[str],
    folder: str = "",
    gone: tuple[str, ...] = (),
    *,
    timeout_s: float = _COMMAND_TIMEOUT_S,
) -> Revert:
    """Return: run a program, without a shell. `gone`: what it says when there is nothing left to undo."""
    values = {"words": list(words), "folder": folder, "gone": list(gone), "timeout_s": timeout_s}
    return Revert("command", about, values)


def by_signal(about: str, process: Owner, number: int) -> Revert:
    """Return: signal one process, and never another that has come to have its number."""
    values = {"pid": process.pid, "start_ticks": process.start_ticks, "boot_id": process.boot_id, "signal": number}
    return Revert("signal", about, values)


def by_removal(about: str, path: Path) -> Revert:
    """Return: remove a file of ours."""
    return Revert("remove", about, {"path": str(path.resolve())})


def by_start(about: str, words: list[str], folder: str, instead_of: Owner, *, patience_s: float = 0.0) -> Revert:
    """Return: start a program again, detached from us, unless the one that it takes the place of still runs.

    `patience_s`: how long that one may take to end, which it was told to.
    """
    values = {"words": list(words), "folder": folder, "pid": instead_of.pid, "start_ticks": instead_of.start_ticks}
    return Revert("start", about, {**values, "boot_id": instead_of.boot_id, "patience_s": patience_s})


def undo(revert: Revert, environ: Mapping[str, str]) -> None:
    """Do it. Raises RevertError."""
    act = _ACTS.get(revert.how)
    if act is None:
        raise RevertError(f"{revert.about}: this version does not know how to undo by {revert.how!r}")
    try:
        act(revert, environ)
    except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        raise RevertError(f"{revert.about}: {error}") from error


def _ask(revert: Revert, environ: Mapping[str, str]) -> None:
    values = revert.values
    try:
        url = expand(values["url"], environ)
        headers = {name: expand(value, environ) for name, value in values["headers"].items()}
        # Entries that an older version wrote have no body, and no patience.
        body = values.get("body", "").encode() or None
        patience_s = values.get("patience_s", _HTTP_TIMEOUT_S)
        answer = exchange(values["method"], url, body, headers, timeout_s=patience_s)
    except (NoAnswerError, ValueError) as error:
        is_refused = isinstance(error, NoAnswerError) and error.is_refused
        # Nobody there, or its secret is not set here: what lapses is over by itself.
        if values["lapses"] or (values.get("dies_with_server") and is_refused):
            return
        why = error.why if isinstance(error, NoAnswerError) else error
        raise RevertError(f"{revert.about}: {why}") from error
    if why_not := not_undone(answer.said):
        raise RevertError(f"{revert.about}: {why_not}")
    if not (answer.is_good or answer.status in _ALREADY_GONE or values["lapses"]):
        raise RevertError(f"{revert.about}: HTTP {answer.status}: {answer.error}")


def _run(revert: Revert, _environ: Mapping[str, str]) -> None:
    values = revert.values
    done = run_program(values["words"], values["folder"], values.get("timeout_s", _COMMAND_TIMEOUT_S))
    if done.status != 0 and not any(text in done.out + done.error for text in values["gone"]):
        raise RevertError(f"{revert.about}: {' '.join(values['words'])}: status {done.status}: {done.complaint}")


def _signal(revert: Revert, _environ: Mapping[str, str]) -> None:
    if _is_same(revert):
        with contextlib.suppress(ProcessLookupError):
            os.kill(revert.values["pid"], signal.Signals(revert.values["signal"]))


def _remove(revert: Revert, _environ: Mapping[str, str]) -> None:
    Path(revert.values["path"]).unlink(missing_ok=True)


def _start(revert: Revert, _environ: Mapping[str, str]) -> None:
    deadline = time.monotonic() + revert.values.get("patience_s", 0.0)
    while _is_same(revert):
        if time.monotonic() > deadline:
            return
        time.sleep(_POLL_S)
    code = start_detached(revert.values["words"], revert.values["folder"])
    if code:
        raise RevertError(f"{revert.about}: {' '.join(revert.values['words'])}: status {code}")


def start_detached(words: list[str], folder: str) -> int | None:
    """Start a program that outlives us, in a session of its own; return the status of one that ends at once.

    One that goes on for _ENDS_AT_ONCE_S is taken for what it starts, and None returned. Raises OSError.
    """
    null = subprocess.DEVNULL
    started = subprocess.Popen(words, cwd=folder or None, stdin=null, stdout=null, stderr=null, start_new_session=True)
    with contextlib.suppress(subprocess.TimeoutExpired):
        return started.wait(timeout=_ENDS_AT_ONCE_S)
    return None


def _is_same(revert: Revert) -> bool:
    """Whether the process meant still runs."""
    found = owner_of(revert.values["pid"])
    meant = (revert.values["start_ticks"], revert.values["boot_id"])
    return found is not None and (found.start_ticks, found.boot_id) == meant


_ACTS: dict[str, Callable[[Revert, Mapping[str, str]], None]] = {
    "http": _ask,
    "command": _run,
    "signal": _signal,
    "remove": _remove,
    "start": _start,
}
