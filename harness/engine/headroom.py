"""Is there room on this machine for the run that is about to begin? Descriptors, ports, socket buffers, memory.

Each shortage says what is needed, what is there and what to type. One that is certain ends the run before its first
call; an estimated one, of calls or of what a call takes, is a warning, and the run goes void if it comes true.
"""

import contextlib
import resource
import socket
from dataclasses import dataclass
from pathlib import Path

from harness.media.hot.impair import LINE_SLOTS
from harness.media.port import SHARED_BUFFER_BYTES, open_socket
from harness.model.errors import GeneratorError
from harness.model.needs import Needs, Part

# Ample estimates: interpreter, log, event loop and the connections of set-ups in progress; a call's own port, and its
# connection or another port.
BASE_DESCRIPTORS = 256
DESCRIPTORS_PER_CALL = 2
# What is certain: an engine that has begun holds at least so many (three standard streams, the wire, two epolls, the
# loop's waking pair), and a call with a port of its own holds that.
CERTAIN_BASE_DESCRIPTORS = 8
CERTAIN_DESCRIPTORS_PER_CALL = 1
BASE_MEMORY_MIB = 250
MEMORY_KIB_PER_CALL = {"webrtc": 400, "rtp": 100, "sip": 120}
# What the kernel charges a socket for one small datagram, and for how long the loop may be late: half of it is asked
# for, since the kernel grants the double.
DATAGRAM_CHARGE_BYTES = 1280
BUFFERED_PACKETS_PER_CALL = 2
_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_UDP_SOCKETS = (Path("/proc/net/udp"), Path("/proc/net/udp6"))
_MEMORY = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class Room:
    """What this process may use; None = cannot be known here."""

    # Calls that the media loop can hold.
    calls: int
    descriptors: int
    ports: int | None
    # What SO_RCVBUF may be set to.
    receive_buffer_bytes: int
    memory_mib: int | None
    held_packets: int = LINE_SLOTS


@dataclass(frozen=True, slots=True)
class Shortage:
    """One thing there is too little of."""

    what: str
    needed: int
    there: int
    unit: str
    remedy: str
    # What is needed beyond doubt, where `needed` is an estimate on the safe side.
    certain: int | None = None

    @property
    def is_certain(self) -> bool:
        """Whether there is too little beyond doubt, if the number of calls is."""
        return self.certain is None or self.certain > self.there

    def words(self, needs: Needs) -> str:
        """Return the sentence for people."""
        about = "" if needs.is_certain else "about "
        need = f"{about}{self.needed:,}"
        if self.certain is not None:
            need = f"at least {self.certain:,}" if needs.is_certain and self.is_certain else f"up to {need}"
        return (
            f"{about}{needs.calls} calls at once need {need} {self.what}, and there are "
            f"{self.there:,}{self.unit}: {self.remedy}"
        )


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one, which needs no privilege; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    return soft


def room_here(calls: int) -> Room:
    """Return what this process, with a media loop for `calls`, may use on this machine now."""
    return Room(
        calls=calls,
        descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        ports=_free_ports(),
        receive_buffer_bytes=_receive_buffer_bytes(),
        memory_mib=_available_memory_mib(),
    )


def shortages(needs: Needs, room: Room) -> list[Shortage]:
    """Return what is missing, the gravest first."""
    checks = (_calls, _descriptors, _ports, _memory, _buffer, _delay_line)
    found = [check_one(needs, room) for check_one in checks]
    return [shortage for shortage in found if shortage is not None]


def check(needs: Needs, room: Room) -> list[str]:
    """Return warnings; raises GeneratorError where calls would certainly find no place, descriptor or port."""
    found = shortages(needs, room)
    # Of several targets nobody knows which will have how many calls at once.
    is_known = len(needs.kinds) == 1 and _has_port_per_call(needs.kinds[0])
    fatal = {_PLACES, _DESCRIPTORS, _PORTS} if is_known else {_PLACES}
    certain = [s for s in found if needs.is_certain and s.is_certain and s.what in fatal]
    if certain:
        raise GeneratorError("; ".join(shortage.words(needs) for shortage in certain))
    return [shortage.words(needs) for shortage in found]


_PLACES, _DESCRIPTORS, _PORTS = "places in the media loop", "open files", "local ports"


