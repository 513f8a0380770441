"""Faults on TCP hops, HTTP among them, by the API of a Toxiproxy server (github.com/Shopify/toxiproxy) or of ours.

A hop is breakable where its client connects to a proxy of that server and the proxy to the real one.
"""

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from harness.faults.effect import Effect, Means, Undoing
from harness.faults.errors import FaultError
from harness.faults.http_json import Answer, exchange
from harness.faults.kind import Kind
from harness.faults.parameter import Parameter, choice, number, text, whole
from harness.faults.proxy_evidence import Watch
from harness.faults.reverts import Revert, by_http
from harness.model.fault import Direction, Evidence, Fault, Symptom, Where

DEFAULT_API = "http://127.0.0.1:8474"
_MOST_MS = 3_600_000
_SLOWER = (Symptom("ttfb_ms p95", Direction.UP, 200),)
_UNANSWERED = (Symptom("response_ratio", Direction.DOWN, 0.1),)


class _Proxy:
    """One proxy of a server, asked for once so that a wrong name is told before anything is done."""

    def __init__(self, fault: Fault) -> None:
        """Ask for the proxy. Raises FaultError."""
        said = fault.parameters
        self.fault = fault
        self.api = str(said["api"]).rstrip("/")
        self.name = str(said["proxy"])
        answer = self.ask("GET", "")
        if answer.status == 404:
            raise FaultError(f"{fault.name}: {self.api} has no proxy {self.name!r}; legal: {self._legal()}")
        self.state = dict(self.told(answer))

    def url(self, rest: str = "") -> str:
        """Return the address of something of the proxy's."""
        return f"{self.api}/proxies/{quote(self.name, safe='')}{rest}"

    def ask(self, method: str, rest: str, body: Any = None) -> Answer:
        """Ask the API. Raises FaultError where nobody answers."""
        return exchange(method, self.url(rest), body)

    def told(self, answer: Answer) -> dict[str, Any]:
        """Return what a good answer says. Raises FaultError for any other."""
        if not answer.is_good or not isinstance(answer.said, dict):
            raise FaultError(f"{self.fault.name}: {self.api}: HTTP {answer.status}: {answer.error}")
        return answer.said

    def _legal(self) -> str:
        said = exchange("GET", f"{self.api}/proxies").said
        return ", ".join(said) if isinstance(said, dict) and said else "none: it has no proxies"


class _Broken(Undoing):
    """What is done to a proxy: begun by one request, undone by another."""

    def __init__(self, proxy: _Proxy, watch: Watch, begin: tuple[str, str, Any], revert: Revert) -> None:
        super().__init__((revert,))
        self._proxy, self._watch, self._begin = proxy, watch, begin

    def start(self) -> None:
        """Do it. Raises FaultError."""
        self._watch.begin()
        # Set before: an order whose answer is lost may have been carried out.
        self._is_in_force = True
        self._proxy.told(self._proxy.ask(*self._begin))

    def _look(self) -> Evidence:
        return self._watch.look()


def _make_toxic(fault: Fault, _means: Means) -> Effect:
    proxy = _Proxy(fault)
    said = fault.parameters
    type_ = fault.kind.partition(".")[2]
    # Of its own, whoever else breaks this proxy under one name.
    name = f"callquake-{fault.name}-{secrets.token_hex(3)}"
    body = {
        "name": name,
        "type": type_,
        "stream": said["stream"],
        "toxicity": said["toxicity"],
        "attributes": {theirs: said[ours] for ours, theirs in _ATTRIBUTES[type_].items()},
    }
    rest = f"/toxics/{quote(name, safe='')}"
    about = f"{fault.kind} on {proxy.name} at {proxy.api}"
    # Toxics are kept in memory only: where nobody listens there are none.
    revert = by_http(about, "DELETE", proxy.url(rest), {}, dies_with_server=True)
    watch = Watch(fault, proxy.api, proxy.state, toxic=name, is_idle=_does_nothing(type_, said))
    return _Broken(proxy, watch, ("POST", "/toxics", body), revert)


def _make_down(fault: Fault, _means: Means) -> Effect:
    proxy = _Proxy(fault)
    if not proxy.state.get("enabled", True):
        raise FaultError(f"{fault.name}: the proxy {proxy.name} at {proxy.api} is down already, by somebody else")
    about = f"the proxy {proxy.name} at {proxy.api}, which is down"
    revert = by_http(about, "POST", proxy.url(), {}, body='{"enabled": true}', dies_with_server=True)
    return _Broken(proxy, Watch(fault, proxy.api, proxy.state), ("POST", "", {"enabled": False}), revert)


def _does_nothing(type_: str, said: Mapping[str, Any]) -> bool:
    """Whether the parameters leave everything as it was."""
    idle = {
        "latency": ("latency_ms", "jitter_ms"),
        "slow_close": ("delay_ms",),
        "slicer": ("average_size_bytes", "delay_us"),
    }
    names = idle.get(type_, ())
    return float(said["toxicity"]) == 0 or (bool(names) and not any(said[name] for name in names))


