"""Actions of chaostoolkit-toxiproxy (the module chaostoxi) as our kinds. Pure."""

from collections.abc import Mapping
from typing import Any

# Its functions: our kind, and our names of its arguments.
_NAMES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "chaostoxi.toxic.actions.create_latency_toxic": (
        "toxiproxy.latency",
        {"latency": "latency_ms", "jitter": "jitter_ms"},
    ),
    "chaostoxi.toxic.actions.create_bandwith_degradation_toxic": ("toxiproxy.bandwidth", {"rate": "rate_kbytes_s"}),
    "chaostoxi.toxic.actions.create_slow_connection_close_toxic": ("toxiproxy.slow_close", {"delay": "delay_ms"}),
    "chaostoxi.toxic.actions.create_slicer_toxic": (
        "toxiproxy.slicer",
        {"average_size": "average_size_bytes", "size_variation": "size_variation_bytes", "delay": "delay_us"},
    ),
    "chaostoxi.toxic.actions.create_timeout_toxic": ("toxiproxy.timeout", {"timeout": "timeout_ms"}),
    "chaostoxi.toxic.actions.create_limiter_toxic": ("toxiproxy.limit_data", {"bytes_limit": "bytes"}),
    "chaostoxi.proxy.actions.disable_proxy": ("toxiproxy.down", {}),
}
_MODULE = "chaostoxi."
_DOWN, _UP = "chaostoxi.proxy.actions.disable_proxy", "chaostoxi.proxy.actions.enable_proxy"
_DELETE, _RESET = "chaostoxi.toxic.actions.delete_toxic", "chaostoxi.proxy.actions.reset"
_PROXY = ("for_proxy", "proxy_name")
# Names of ours and of theirs that a fault here has no use for.
_IGNORED = ("toxic_name", "name", "configuration")


def is_toxics(provider: Mapping[str, Any]) -> bool:
    """Whether it is a function of that module."""
    return provider.get("type") == "python" and str(provider.get("module", "")).startswith(_MODULE)


def undoes(rollback: Mapping[str, Any], action: Mapping[str, Any]) -> bool:
    """Whether a rollback by the module takes back that action, which it does itself as a fault of ours."""
    back, done = _function(rollback), _function(action)
    if done not in _NAMES:
        return False
    if back == _RESET:
        return True
    theirs, ours = rollback.get("arguments") or {}, action.get("arguments") or {}
    if _proxy(theirs) != _proxy(ours):
        return False
    if done == _DOWN:
        return back == _UP
    return back == _DELETE and theirs.get("toxic_name") == ours.get("toxic_name")


def toxic_of(provider: Mapping[str, Any], configuration: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return kind and parameters of a python provider. Raises ValueError for a function that is none of these.

    `configuration`: of the experiment, which says where the server is.
    """
    function = _function(provider)
    if function not in _NAMES:
        raise ValueError(f"{function} is Python of somebody else's; legal here: {', '.join(_NAMES)}")
    kind, names = _NAMES[function]
    found: dict[str, Any] = _api(configuration)
    for name, value in (provider.get("arguments") or {}).items():
        if name in _PROXY:
            found["proxy"] = value
        elif name in names:
            found[names[name]] = value
        elif name in ("stream", "toxicity"):
            found[name] = value
        elif name not in _IGNORED:
            raise ValueError(f"{function}: its argument {name!r} has no counterpart in {kind}")
    return kind, found


def _function(provider: Mapping[str, Any]) -> str:
    return f"{provider.get('module')}.{provider.get('func')}"


def _proxy(arguments: Mapping[str, Any]) -> Any:
    return next((arguments[name] for name in _PROXY if name in arguments), None)


def _api(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return our parameter for the address of the server; none where the experiment leaves it to the module."""
    url, host = configuration.get("toxiproxy_url"), configuration.get("toxiproxy_host")
    if not url and not host:
        return {}
    found = url or f"http://{host}:{configuration.get('toxiproxy_port', '8474')}"
    if "${" in found:
        raise ValueError(f"configuration: the server's address is {found}; legal here: the address itself")
    return {"api": found}
