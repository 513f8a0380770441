"""What the bundled agent's admin API answers when a fault is ended: whether it could be undone."""

from typing import Any


def not_undone(said: Any) -> str:
    """Return why a fault is not undone, of every server where a front answers for several; "" where it is."""
    if not isinstance(said, dict):
        return ""
    servers = said.get("servers")
    if isinstance(servers, list):
        return "; ".join(filter(None, map(not_undone, servers)))
    if said.get("undone") is not False:
        return ""
    where = f"{said['server']}: " if "server" in said else ""
    return where + str(said.get("detail") or said.get("error") or "it does not say why")
