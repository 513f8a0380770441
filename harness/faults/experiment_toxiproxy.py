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
_PROXY = ("for_proxy", "proxy_name")
# Names of ours and of theirs that a fault here has no use for.
_IGNORED = ("toxic_name", "name", "configuration")


def undoes_toxic(provider: Mapping[str, Any]) -> bool:
    """Whether a rollback is of the same module: our faults bring what undoes them."""
    return str(provider.get("module", "")).startswith("chaostoxi.")


def toxic_of(provider: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return kind and parameters of a python provider. Raises ValueError for a function that is none of these."""
    function = f"{provider.get('module')}.{provider.get('func')}"
    if function not in _NAMES:
        raise ValueError(f"{function} is Python of somebody else's; legal here: {', '.join(_NAMES)}")
    kind, names = _NAMES[function]
    found: dict[str, Any] = {}
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
