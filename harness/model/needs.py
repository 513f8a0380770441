"""What a run is going to ask of the machine under one engine, estimated before its first call."""

from dataclasses import dataclass


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