# Our names of a toxic's attributes, with their units, and Toxiproxy's.
_ATTRIBUTES: Mapping[str, Mapping[str, str]] = {
    "latency": {"latency_ms": "latency", "jitter_ms": "jitter"},
    "bandwidth": {"rate_kbytes_s": "rate"},
    "timeout": {"timeout_ms": "timeout"},
    "reset_peer": {"timeout_ms": "timeout"},
    "slow_close": {"delay_ms": "delay"},
    "limit_data": {"bytes": "bytes"},
    "slicer": {
        "average_size_bytes": "average_size",
        "size_variation_bytes": "size_variation",
        "delay_us": "delay",
    },
}
_API = text("api", "the server's HTTP API", DEFAULT_API)
_PROXY = text("proxy", "name of the proxy that the hop goes through")
_PROBE = text("probe", "a URL whose way goes through the proxy: asked before and during the fault", None)
_OF_TOXICS = (
    choice(
        "stream",
        "downstream: what the server says; upstream: what the client says",
        ("downstream", "upstream"),
        "downstream",
    ),
    number("toxicity", "share of the connections", 1.0, high=1),
)
_REVERTS = "deleted by the API, journalled; where the server is gone its toxics are, too"


def _rule(parameters: Mapping[str, Any]) -> str:
    for name in ("api", "probe"):
        if name in parameters and not str(parameters[name]).startswith(("http://", "https://")):
            return f"{name} {parameters[name]!r}; legal: http:// or https://"
    if parameters.get("size_variation_bytes", 0) >= parameters.get("average_size_bytes", 1):
        return "size_variation_bytes; legal: less than average_size_bytes"
    return ""


def _toxic(
    name: str, about: str, parameters: tuple[Parameter, ...], symptoms: tuple[Symptom, ...], **example: Any
) -> Kind:
    return Kind(
        name=f"toxiproxy.{name}",
        where=Where.INFRASTRUCTURE,
        about=about,
        parameters=(_PROXY, *parameters, *_OF_TOXICS, _API, _PROBE),
        evidence="connections that it did something to, as our server counts; bytes (Toxiproxy with -proxy-metrics, "
        "toxicity 1); or probes that changed",
        reverts=_REVERTS,
        make=_make_toxic,
        needs="a Toxiproxy server, or `callquake toxiproxy`, with a proxy in the hop",
        symptoms=symptoms,
        example={"proxy": "llm", **example},
        rule=_rule,
        filters=(),
    )


def _ms(name: str, about: str, default: Any) -> Parameter:
    return whole(name, about, default, high=_MOST_MS)


_JITTER = _ms("jitter_ms", "to either side", 0)
KINDS = (
    _toxic(
        "latency",
        "all that a TCP hop carries comes later",
        (whole("latency_ms", "how much", high=_MOST_MS), _JITTER),
        _SLOWER,
        latency_ms=300,
    ),
    _toxic(
        "bandwidth",
        "a TCP hop carries no more than so much",
        (whole("rate_kbytes_s", "thousands of bytes a second of each connection", low=1, high=1e7),),
        _SLOWER,
        rate_kbytes_s=2,
    ),
    _toxic(
        "timeout",
        "a TCP hop carries nothing: what is sent is lost, and the connection closed after a while",
        (_ms("timeout_ms", "until it is closed; 0 = held open until the fault is over", 0),),
        _UNANSWERED,
    ),
    _toxic(
        "reset_peer",
        "connections of a TCP hop are reset (RST)",
        (_ms("timeout_ms", "after so long", 0),),
        _UNANSWERED,
    ),
    _toxic(
        "slow_close",
        "connections of a TCP hop close late",
        (whole("delay_ms", "how late", high=_MOST_MS),),
        (),
        delay_ms=2_000,
    ),
    _toxic(
        "limit_data",
        "connections of a TCP hop are closed once so much has passed",
        (whole("bytes", "how much", high=1e12),),
        _UNANSWERED,
        bytes=500,
    ),
    _toxic(
        "slicer",
        "what a TCP hop carries comes in small pieces",
        (
            whole("average_size_bytes", "of a piece", low=1, high=1e6),
            whole("size_variation_bytes", "to either side", 0, high=1e6),
            whole("delay_us", "between pieces, in microseconds", 0, high=1e7),
        ),
        (),
        average_size_bytes=10,
        delay_us=10_000,
    ),
    Kind(
        name="toxiproxy.down",
        where=Where.INFRASTRUCTURE,
        about="a TCP hop is down: connections are refused, and those there are closed",
        parameters=(_PROXY, _API, _PROBE),
        evidence="connections of ours that the proxy took before and refuses now; or probes that changed",
        reverts="enabled by the API, journalled",
        make=_make_down,
        needs="a Toxiproxy server, or `callquake toxiproxy`, with a proxy in the hop",
        symptoms=_UNANSWERED,
        example={"proxy": "llm"},
        rule=_rule,
        filters=(),
    ),
)
