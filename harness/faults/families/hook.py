"""Faults that only a user can do, by a command, an HTTP request or kubectl; each with what undoes it."""

import json
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.faults.effect import Effect, Means, Undoing
from harness.faults.errors import FaultError
from harness.faults.http_json import NoAnswerError, exchange
from harness.faults.kind import Kind
from harness.faults.parameter import choice, number, text, texts
from harness.faults.program import problem_of, run_program
from harness.faults.reverts import by_command, by_http
from harness.model.fault import Evidence, Fault, Where
from harness.model.secrets import expand

_TIMEOUT_S = 10.0
_ANSWERED = "requests answered with 2xx"
_METHODS = ("POST", "PUT", "PATCH", "DELETE", "GET")


class _Hook(Undoing):
    """What a user's own words break, and mend where there are words for that."""

    def _undo(self) -> None:
        if not self.reverts:
            self._last = replace(self._last, detail="nothing was given that undoes it: what it did stays")
        super()._undo()


class _Command(_Hook):
    """A command that breaks, one that counts what was broken, one that mends."""

    def __init__(self, fault: Fault, means: Means, do: list[str], back: list[str], count: list[str]) -> None:
        self._timeout_s = float(str(fault.parameters.get("timeout_s", 30.0)))
        mend = by_command(f"what `{shlex.join(do)}` did", back, means.folder, timeout_s=self._timeout_s)
        reverts = (mend,) if back else ()
        super().__init__(reverts, "as its own command counts" if count else "commands that succeeded", means.environ)
        self._fault, self._means, self._do, self._count = fault, means, do, count
        self._touched = 0

    def start(self) -> None:
        """Run it. Raises FaultError where it fails."""
        # Set before: a command that fails may have done the half of it.
        self._is_in_force = True
        self._run(self._do)
        # Without a count of its own the command's success is all the evidence there is.
        self._touched = 0 if self._count else 1

    def _look(self) -> Evidence:
        """Return the last number that the counting command prints, or that the command succeeded."""
        if self._count:
            said = self._run(self._count).split()
            try:
                self._touched = max(self._touched, int(float(said[-1])))
            except (IndexError, ValueError) as error:
                raise FaultError(f"{self._fault.name}: `{shlex.join(self._count)}` printed no number") from error
        return Evidence(self._touched, self._last.what)

    def _run(self, words: list[str]) -> str:
        try:
            done = run_program(words, self._means.folder, self._timeout_s)
        except (OSError, subprocess.SubprocessError) as error:
            raise FaultError(f"{self._fault.name}: `{shlex.join(words)}`: {error}") from error
        if done.status != 0:
            said = f"status {done.status}: {done.complaint}"
            raise FaultError(f"{self._fault.name}: `{shlex.join(words)}`: {said}")
        return done.out


class _Request(_Hook):
    """An HTTP request that breaks, and one that mends."""

    def __init__(self, fault: Fault, means: Means) -> None:
        said = fault.parameters
        headers = dict(_header(line) for line in _texts(said.get("headers")))
        about, url = f"what {said['method']} {said['url']} did", said.get("revert_url")
        mend = by_http(about, str(said["revert_method"]), str(url), headers, patience_s=_TIMEOUT_S)
        reverts = (mend,) if url else ()
        super().__init__(reverts, _ANSWERED, means.environ)
        self._fault, self._means, self._headers = fault, means, headers
        self._status = 0

    def start(self) -> None:
        """Ask. Raises FaultError for any answer but a 2xx."""
        said, environ = self._fault.parameters, self._means.environ
        # Set before: a request whose answer is lost may have been carried out.
        self._is_in_force = True
        try:
            url = expand(str(said["url"]), environ)
            headers = {name: expand(value, environ) for name, value in self._headers.items()}
            body = str(said["body"]).encode() if "body" in said else None
            answer = exchange(str(said["method"]), url, body, headers, timeout_s=_TIMEOUT_S)
        except (NoAnswerError, ValueError) as error:
            # What the URL's variables hold is not to be told.
            why = error.why if isinstance(error, NoAnswerError) else error
            raise FaultError(f"{self._fault.name}: {said['url']}: {why}") from error
        if not answer.is_good:
            raise FaultError(f"{self._fault.name}: {said['url']}: HTTP {answer.status}")
        self._status = answer.status

    def _look(self) -> Evidence:
        """Return that the request was answered with a 2xx: all that is known here."""
        return Evidence(int(self._status > 0), _ANSWERED, {"status": self._status})