def _has_port_per_call(part: Part) -> bool:
    return (part.audio and part.source_ports == "per_call") or part.transport == "media_stream"


def _with_port(needs: Needs) -> int:
    """Return how many calls may need a port each: with "auto" it shows only when the target has answered two.

    A media stream is a TCP connection of its own, with a descriptor and a port.
    """
    return sum(part.calls for part in needs.kinds if part.audio and (part.source_ports != "shared" or part.falls_back))


def _calls(needs: Needs, room: Room) -> Shortage | None:
    heard = min(needs.calls, sum(part.calls for part in needs.kinds if part.audio))
    if heard <= room.calls:
        return None
    return Shortage(_PLACES, heard, room.calls, "", "add workers (--processes), each with an engine of its own")


def _descriptors(needs: Needs, room: Room) -> Shortage | None:
    ports = _with_port(needs)
    needed = BASE_DESCRIPTORS + DESCRIPTORS_PER_CALL * ports
    certain = CERTAIN_BASE_DESCRIPTORS + (CERTAIN_DESCRIPTORS_PER_CALL * ports)
    remedy = (
        f"raise the hard limit of open files (`ulimit -Hn {needed}` as root, LimitNOFILE={needed} in a systemd unit, "
        "--ulimit nofile for a container), or add workers"
    )
    return Shortage(_DESCRIPTORS, needed, room.descriptors, "", remedy, certain) if needed > room.descriptors else None


def _ports(needs: Needs, room: Room) -> Shortage | None:
    needed = _with_port(needs)
    if room.ports is None or needed <= room.ports:
        return None
    share = "set target.source_ports: shared where the target has a port for each call, "
    can_share = any(part.transport != "media_stream" for part in needs.kinds)
    remedy = (
        "`sysctl -w net.ipv4.ip_local_port_range='1024 65535'`, "
        f"{share if can_share else ''}or add workers on other machines"
    )
    return Shortage(_PORTS, needed, room.ports, " free", remedy)


def _memory(needs: Needs, room: Room) -> Shortage | None:
    most = max(MEMORY_KIB_PER_CALL.values())
    needed_kib = sum(part.calls * MEMORY_KIB_PER_CALL.get(part.transport, most) for part in needs.kinds)
    needed = BASE_MEMORY_MIB + needed_kib // 1024
    if room.memory_mib is None or needed <= room.memory_mib:
        return None
    return Shortage("MiB of memory", needed, room.memory_mib, " available", "free some, or add workers elsewhere")


def _buffer(needs: Needs, room: Room) -> Shortage | None:
    """Judge a port that all calls share; a port of one call never holds more than a few packets."""
    sharing = sum(part.calls for part in needs.kinds if part.audio and not _has_port_per_call(part))
    needed = sharing * BUFFERED_PACKETS_PER_CALL * DATAGRAM_CHARGE_BYTES // 2
    if needed <= room.receive_buffer_bytes:
        return None
    remedy = f"`sysctl -w net.core.rmem_max={needed} net.core.wmem_max={needed}`, or set target.source_ports: per_call"
    return Shortage("bytes of socket buffer", needed, room.receive_buffer_bytes, "", remedy)


def _delay_line(needs: Needs, room: Room) -> Shortage | None:
    if needs.held_packets <= room.held_packets:
        return None
    remedy = "lower the impairments' delays, place fewer calls per worker, or add workers"
    return Shortage("places for delayed packets", needs.held_packets, room.held_packets, "", remedy)


def _free_ports() -> int | None:
    try:
        low, high = (int(text) for text in _PORT_RANGE.read_text().split())
    except (OSError, ValueError):
        return None
    return max(0, high - low + 1 - _udp_sockets())


def _udp_sockets() -> int:
    count = 0
    for path in _UDP_SOCKETS:
        with contextlib.suppress(OSError):
            count += len(path.read_text().splitlines()) - 1
    return count


def _receive_buffer_bytes() -> int:
    """Return what the kernel grants of what a shared port asks for; it reports the double."""
    with contextlib.closing(open_socket("127.0.0.1", 0, SHARED_BUFFER_BYTES)) as sock:
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def _available_memory_mib() -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in _MEMORY.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) // 1024
    return None
