"""Secrets of a target: named in a scenario as ${NAME}, taken from the environment where a call is made, shown nowhere.

A value may hold several of them ("Bearer ${TOKEN}"); `$${` stands for a plain `${`. Plans carry the names: what crosses
wires and lands on disk is a name, and only the engine that places a call puts the value in.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from harness.model.errors import ScenarioError
from harness.model.plan import IceSpec, SipSpec, StreamSpec, TargetSpec

HIDDEN = "(hidden)"
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_MARK = re.compile(r"\$\$\{|\$\{([^}]*)\}?")
# Too short to be told from ordinary text: replacing "1" in a sentence would garble it and hide nothing.
_SHORTEST_HIDDEN = 4


def names_in(text: str) -> list[str]:
    """Return the variables that `text` names, in order; ValueError where a `${` is no name."""
    names = []
    for mark in _MARK.finditer(text):
        if mark[0] == "$${":
            continue
        if not mark[0].endswith("}") or not re.fullmatch(_NAME, mark[1]):
            raise ValueError(
                "a ${ that names no environment variable; legal: ${NAME} of letters, digits and _, $${ for a plain ${"
            )
        names.append(mark[1])
    return names


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Return `text` with the values of its variables; ValueError names one that is not set, or is empty."""
    for name in names_in(text):
        if not environ.get(name):
            raise ValueError(
                f"the environment variable {name} is not set; legal: set {name} where the run is started, and on every "
                "machine that takes part in it"
            )
    return _MARK.sub(lambda mark: "${" if mark[0] == "$${" else environ[mark[1]], text)


class Secrets:
    """The values that were put into one target; `hide` takes them out of a text again."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._values: dict[str, str] = {}

    def fill(self, text: str) -> str:
        """Return `text` with its variables' values, which `hide` knows from now on."""
        for name in names_in(text):
            self._values[name] = self._environ.get(name, "")
        return expand(text, self._environ)

    def hide(self, text: str) -> str:
        """Return `text` with the name in the place of each value: an agent may quote a token in its refusal."""
        for name, value in self._values.items():
            if len(value) >= _SHORTEST_HIDDEN:
                text = text.replace(value, f"${{{name}}}")
        return text

    def hide_all(self, value: Any) -> Any:
        """Return JSON-ready `value` with every text in it hidden."""
        if isinstance(value, dict):
            return {key: self.hide_all(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.hide_all(inner) for inner in value]
        return self.hide(value) if isinstance(value, str) else value


def with_secrets(target: TargetSpec, environ: Mapping[str, str]) -> tuple[TargetSpec, Secrets]:
    """Return `target` as it is used in a call; raises ScenarioError naming a variable that is not set here."""
    secrets = Secrets(environ)
    if not any("${" in text for text in _texts(target)):
        return target, secrets
    try:
        filled = replace(
            target,
            headers={name: secrets.fill(value) for name, value in target.headers.items()},
            sip=None if target.sip is None else _sip(target.sip, secrets),
            ice=None if target.ice is None else _ice(target.ice, secrets),
            stream=None if target.stream is None else _stream(target.stream, secrets),
        )
    except ValueError as error:
        raise ScenarioError(f"target: {error}") from error
    return filled, secrets


def _texts(target: TargetSpec) -> Iterator[str]:
    """Yield every text of `target` that may name a secret."""
    yield from target.headers.values()
    if target.sip is not None:
        yield from (text for text in (target.sip.username, target.sip.password) if text)
    for server in () if target.ice is None else target.ice.servers:
        yield from (text for text in (server.username, server.credential) if text)
    if target.stream is not None:
        yield from target.stream.parameters.values()


def _sip(sip: SipSpec, secrets: Secrets) -> SipSpec:
    return replace(sip, username=_fill(sip.username, secrets), password=_fill(sip.password, secrets))


def _ice(ice: IceSpec, secrets: Secrets) -> IceSpec:
    servers = (
        replace(s, username=_fill(s.username, secrets), credential=_fill(s.credential, secrets)) for s in ice.servers
    )
    return replace(ice, servers=tuple(servers))


def _stream(stream: StreamSpec, secrets: Secrets) -> StreamSpec:
    return replace(stream, parameters={name: secrets.fill(value) for name, value in stream.parameters.items()})


def _fill(text: str | None, secrets: Secrets) -> str | None:
    return None if text is None else secrets.fill(text)


def redact(target: Mapping[str, Any]) -> dict[str, Any]:
    """Return a target's JSON, of a scenario or of a plan, without whatever may be a secret."""
    shown = {**target, "headers": dict.fromkeys(target.get("headers") or {}, HIDDEN)}
    if shown.get("sip"):
        shown["sip"] = _without(shown["sip"], "password")
    if shown.get("ice"):
        servers = [_without(server, "credential") for server in shown["ice"].get("servers", ())]
        shown["ice"] = {**shown["ice"], "servers": servers}
    if shown.get("stream"):
        names = shown["stream"].get("parameters", {})
        shown["stream"] = {
            **shown["stream"],
            "parameters": dict.fromkeys(names, HIDDEN),
        }
    return shown


def _without(block: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {**block, key: None if block.get(key) is None else HIDDEN}
