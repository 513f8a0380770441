"""What a run is going to ask of the machine under one engine, estimated before its first call."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """Calls of one kind among those at once, as their target says it."""

    calls: int
    transport: str
    source_ports: str
    # False: calls without audio (SIP signalling only), which take no place in the media loop and no port.
    audio: bool = True
    # Each may come to need a TCP connection in place of its port: where WebRTC fails it goes on by a WebSocket.
    falls_back: bool = False


@dataclass(frozen=True, slots=True)
class Needs:
    """Of one engine, at the run's peak."""

    # Calls at once.
    calls: int
    # True where the load is a number of users, False where it is estimated from arrivals and the length of a call.
    is_certain: bool
    # As the scenario's target says them.
    transport: str = "webrtc"
    source_ports: str = "auto"
    # Packets that impairments hold back at once.
    held_packets: int = 0
    # False: calls without audio (SIP signalling only), which take no place in the media loop and no port.
    audio: bool = True
    # As of a part.
    falls_back: bool = False
    # Of a scenario with several targets, how many calls each is expected to have then; () = all are of one kind.
    parts: tuple[Part, ...] = ()

    @property
    def kinds(self) -> tuple[Part, ...]:
        """The calls by kind."""
        return self.parts or (Part(self.calls, self.transport, self.source_ports, self.audio, self.falls_back),)
