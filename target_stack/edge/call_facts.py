"""What a call carries for us: headers X-Callquake-Region and so on, or parameters of these names."""

from collections.abc import Callable, Mapping

from target_stack.frames import FACT_NAMES, CallFacts

_LONGEST = 200


def facts_from_headers(header: Callable[[str], str | None], caller: str = "") -> CallFacts:
    """Return the facts in headers; `caller` is what the transport itself tells."""
    found = {name: header(f"X-Callquake-{name.capitalize()}") for name in FACT_NAMES}
    return _facts({name: value for name, value in found.items() if value is not None}, caller)


def facts_from_parameters(parameters: Mapping[str, object], caller: str = "") -> CallFacts:
    """Return the facts in a call's own parameters; what is no text is no fact."""
    found = {name: parameters.get(name) for name in FACT_NAMES}
    return _facts({name: value for name, value in found.items() if isinstance(value, str)}, caller)


def _facts(found: Mapping[str, str], caller: str) -> CallFacts:
    plain = {name: value.strip()[:_LONGEST] for name, value in found.items()}
    return CallFacts(plain.pop("caller", "") or caller[:_LONGEST], plain)
