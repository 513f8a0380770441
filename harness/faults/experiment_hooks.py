"""Actions of the Chaos Toolkit that run a program or ask by HTTP, as our hooks. Pure.

The Toolkit hands `arguments` that are text to a shell, and any others to the program itself; it sends a mapping as a
form unless a header says that it is JSON, and as a query where the method is GET. So do the hooks.
"""

import json
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
# With none of these a shell does what splitting into words does.
_SHELL = re.compile(r"[|&;<>()$`*?\[\]{}~#!\n]")
_JSON, _FORM = "application/json", "application/x-www-form-urlencoded"


def hook_of(
    provider: Mapping[str, Any], back: Mapping[str, Any] | None, variables: Collection[str]
) -> tuple[str, dict[str, Any]]:
    """Return kind and parameters of an action by a program or by HTTP, and of what undoes it.

    `variables`: of the environment, which stand as ${NAME} in it. Raises ValueError for what no hook does.
    """
    if provider["type"] == "process":
        return "hook.command", _command(provider, back)
    return "hook.http", _request(provider, back, variables)


def words_of(provider: Mapping[str, Any]) -> list[str]:
    """Return the words of a program's call: `arguments` is text, a list, or options with their values."""
    if "path" not in provider:
        return []
    arguments = provider.get("arguments") or []
    if isinstance(arguments, str):
        arguments = shlex.split(arguments)
    elif isinstance(arguments, Mapping):
        arguments = [part for pair in arguments.items() for part in pair]
    return [str(provider["path"]), *(str(part) for part in arguments if part not in ("", None))]


def texts_of(value: Any) -> Iterator[str]:
    """Yield every text and number in a part of an experiment."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from texts_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_of(inner)
    elif value is not None:
        yield str(value)


def _command(provider: Mapping[str, Any], back: Mapping[str, Any] | None) -> dict[str, Any]:
    parameters: dict[str, Any] = {"command": _line(provider)}
    if provider.get("timeout"):
        parameters["timeout_s"] = float(provider["timeout"])
    if back is not None:
        parameters["revert"] = _line(back)
    return parameters


def _line(provider: Mapping[str, Any]) -> str:
    arguments = provider.get("arguments")
    if isinstance(arguments, str) and _SHELL.search(arguments):
        return shlex.join(["sh", "-c", f"{provider['path']} {arguments}"])
    words = words_of(provider)
    if marks := [mark for word in words for mark in _VARIABLE.findall(word)]:
        raise ValueError(
            f"${{{marks[0]}}} in its arguments: no shell reads them; legal: `arguments` as one text, or the value"
        )
    return shlex.join(words)


def _request(provider: Mapping[str, Any], back: Mapping[str, Any] | None, variables: Collection[str]) -> dict[str, Any]:
    if provider.get("verify_tls") is False:
        raise ValueError("verify_tls: false: a hook asks no server whose certificate is wrong")
    method = str(provider.get("method", "GET")).upper()
    headers = {str(name): str(value) for name, value in (provider.get("headers") or {}).items()}
    parameters: dict[str, Any] = {"url": _url(provider, method), "method": method}
    if method != "GET" and provider.get("arguments"):
        parameters["body"], type_ = _body(provider["arguments"], headers)
        if type_ and not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = type_
    if headers:
        parameters["headers"] = [f"{name}: {value}" for name, value in headers.items()]
    if back is not None:
        parameters |= _back(back, provider)
    _check_variables(parameters, variables)
    return parameters


def _url(provider: Mapping[str, Any], method: str) -> str:
    """Return the URL, with the query that the Toolkit makes of a GET's arguments."""
    url, arguments = str(provider["url"]), provider.get("arguments")
    if method != "GET" or not arguments:
        return url
    query = arguments if isinstance(arguments, str) else urlencode(arguments, doseq=True)
    return f"{url}{'&' if '?' in url else '?'}{query}"


def _body(arguments: Any, headers: Mapping[str, str]) -> tuple[str, str]:
    """Return what is sent, and of which type it says it is; "" where the headers say it, or nobody does."""
    # The Toolkit knows the header by this spelling only.
    if headers.get("Content-Type") == _JSON:
        return json.dumps(arguments), ""
    if isinstance(arguments, str):
        return arguments, ""
    return urlencode(arguments, doseq=True), _FORM


def _back(back: Mapping[str, Any], provider: Mapping[str, Any]) -> dict[str, Any]:
    method = str(back.get("method", "GET")).upper()
    if back.get("arguments") and method != "GET":
        raise ValueError("its rollback has a body, which a revert by hook.http cannot have")
    if not (back.get("headers") or {}).items() <= (provider.get("headers") or {}).items():
        raise ValueError("its rollback has headers that it has not, and hook.http sends the same with both")
    return {"revert_url": _url(back, method), "revert_method": method}


def _check_variables(parameters: Mapping[str, Any], variables: Collection[str]) -> None:
    for name, value in parameters.items():
        for mark in _VARIABLE.findall(" ".join(texts_of(value))):
            if mark not in variables:
                raise ValueError(f"{name}: ${{{mark}}} is in no `configuration`; `secrets` are not read here")
            if name == "body":
                raise ValueError(f"body: ${{{mark}}}: a hook's body takes no variables; legal: in url and headers")
