"""What proves that a fault on a proxy's hop was met: the server's own counts, connections refused, probes that changed.

Ours counts the connections that each toxic did something to, at once. Toxiproxy counts bytes, of a stream and not of a
toxic, when a connection closes, and only with -proxy-metrics: they are no evidence of a toxic that is for a share of
the connections, nor beside a probe. A probe is a request of ours through the proxy: three before the fault, one each
time it is looked at.
"""

import errno
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
THEIRS, THEIRS_SENT = "toxiproxy_proxy_received_bytes_total", "toxiproxy_proxy_sent_bytes_total"
_MET, _PASSED, _CUT = "connections that met it", "bytes that passed meanwhile", "bytes that were cut off"
_PROBES_BEFORE = 3
# A probe changed where it failed, or took by so much longer than the slowest one before the fault.
_LONGER_FACTOR, _LONGER_MS = 1.5, 20.0
_CONNECT_S = 2.0
_OUT_OF_REACH = (errno.EHOSTUNREACH, errno.ENETUNREACH)

Probe = Callable[[str], float | None]


def ask_probe(url: str) -> float | None:
    """Return how long an answer took, in ms; None where there was none. A status is an answer."""
    begun = time.monotonic()
    try:
        exchange("GET", url)
    except FaultError:
        return None
    return (time.monotonic() - begun) * 1000


def is_accepted(address: tuple[str, int]) -> bool:
    """Whether somebody accepts a connection there. Raises FaultError where that is not to be known from here."""
    try:
        socket.create_connection(address, timeout=_CONNECT_S).close()
    except OSError as error:
        # Anything else, like no descriptor left, is our own trouble.
        if isinstance(error, ConnectionError | TimeoutError) or error.errno in _OUT_OF_REACH:
            return False
        host, port = address
        raise FaultError(f"{host}:{port}: {error}") from error
    return True


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
        self._toxicity = float(str(fault.parameters.get("toxicity", 1.0)))
        # Only what it cuts off was limited: below its limit everything passes.
        self._cuts = fault.kind == "toxiproxy.limit_data"
        self._met_before: float | None = None
        # What `_met` counts.
        self._what = _CUT if self._cuts else _PASSED
        self._was_accepted = False
        self._slowest_before_ms: float | None = None
        self._probes = self._changed = self._refused = 0

    def begin(self) -> None:
        """Take the measure before the fault. Raises FaultError where the probe finds nothing then."""
        self._met_before = self._met()
        self._was_accepted = not self._toxic and is_accepted(self._address)
        if self._url:
            before = [self._probe(self._url) for _ in range(_PROBES_BEFORE)]
            if None in before:
                raise FaultError(f"the probe {self._url} is not answered before the fault, either")
            self._slowest_before_ms = max(ms for ms in before if ms is not None)

    @property
    def _address(self) -> tuple[str, int]:
        return address_of(str(self._proxy.get("listen", "")), self._api)

    def look(self) -> Evidence:
        """Return what has met it so far. Raises FaultError."""
        counts: dict[str, float] = {}
        if self._url:
            self._ask_once()
            counts |= {"probes": self._probes, "probes_changed": self._changed}
        return self._of_toxic(counts) if self._toxic else self._of_refusals(counts)

    def _of_refusals(self, counts: dict[str, float]) -> Evidence:
        """Return how many connections of ours the proxy took before, and takes no longer."""
        if self._was_accepted:
            self._refused += not is_accepted(self._address)
            counts["connections_refused"] = self._refused
        if self._refused or (self._was_accepted and not self._url):
            return Evidence(self._refused, "connections refused", counts)
        if self._url:
            return Evidence(self._changed, "probes changed", counts)
        host, port = self._address
        why = f"not measured: {host}:{port} took no connection from here before the fault, either; give probe"
        return Evidence(0, "connections refused", counts, detail=why)

    def _of_toxic(self, counts: dict[str, float]) -> Evidence:
        """Return what the server counts, where that is the toxic's own doing; else how many probes changed."""
        found = self._met()
        if self._is_idle:
            return Evidence(0, _MET, counts, detail="its parameters change nothing")
        if found is not None:
            met = max(0, round(found - (self._met_before or 0)))
            counts |= {self._what.replace(" ", "_"): met}
            if self._what == _MET and (met or not self._url):
                return Evidence(met, self._what, counts)
            if not self._url and self._toxicity == 1:
                return Evidence(met, self._what, counts)
        if self._url:
            return Evidence(self._changed, "probes changed", counts)
        why = "start Toxiproxy with -proxy-metrics, or give probe"
        if found is not None:
            why = f"Toxiproxy does not tell which connections a toxicity of {self._toxicity:g} takes in; give probe"
        return Evidence(0, _MET, counts, detail=f"not measured: {why}")

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
            self._what = _MET
            return _sum(samples, OURS, proxy=name, toxic=self._toxic)
        if not any(sample.name == THEIRS for sample in samples):
            return None
        received = _sum(samples, THEIRS, proxy=name, direction=self._stream)
        return received - _sum(samples, THEIRS_SENT, proxy=name, direction=self._stream) if self._cuts else received


def _sum(samples: list[Sample], name: str, **labels: str) -> float:
    return sum(
        sample.value
        for sample in samples
        if sample.name == name and all(sample.labels.get(key) == value for key, value in labels.items())
    )


def address_of(listen: str, api: str) -> tuple[str, int]:
    """Return where clients reach a proxy that listens at `listen`: on all addresses means the API's host.

    Raises FaultError for what is no address.
    """
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if not port.isdigit():
        raise FaultError(f"{api}: its proxy listens at {listen!r}; legal: HOST:PORT")
    if host in ("", "0.0.0.0", "::"):
        host = urlsplit(api).hostname or "127.0.0.1"
    return host, int(port)
