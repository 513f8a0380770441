"""Where a host is and from which address of this machine it is reached; names are resolved once in a while, not a call.

Raises SetupFailure where the target is to blame, GeneratorError where this machine ran out of something.
"""

import asyncio
import contextlib
import ipaddress
import socket

from harness.callers.exhaustion import raise_if_ours
from harness.callers.setup_failure import SetupFailure
from harness.media.spec import Address
from harness.model.records import Cause


def as_literal(host: str) -> str | None:
    """Return `host` where it is an IP address already, None for a name."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(host.strip("[]")))
    return None


async def resolve(host: str, port: int) -> Address:
    """Return the numeric address of `host` with `port`; IPv4 first."""
    literal = as_literal(host)
    if literal is not None:
        return literal, port
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise_if_ours(error, f"resolving {host}")
        detail = f"the host name {host} does not resolve: {error.strerror}"
        raise SetupFailure(Cause.SIGNALLING_UNREACHABLE, detail) from error
    # IPv4 first: few agents on "localhost" listen on ::1 alone.
    name = min(found, key=lambda entry: entry[0] != socket.AF_INET)[4]
    return str(name[0]), int(name[1])


def local_address_towards(remote: Address) -> str:
    """Return the local address from which `remote` is reached; OSError where there is no way."""
    family = socket.AF_INET6 if ":" in remote[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        # Connecting a UDP socket sends nothing.
        probe.connect(remote)
        address: str = probe.getsockname()[0]
        return address


def local_towards(remote: Address) -> str:
    """Return the local address from which `remote` is reached, telling apart whose fault it is where there is none."""
    try:
        return local_address_towards(remote)
    except OSError as error:
        raise_if_ours(error, f"probing the way to {remote[0]}:{remote[1]}")
        detail = f"no way to {remote[0]}:{remote[1]}: {error.strerror}"
        raise SetupFailure(Cause.SIGNALLING_UNREACHABLE, detail) from error


def check_reachable(local: str, remote: Address) -> None:
    """Raise OSError where a socket bound to `local` cannot send to `remote` (loopback to elsewhere, no route)."""
    family = socket.AF_INET6 if ":" in local else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((local, 0))
        probe.connect(remote)
