"""What emulated servers count, as Prometheus text. Labels: stages, and the one name of the service times."""

from target_stack.emulation.servers import LocalServers
from target_stack.telemetry.exposition import by, counter, durations, gauge


def render_servers(servers: LocalServers) -> str:
    """Return the text."""
    writer, stages = servers.writer_stats, servers.conditions
    seen = {name: float(conditions.seen) for name, conditions in stages.items()}
    touched = {name: float(conditions.touched) for name, conditions in stages.items()}
    return "".join(
        (
            gauge("emulated", "1: stages are emulated.", [({"service_times": servers.times.name}, 1)]),
            counter("emulated_work", "Pieces of work begun.", by("stage", seen)),
            counter("emulated_disturbed", "Of these, kept waiting by a cold start.", by("stage", touched)),
            durations("emulated_late", "By how much work outlasted its draw.", "", {"": servers.lateness.late}),
            gauge("llm_server_slots", "Replies written at once.", [({}, writer.slots)]),
            gauge("llm_server_running", "Replies being written.", [({}, writer.running)]),
            gauge("llm_server_waiting", "Replies that wait.", [({}, writer.waiting)]),
            gauge("llm_server_kv_ratio", "Share of the KV cache taken.", [({}, round(writer.kv_ratio, 6))]),
            durations("llm_server_wait", "From request to slot.", "", {"": writer.waits}),
        )
    )
