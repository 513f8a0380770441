"""What proves that a fault on a proxy's hop was met: the server's own counts, connections refused, probes that changed.

Toxiproxy counts a connection's bytes when it closes, and only with -proxy-metrics; ours counts the connections that
met each toxic, at once. A probe is a request of ours through the proxy: three before the fault, one each time it is
looked at.
"""

import socket
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from harness.faults.errors import FaultError
from harness.faults.http_json import exchange
from harness.model.fault import Evidence, Fault
from harness.model.prometheus_text import Sample, samples_of

OURS = "callquake_toxic_connections_total"
THEIRS = "toxiproxy_proxy_received_bytes_total"
_PROBES_BEFORE = 3
# A probe changed where it failed, or took by so much longer than the slowest one before the fault.
_LONGER_FACTOR, _LONGER_MS = 1.5, 20.0
_CONNECT_S = 2.0

Probe = Callable[[str], float | None]


def ask_probe(url: str) -> float | None:
    """Return how long an answer took, in ms; None where there was none. A status is an answer."""
    begun = time.monotonic()
    try:
        exchange("GET", url)
    except FaultError:
        return None
    return (time.monotonic() - begun) * 1000


def is_refused(address: tuple[str, int]) -> bool:
    """Whether nobody accepts a connection there."""
    try:
        socket.create_connection(address, timeout=_CONNECT_S).close()
    except OSError:
        return True
    return False


class Watch:
    """Counts what met one fault; `toxic` "" where the proxy itself is down."""

    def __init__(
        self,
        fault: Fault,
        api: str,
        proxy: Mapping[str, Any],
        *,
        toxic: str = "",
        is_idle: bool = False,
        probe: Probe = ask_probe,
    ) -> None:
        """`is_idle`: the parameters change nothing, so that whatever passes is untouched."""
        self._api, self._proxy, self._toxic, self._is_idle, self._probe = api, proxy, toxic, is_idle, probe
        self._url = str(fault.parameters.get("probe", ""))
        self._stream = str(fault.parameters.get("stream", "downstream"))
        self._met_before: float | None = None
        # What `_met` counts.
        self._what = "bytes that passed meanwhile"
        self._slowest_before_ms: float | None = None
        self._probes = self._changed = self._refused = 0

    def begin(self) -> None:
        """Take the measure before the fault. Raises FaultError where the probe finds nothing then."""
        self._met_before = self._met()
        if self._url:
            before = [self._probe(self._url) for _ in range(_PROBES_BEFORE)]
            if None in before:
                raise FaultError(f"the probe {self._url} is not answered before the fault, either")
            self._slowest_before_ms = max(ms for ms in before if ms is not None)

    def look(self) -> Evidence:
        """Return what has met it so far. Raises FaultError."""
        if self._url:
            self._ask_once()
        counts: dict[str, float] = {}
        if self._url:
            counts |= {"probes": self._probes, "probes_changed": self._changed}
        if not self._toxic:
            self._refused += is_refused(address_of(str(self._proxy.get("listen", "")), self._api))
            return Evidence(self._refused, "connections refused", counts)
        found = self._met()
        if found is not None:
            met = 0 if self._is_idle else max(0, round(found - (self._met_before or 0)))
            counts |= {self._what.replace(" ", "_"): met}
            return Evidence(met or self._changed, self._what if met else "probes changed", counts)
        if self._url:
            return Evidence(self._changed, "probes changed", counts)
        return Evidence(
            0, "connections that met it", detail="not measured: start Toxiproxy with -proxy-metrics, or give probe"
        )

    def _ask_once(self) -> None:
        took_ms, before_ms = self._probe(self._url), self._slowest_before_ms or 0.0
        self._probes += 1
        is_longer = took_ms is not None and took_ms > max(before_ms * _LONGER_FACTOR, before_ms + _LONGER_MS)
        self._changed += took_ms is None or is_longer

    def _met(self) -> float | None:
        """Return what the server has counted; None where it does not count."""
        if not self._toxic:
            return None
        answer = exchange("GET", f"{self._api}/metrics")
        if not answer.is_good:
            return None
        samples = samples_of(answer.body)
        name = str(self._proxy.get("name", ""))
        # Our own server names it, with no value, before there is any toxic.
        if OURS in answer.body:
            self._what = "connections that met it"
            return _sum(samples, OURS, proxy=name, toxic=self._toxic)
        if any(sample.name == THEIRS for sample in samples):
            return _sum(samples, THEIRS, proxy=name, direction=self._stream)
        return None


def _sum(samples: list[Sample], name: str, **labels: str) -> float:
    return sum(
        sample.value
        for sample in samples
        if sample.name == name and all(sample.labels.get(key) == value for key, value in labels.items())
    )


def address_of(listen: str, api: str) -> tuple[str, int]:
    """Return where clients reach a proxy that listens at `listen`: on all addresses means the API's host."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if host in ("", "0.0.0.0", "::"):
        host = urlsplit(api).hostname or "127.0.0.1"
    return host, int(port)
