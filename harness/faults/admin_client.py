"""The bundled agent's admin API from outside (target_stack/chaos/admin.py has the other end): ask, renew, delete."""

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

from harness.faults.effect import Admin, FaultError, sum_of
from harness.faults.reverts import Revert, by_http
from harness.model.fault import Evidence, Fault

# Without a renewal for so long the target reverts a fault by itself.
LEASE_S = 10.0
_TIMEOUT_S = 5.0


class AdminFault:
    """A fault of the target's, by its admin API."""

    def __init__(self, fault: Fault, admin: Admin, fault_id: str, lease_s: float = LEASE_S) -> None:
        """`fault_id`: unique at the target, whoever else injects faults there."""
        self._fault, self._admin, self._id, self._lease_s = fault, admin, fault_id, lease_s
        self._last = Evidence(what="requests touched")
        self._is_in_force = False

    @property
    def reverts(self) -> tuple[Revert, ...]:
        """Delete it; without us it lapses within LEASE_S."""
        about = f"{self._fault.kind} at {self._admin.url}"
        headers = {"Authorization": f"Bearer {self._admin.token}"} if self._admin.token else {}
        return (by_http(about, "DELETE", self._url(), headers, lapses=True),)

    def start(self) -> None:
        """Put it in force. Raises FaultError."""
        self._renew()
        self._is_in_force = True

    def evidence(self) -> Evidence:
        """Renew its lease; return what it has done so far. Raises FaultError."""
        if self._is_in_force:
            self._renew()
        return self._last

    def stop(self) -> Evidence:
        """End it. One that is gone already, its target with it, is over; any other failure raises FaultError."""
        if not self._is_in_force:
            return self._last
        try:
            self._take(self._ask("DELETE", self._url()))
        except _GoneError:
            pass
        except FaultError as error:
            self._last = Evidence(
                self._last.touched, self._last.what, self._last.counts, self._last.calls, f"last told before: {error}"
            )
            if isinstance(error, _RefusedError):
                raise
        self._is_in_force = False
        return self._last

    def _renew(self) -> None:
        body = {
            "id": self._id,
            "kind": self._fault.kind,
            "parameters": {name: list(v) if isinstance(v, tuple) else v for name, v in self._fault.parameters.items()},
            "filter": {"share": self._fault.filter.share},
            "seed": self._fault.seed,
            "lease_s": self._lease_s,
        }
        self._take(self._ask("POST", f"{self._admin.url}/admin/faults", body))

    def _take(self, said: Any) -> None:
        self._last = evidence_of(said)

    def _url(self) -> str:
        return f"{self._admin.url}/admin/faults/{self._id}"

    def _ask(self, method: str, url: str, body: Any = None) -> Any:
        return ask(self._admin, method, url, body)


class _RefusedError(FaultError):
    """The target answered, and will not."""


class _GoneError(_RefusedError):
    """There is no such fault."""


def ask(admin: Admin, method: str, url: str, body: Any = None) -> Any:
    """Return the JSON of one answer. Raises FaultError."""
    headers = {"Authorization": f"Bearer {admin.token}"} if admin.token else {}
    data = None if body is None else json.dumps(body).encode()
    if data is not None:
        headers["Content-Type"] = "application/json"
    try:
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310  http(s), checked where the URL was read
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310  same
            return json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            said = _error_of(error.read(4_096))
        if error.code == 404 and method == "DELETE":
            raise _GoneError(f"{url}: {said}") from error
        if error.code == 404:
            raise _RefusedError(f"{url}: HTTP 404: it has no admin API; is it the bundled agent?") from error
        raise _RefusedError(f"{url}: HTTP {error.code}: {said}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise FaultError(f"{url}: {getattr(error, 'reason', None) or error}") from error


def evidence_of(said: Any) -> Evidence:
    """Return the evidence in an answer, summed where a front answers for several servers."""
    if isinstance(said, dict) and isinstance(said.get("servers"), list | dict):
        answers = said["servers"]
        several = list(answers.values()) if isinstance(answers, dict) else answers
        return sum_of([evidence_of(one) for one in several])
    if not isinstance(said, dict) or not isinstance(said.get("touched"), int):
        return Evidence(what="requests touched", detail="the target told no counts")
    counts = said.get("counts")
    return Evidence(
        touched=said["touched"],
        what=str(said.get("what") or "requests touched"),
        counts={str(k): v for k, v in counts.items() if isinstance(v, int | float)} if isinstance(counts, dict) else {},
        calls=tuple(str(call) for call in said.get("calls") or ()),
        detail=str(said.get("detail") or ""),
    )


def _error_of(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace").strip() or "no reason given"
