"""A media server of the bundled agent killed: its calls end, the front begins another process, or is told not to."""

from typing import Any

from harness.faults.effect import Admin, Counts, Effect, Means, Undoing, need_admin
from harness.faults.errors import FaultError
from harness.faults.http_json import Answer, exchange
from harness.faults.kind import Kind
from harness.faults.parameter import flag, text
from harness.faults.reverts import Revert, by_http
from harness.model.fault import Direction, Evidence, Fault, Symptom, Where

_SERVER_ERROR = 500
_WHAT = "media servers killed"


class _KilledServer(Undoing):
    """One server, chosen when the fault is made, so that what undoes it can be written down before."""

    def __init__(self, fault: Fault, admin: Admin) -> None:
        """Choose the server. Raises FaultError where there is no front, or no such server."""
        self._fault, self._admin = fault, admin
        self._headers = {"Authorization": f"Bearer {admin.token}"} if admin.token else {}
        self._server = _chosen(self._servers(), fault)
        self._stays_down = bool(fault.parameters["stays_down"])
        super().__init__(self._started_again() if self._stays_down else (), _WHAT)

    @property
    def _name(self) -> str:
        return str(self._server["name"])

    def _started_again(self) -> tuple[Revert, ...]:
        """Have the front begin it again, which it does by itself unless it was told not to."""
        about = f"media server {self._name} at {self._admin.url}, which is kept down"
        # Without its front there is no media server.
        return (by_http(about, "POST", self._url("start"), self._headers, dies_with_server=True),)

    def start(self) -> None:
        """Kill it. Raises FaultError."""
        # Set before: an order whose answer is lost may have been carried out.
        self._is_in_force = True
        answer = self._ask("POST", self._url("kill"), {"stays_down": self._stays_down})
        # Refused is not done.
        self._is_in_force = answer.is_good or answer.status >= _SERVER_ERROR
        _good(answer, self._fault)

    def _look(self) -> Evidence:
        """Return whether the front counts a death more of it, and the calls it had. Raises FaultError."""
        now = next((one for one in self._servers() if one["name"] == self._name), self._server)
        died = max(0, int(now["deaths"]) - int(self._server["deaths"]))
        counts: Counts = {
            "deaths": died,
            "calls_it_had": int(self._server["in_use"]),
            "calls_now": int(now["in_use"]),
        }
        return Evidence(min(1, died), _WHAT, counts, detail=f"{self._name} is {now['state']}")

    def _servers(self) -> list[dict[str, Any]]:
        answer = self._ask("GET", f"{self._admin.url}/admin/servers")
        if answer.status == 404:
            raise FaultError(f"{self._fault.name}: {self._admin.url} has no media servers; legal: up --media-servers N")
        _good(answer, self._fault)
        if not isinstance(answer.said, dict) or not isinstance(answer.said.get("servers"), list):
            raise FaultError(f"{self._fault.name}: {self._admin.url}/admin/servers does not tell its servers")
        return list(answer.said["servers"])

    def _url(self, order: str) -> str:
        return f"{self._admin.url}/admin/servers/{self._name}/{order}"

    def _ask(self, method: str, url: str, body: Any = None) -> Answer:
        return exchange(method, url, body, self._headers)


def _good(answer: Answer, fault: Fault) -> None:
    if not answer.is_good:
        raise FaultError(f"{fault.name}: HTTP {answer.status}: {answer.error}")


def _chosen(servers: list[dict[str, Any]], fault: Fault) -> dict[str, Any]:
    """Return the server that the fault names, else the one with the most calls."""
    alive = {str(one["name"]): one for one in servers if one["pid"] is not None}
    if "server" in fault.parameters:
        name = str(fault.parameters["server"])
        if name not in alive:
            raise FaultError(f"{fault.name}: no media server {name!r} runs; legal: {', '.join(alive) or 'none'}")
        return alive[name]
    if not alive:
        raise FaultError(f"{fault.name}: no media server runs")
    return max(alive.values(), key=lambda one: int(one["in_use"]))


def _make(fault: Fault, means: Means) -> Effect:
    return _KilledServer(fault, need_admin(means, fault))


KINDS = (
    Kind(
        name="media_server.kill",
        where=Where.INFRASTRUCTURE,
        about="a media server of the bundled agent is killed (SIGKILL), with all the calls it has",
        parameters=(
            text("server", "its name, like s2; left out, the one with the most calls", None),
            flag("stays_down", "whether it stays away until the fault is over; else the front begins it again", False),
        ),
        evidence="the deaths that the front counts; the calls it had",
        reverts="the front begins another process by itself; with stays_down it is told to, journalled",
        make=_make,
        needs="the bundled agent with media servers (`callquake up --media-servers 3`) and its admin API",
        symptoms=(Symptom("drop_off", Direction.UP, 0.05),),
        filters=(),
        asks_admin=True,
    ),
)
