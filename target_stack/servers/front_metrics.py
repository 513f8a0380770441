"""The front's own numbers as Prometheus text. Labels are bounded: servers by their names, kinds, states."""

from target_stack.servers.counts import FrontCounts
from target_stack.servers.registry import Registry, State
from target_stack.servers.routing import KINDS
from target_stack.telemetry.exposition import Row, by, counter, gauge


def render_front(registry: Registry, counts: FrontCounts) -> str:
    """Return what is known of the media servers, and what became of sessions at the front."""
    servers = registry.all()
    calls: list[Row] = [
        ({"server": s.name, "kind": kind}, s.load.calls.get(kind, 0)) for s in servers for kind in KINDS
    ]
    states: list[Row] = [
        ({"server": s.name, "state": str(state)}, int(s.state is state)) for s in servers for state in State
    ]
    given: list[Row] = [({"server": s, "kind": kind}, n) for (s, kind), n in sorted(counts.given.items())]
    return "".join(
        (
            gauge("servers", "Media servers.", [({}, len(servers))]),
            gauge("server_calls", "Calls of a media server now.", calls),
            gauge("server_pending", "Sessions given to it and not decided on.", _each(registry, "pending")),
            gauge("server_capacity", "Calls it takes at once.", _each(registry, "capacity")),
            gauge("server_state", "1 for the state it is in.", states),
            counter("server_sessions", "Sessions given to a media server.", given),
            counter("server_deaths", "Processes that ended unasked.", _each(registry, "deaths")),
            counter("server_lost_calls", "Calls that ended with their server.", by("server", counts.lost_calls)),
            counter("front_refused", "Sessions refused with 503.", by("kind", counts.refused)),
            counter("front_rerouted", "Sessions whose first server was out of reach.", [({}, counts.rerouted)]),
            gauge("front_capacity", "Calls that ready servers take at once.", [({}, registry.capacity)]),
            gauge("front_calls", "Calls now, those on their way included.", [({}, registry.in_use)]),
        )
    )


def _each(registry: Registry, name: str) -> list[Row]:
    return [({"server": s.name}, int(getattr(s, name))) for s in registry.all()]
