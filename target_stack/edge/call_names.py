"""What calls are named in our events and logs, whatever edge they came by.

A caller may name its call, so that its records and ours can be joined. The name need not be unique: two runs of the
same scenario name their calls alike, and a caller that was killed leaves its call active for a while. A call whose name
is in use gets the first free suffix, `call-000000.2`, which then stands in our events and logs.
"""

import itertools
import re
import secrets

CALL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class CallNames:
    """The names of all active calls."""

    def __init__(self) -> None:
        self._active: set[str] = set()

    def take(self, wanted: str | None) -> str:
        """Return the name of a new call: what its caller calls it, a free variant of that, or a name of our own."""
        name = wanted or secrets.token_hex(8)
        names = itertools.chain([name], (f"{name}.{n}" for n in itertools.count(2)))
        free = next(name for name in names if name not in self._active)
        self._active.add(free)
        return free

    def release(self, name: str) -> None:
        """Let another call have the name."""
        self._active.discard(name)
