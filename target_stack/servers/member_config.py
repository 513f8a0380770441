"""What a front tells a media server when it begins: all of it, once, pickled, over a line that only they two have."""

import pickle
from dataclasses import dataclass, replace

from target_stack.config import StackConfig

HEARTBEAT_S = 0.25


@dataclass(frozen=True, slots=True)
class MemberConfig:
    """`stack` is the whole agent's configuration as this server is to run it."""

    name: str
    stack: StackConfig
    # Where callers reach the front's HTTP: the address it is bound to, maybe a wildcard, and the port.
    front_host: str
    front_port: int
    log_level: int

    def pickled(self) -> bytes:
        """Return it as `unpickled` reads it."""
        return pickle.dumps(self)


def unpickled(data: bytes) -> MemberConfig:
    """Return what a front has pickled. The data is trusted: it is the parent process that sends it."""
    config = pickle.loads(data)  # noqa: S301 -- see above: a socket pair that our parent made
    assert isinstance(config, MemberConfig)
    return config


def stack_of_member(stack: StackConfig, calls_each: int) -> StackConfig:
    """Return the front's configuration as one of its servers runs it: no port of its own but for the front to ask.

    HTTP on loopback is for the front's questions (metrics, health); callers' connections are handed over.
    """
    return replace(
        stack,
        host="127.0.0.1",
        port=0,
        max_calls=calls_each,
        sip=replace(stack.sip, trunk_calls=calls_each),
    )
