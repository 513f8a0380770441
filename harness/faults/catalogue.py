"""Every kind of fault by name."""

import difflib
from collections.abc import Mapping

from harness.faults.families import (
    caller,
    caller_crowd,
    caller_echo,
    caller_protocol,
    coturn,
    hook,
    media_server,
    netem,
    network,
    process,
    stage,
    surroundings,
    toxiproxy,
)
from harness.faults.kind import Kind

_FAMILIES = (
    caller,
    caller_echo,
    caller_crowd,
    caller_protocol,
    network,
    netem,
    stage,
    surroundings,
    process,
    coturn,
    media_server,
    toxiproxy,
    hook,
)
KINDS: Mapping[str, Kind] = {kind.name: kind for family in _FAMILIES for kind in family.KINDS}


def kind_named(name: object) -> Kind:
    """Return a kind. Raises ValueError with the legal names, and the nearest one."""
    found = KINDS.get(name) if isinstance(name, str) else None
    if found is not None:
        return found
    near = difflib.get_close_matches(str(name), KINDS, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise ValueError(f"got {name!r}; legal: {', '.join(KINDS)}{hint}")
