"""The bundled agent's admin API from outside (target_stack/chaos/admin.py has the other end): ask, renew, delete."""

import time
from dataclasses import replace
from typing import Any

from harness.faults.effect import Admin, sum_of
from harness.faults.errors import FaultError
from harness.faults.http_json import TIMEOUT_S, NoAnswerError, exchange
from harness.faults.reverts import Revert, by_http
from harness.faults.undone import not_undone
from harness.model.fault import Evidence, Fault

# Without a renewal for so long the target reverts a fault by itself.
LEASE_S = 10.0
# To undo one may be to load models anew.
END_TIMEOUT_S = 60.0
_SERVER_ERROR = 500
_DYING_S = 0.5


class AdminFault:
    """A fault of the target's, by its admin API."""

    def __init__(self, fault: Fault, admin: Admin, fault_id: str, lease_s: float = LEASE_S) -> None:
        """`fault_id`: unique at the target, whoever else injects faults there."""
        self._fault, self._admin, self._id, self._lease_s = fault, admin, fault_id, lease_s
        self._last = Evidence(what="requests touched")
        self._is_in_force = False

    @property
    def reverts(self) -> tuple[Revert, ...]:
        """Delete it; without us it lapses within LEASE_S, one that is to be kept later."""
        about = f"{self._fault.kind} at {self._admin.url}"
        headers = {"Authorization": f"Bearer {self._admin.token}"} if self._admin.token else {}
        lapses = self._lease_s <= LEASE_S
        # A target that is gone has no faults.
        revert = by_http(
            about, "DELETE", self._url(), headers, lapses=lapses, dies_with_server=True, patience_s=END_TIMEOUT_S
        )
        return (revert,)

    def start(self) -> None:
        """Put it in force. Raises FaultError."""
        # Set before: an order whose answer is lost may have been carried out.
        self._is_in_force = True
        try:
            self._renew()
        except _RefusedError as error:
            # It is not there, or another's.
            self._is_in_force = error.status >= _SERVER_ERROR
            raise

    def evidence(self) -> Evidence:
        """Renew its lease; return what it has done so far. Raises FaultError."""
        if self._is_in_force:
            self._renew()
        return self._last

    def stop(self) -> Evidence:
        """End it. One that is gone already, its target with it, is over. Raises FaultError where it is not undone."""
        if not self._is_in_force:
            return self._last
        try:
            said = self._end()
        except _GoneError:
            pass
        except NoAnswerError as error:
            if error.is_late:
                raise FaultError(f"{self._admin.url} has not said within {END_TIMEOUT_S:g} s that it is") from error
            if not error.is_refused:
                # It may live, out of reach.
                raise FaultError(f"{error}; it lapses there {self._lease_s:g} s after it was renewed last") from error
            self._last = replace(self._last, detail=f"last told before: {error}")
        else:
            self._take(said)
            if why := not_undone(said):
                raise FaultError(f"{self._admin.url}: {why}")
        self._is_in_force = False
        return self._last

    def _end(self) -> Any:
        try:
            return ask(self._admin, "DELETE", self._url(), timeout_s=END_TIMEOUT_S)
        except NoAnswerError as error:
            if error.is_late or error.is_refused:
                raise
        # Cut off in the middle: one that is dying is gone a moment later, and then has no faults.
        time.sleep(_DYING_S)
        return ask(self._admin, "DELETE", self._url(), timeout_s=END_TIMEOUT_S)

    def _renew(self) -> None:
        body = {
            "id": self._id,
            "kind": self._fault.kind,
            "parameters": {name: list(v) if isinstance(v, tuple) else v for name, v in self._fault.parameters.items()},
            "filter": {"share": self._fault.filter.share},
            "seed": self._fault.seed,
            "lease_s": self._lease_s,
        }
        self._take(ask(self._admin, "POST", f"{self._admin.url}/admin/faults", body))

    def _take(self, said: Any) -> None:
        self._last = evidence_of(said)

    def _url(self) -> str:
        return f"{self._admin.url}/admin/faults/{self._id}"


class _RefusedError(FaultError):
    """The target answered, and will not."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class _GoneError(_RefusedError):
    """There is no such fault."""


def ask(admin: Admin, method: str, url: str, body: Any = None, *, timeout_s: float = TIMEOUT_S) -> Any:
    """Return the JSON of one answer. Raises FaultError."""
    headers = {"Authorization": f"Bearer {admin.token}"} if admin.token else {}
    answer = exchange(method, url, body, headers, timeout_s=timeout_s)
    if answer.is_good:
        if answer.said is None:
            raise FaultError(f"{url}: no JSON in its answer")
        return answer.said
    if answer.status == 404 and method == "DELETE":
        raise _GoneError(f"{url}: {answer.error}", answer.status)
    if answer.status == 404:
        raise _RefusedError(f"{url}: HTTP 404: it has no admin API; is it the bundled agent?", answer.status)
    raise _RefusedError(f"{url}: HTTP {answer.status}: {answer.error}", answer.status)


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