def _texts(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list | tuple) else []


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def _rule(parameters: Mapping[str, Any]) -> str:
    values = dict(parameters)
    for name in ("url", "revert_url"):
        if name in values and not str(values[name]).startswith(("http://", "https://", "${")):
            return f"{name} {values[name]!r}; legal: http:// or https://, or ${{NAME}} for such a one"
    if any(":" not in line for line in values.get("headers") or ()):
        return f"headers {json.dumps(list(values['headers']))}; legal: texts like 'Name: value'"
    return ""


def _words_rule(parameters: Mapping[str, Any]) -> str:
    names = ("command", "arguments", "kubectl", "revert", "count")
    return next(filter(None, (problem_of(name, parameters.get(name)) for name in names)), "")


def _make_command(fault: Fault, means: Means) -> Effect:
    said = fault.parameters
    words = [shlex.split(str(said.get(name, ""))) for name in ("command", "revert", "count")]
    return _Command(fault, means, *words)


def _make_http(fault: Fault, means: Means) -> Effect:
    return _Request(fault, means)


def _make_kubectl(fault: Fault, means: Means) -> Effect:
    said = fault.parameters
    kubectl = shlex.split(str(said["kubectl"]))
    words = [shlex.split(str(said.get(name, ""))) for name in ("arguments", "revert", "count")]
    return _Command(fault, means, *(kubectl + part if part else [] for part in words))


_TIMEOUT = number("timeout_s", "how long a command may take", 30.0, low=0.1, high=600)
_COUNT = text("count", "command that prints how much was broken so far; 0 = not injected", None)
KINDS = (
    Kind(
        name="hook.command",
        where=Where.INFRASTRUCTURE,
        about="a command of yours breaks something, another one mends it",
        parameters=(text("command", "run without a shell"), text("revert", "undoes it", None), _COUNT, _TIMEOUT),
        evidence="what `count` prints; without it, that the command succeeded",
        reverts="`revert` is run, journalled; it must be harmless to run twice",
        make=_make_command,
        rule=_words_rule,
        example={"command": "docker pause redis", "revert": "docker unpause redis"},
        filters=(),
    ),
    Kind(
        name="hook.http",
        where=Where.INFRASTRUCTURE,
        about="an HTTP request of yours breaks something, another one mends it",
        parameters=(
            text("url", "may name secrets as ${NAME}"),
            choice("method", "of the request", _METHODS, "POST"),
            text("body", "sent with it", None),
            texts("headers", "like 'Authorization: Bearer ${TOKEN}'", None),
            text("revert_url", "undoes it", None),
            choice("revert_method", "of that request", _METHODS, "DELETE"),
        ),
        evidence="the request was answered with 2xx",
        reverts="`revert_url` is asked, journalled; 404 and 410 count as undone",
        make=_make_http,
        example={"url": "http://127.0.0.1:9000/break", "revert_url": "http://127.0.0.1:9000/break"},
        rule=_rule,
        filters=(),
    ),
    Kind(
        name="hook.kubectl",
        where=Where.INFRASTRUCTURE,
        about="kubectl breaks something: scales a deployment down, deletes a pod, cordons a node",
        parameters=(
            text("arguments", "of kubectl"),
            text("revert", "arguments that undo it", None),
            text("count", "arguments that print how much was broken", None),
            text("kubectl", "the command", "kubectl"),
            _TIMEOUT,
        ),
        evidence="what `count` prints; without it, that kubectl succeeded",
        reverts="kubectl with `revert`, journalled; it must be harmless to run twice",
        make=_make_kubectl,
        rule=_words_rule,
        needs="kubectl and its configuration",
        example={"arguments": "scale deploy/stt --replicas=0", "revert": "scale deploy/stt --replicas=2"},
        filters=(),
    ),
)
