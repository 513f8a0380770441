"""The kernel's own network emulation (tc netem) on a device: everything that leaves by it, TCP too."""

import os
import re
import secrets
import subprocess
from collections.abc import Mapping
from typing import Any

from harness.faults.effect import Effect, Means, Undoing
from harness.faults.errors import FaultError
from harness.faults.kind import Kind
from harness.faults.parameter import number, text
from harness.faults.reverts import by_command
from harness.model.fault import Evidence, Fault, Where

# tc's words for "there is nothing to delete".
_GONE = (
    "Cannot delete qdisc with handle of zero",
    # Another one than ours is there; older kernels have no words of their own for it.
    "Invalid handle",
    "RTNETLINK answers: Invalid argument",
    "No such file or directory",
    "Cannot find device",
    "Cannot open network namespace",
)
TC_TIMEOUT_S = 10.0
_MOST_HANDLE = 0xFFF0
_WHAT = "packets through the qdisc"
_DROPPED = re.compile(r"Sent \d+ bytes (\d+) pkt \(dropped (\d+)")


class _Netem(Undoing):
    """One qdisc at the root of a device."""

    def __init__(self, fault: Fault, means: Means) -> None:
        self._fault = fault
        said = fault.parameters
        self._prefix = ["ip", "netns", "exec", str(said["namespace"])] if "namespace" in said else []
        self._device = str(said["device"])
        self._what = _netem_words(fault)
        # By a name of its own, so that nobody else's qdisc is ever deleted for it.
        self._handle = f"{1 + secrets.randbelow(_MOST_HANDLE):x}:"
        back = [*self._prefix, "tc", "qdisc", "del", "dev", self._device, "root", "handle", self._handle]
        where = f"{self._device} in {said['namespace']}" if "namespace" in said else self._device
        super().__init__((by_command(f"netem on {where}", back, gone=_GONE),), _WHAT, means.environ)

    def start(self) -> None:
        """Add the qdisc. Raises FaultError, also where there is one already: it would not come back."""
        if os.geteuid() != 0:
            raise FaultError(f"{self._fault.name}: tc netem needs root; the other kinds of `network` need none")
        # Set before: what has not answered in time may have been done.
        self._is_in_force = True
        self._tc("qdisc", "add", "dev", self._device, "root", "handle", self._handle, "netem", *self._what)

    def _look(self) -> Evidence:
        """Return what the kernel has counted at the qdisc: all packets where they are delayed, else dropped ones."""
        found = _DROPPED.search(self._tc("-s", "qdisc", "show", "dev", self._device, "root"))
        passed, dropped = (int(found[1]), int(found[2])) if found else (0, 0)
        touched = passed + dropped if self._any("delay_ms", "jitter_ms", "rate_kbps") else dropped
        detail = ""
        if self._what and not self._any("delay_ms", "jitter_ms", "rate_kbps", "loss_ratio"):
            detail = "not measured: the kernel counts no duplicates; legal with loss or delay, or network.duplicate"
        return Evidence(touched, _WHAT, {"packets_passed": passed, "packets_dropped": dropped}, detail=detail)

    def _any(self, *names: str) -> bool:
        return any(float(str(self._fault.parameters.get(name, 0))) for name in names)

    def _tc(self, *words: str) -> str:
        try:
            done = subprocess.run(
                [*self._prefix, "tc", *words], capture_output=True, text=True, timeout=TC_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise FaultError(f"{self._fault.name}: tc: {error}") from error
        if done.returncode != 0:
            raise FaultError(f"{self._fault.name}: tc {' '.join(words)}: {done.stderr.strip()[-300:]}")
        return done.stdout


def _netem_words(fault: Fault) -> list[str]:
    said = {name: float(str(value)) for name, value in fault.parameters.items() if name not in ("device", "namespace")}
    words: list[str] = []
    if said.get("delay_ms") or said.get("jitter_ms"):
        words += ["delay", f"{said.get('delay_ms', 0):g}ms", f"{said.get('jitter_ms', 0):g}ms"]
    for name, word in (("loss_ratio", "loss"), ("duplicate_ratio", "duplicate"), ("reorder_ratio", "reorder")):
        if said.get(name):
            words += [word, f"{100 * said[name]:g}%"]
    if said.get("rate_kbps"):
        words += ["rate", f"{said['rate_kbps']:g}kbit"]
    return words


def _rule(parameters: Mapping[str, Any]) -> str:
    values = dict(parameters)
    if values.get("reorder_ratio") and not values.get("delay_ms"):
        return "reorder_ratio without delay_ms does nothing: packets are overtaken by those not delayed; give delay_ms"
    return ""


def _make(fault: Fault, means: Means) -> Effect:
    return _Netem(fault, means)


KINDS = (
    Kind(
        name="netem.qdisc",
        where=Where.NETWORK,
        about="the kernel's netem on a device: delay, loss, duplicates, reordering, rate, for all that leaves by it",
        parameters=(
            text("device", "like veth0"),
            text("namespace", "network namespace that the device is in; left out, this one", None),
            number("delay_ms", "of every packet", 0.0, high=60_000),
            number("jitter_ms", "to either side", 0.0, high=60_000),
            number("loss_ratio", "share of packets", 0.0, high=1),
            number("duplicate_ratio", "share of packets", 0.0, high=1),
            number("reorder_ratio", "share of packets sent at once, before the delayed ones", 0.0, high=1),
            number("rate_kbps", "0 = no limit", 0.0, high=1e8),
        ),
        evidence="packets that the kernel counted at the qdisc: all where they are delayed, else dropped ones; "
        "duplicates it does not count",
        reverts="the qdisc is deleted, journalled",
        make=_make,
        needs="root, and a device whose root qdisc is still the kernel's default",
        example={"device": "veth0", "namespace": "agent", "delay_ms": 100, "loss_ratio": 0.02},
        rule=_rule,
        filters=(),
    ),
)
