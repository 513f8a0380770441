"""What the packets of calls go through, emulated in the media loop: no root, any target, each call by itself.

The words are netem's. A fault's network comes on top of what the scenario puts on a call all along (`impairments`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.faults.engine_fault import make
from harness.faults.kind import Kind, Rule, no_rule
from harness.faults.parameter import Parameter, choice, number
from harness.model.fault import Direction, Fault, Symptom, Where
from harness.model.impairment import MAX_DELAY_MS, MAX_KBPS, Bandwidth, BurstLoss, Impairment, Jitter

WAYS = ("both", "outgoing", "incoming")
DIRECTION = choice("direction", "outgoing: from the callers to the agent; incoming: back", WAYS, "both")
_REVERTS = "the loop takes it off between two packets; it dies with its engine"
_NEEDS = "calls with RTP: WebRTC, SIP or plain RTP; a media stream is TCP and has no packets to lose"
_LATE = (Symptom("ttfb_ms p50", Direction.UP, 50),)


def _ratio(name: str, about: str, default: Any = None) -> Parameter:
    return number(name, about, default, high=1) if default is not None else number(name, about, high=1)


def _room_for_jitter(parameters: Mapping[str, Any]) -> str:
    delay_ms, jitter_ms = parameters.get("delay_ms"), parameters["jitter_ms"]
    if delay_ms is None or delay_ms >= jitter_ms:
        return ""
    said = f"jitter_ms {jitter_ms:g} around delay_ms {delay_ms:g} would send packets into the past"
    return f"{said}; legal: delay_ms of at least as much"


def _kind(
    name: str,
    about: str,
    parameters: tuple[Parameter, ...],
    evidence: str,
    symptoms: tuple[Symptom, ...] = (),
    *,
    rule: Rule = no_rule,
) -> Kind:
    return Kind(
        name=name,
        where=Where.NETWORK,
        about=about,
        parameters=(*parameters, DIRECTION),
        evidence=evidence,
        reverts=_REVERTS,
        make=make,
        needs=_NEEDS,
        symptoms=symptoms,
        rule=rule,
    )


KINDS = (
    _kind("network.loss", "packets are lost at random", (_ratio("loss_ratio", "share of packets"),), "packets lost"),
    _kind(
        "network.burst_loss",
        "packets are lost in bursts, by Gilbert's and Elliott's model",
        (
            _ratio("p", "chance per packet to enter the bad state"),
            number("r", "chance per packet to leave it; bursts last 1/r packets", low=1e-6, high=1),
            _ratio("loss_good", "loss in the good state", 0.0),
            _ratio("loss_bad", "loss in the bad state", 1.0),
        ),
        "packets lost",
    ),
    _kind(
        "network.delay",
        "packets take longer",
        (number("delay_ms", "how much, each way", high=MAX_DELAY_MS),),
        "packets delayed",
        _LATE,
    ),
    _kind(
        "network.jitter",
        "packets take longer by amounts that differ",
        (
            number("jitter_ms", "uniform: to either side; normal: the standard deviation", high=MAX_DELAY_MS),
            number("delay_ms", "around which; left out, as much as jitter_ms", None, high=MAX_DELAY_MS),
            choice("distribution", "of the amounts", ("uniform", "normal"), "uniform"),
            choice("reorder", "whether packets may overtake each other", ("allowed", "kept"), "allowed"),
        ),
        "packets delayed",
        rule=_room_for_jitter,
    ),
    _kind(
        "network.reorder",
        "packets are held back so that later ones overtake them",
        (
            _ratio("reorder_ratio", "share of packets"),
            number("reorder_ms", "for how long", 30.0, low=1, high=MAX_DELAY_MS),
        ),
        "packets held back",
    ),
    _kind(
        "network.duplicate", "packets come twice", (_ratio("duplicate_ratio", "share of packets"),), "packets doubled"
    ),
    _kind(
        "network.bandwidth",
        "a bottleneck: packets queue, and are lost where the queue is full",
        (
            number("kbps", "kbit/s of each call, IP and UDP headers included", low=1, high=MAX_KBPS),
            number("queue_ms", "packets that would queue longer are lost", 200.0, high=MAX_DELAY_MS),
        ),
        "packets delayed or lost",
    ),
    _kind(
        "network.partition",
        "nothing gets through: no RTP, no RTCP",
        (),
        "packets lost",
        (Symptom("response_ratio", Direction.DOWN, 0.1),),
    ),
)
# Which counts of a network are a kind's own doing.
TOUCHES: Mapping[str, tuple[str, ...]] = {
    "network.loss": ("lost",),
    "network.burst_loss": ("lost",),
    "network.delay": ("delayed",),
    "network.jitter": ("delayed",),
    "network.reorder": ("reordered",),
    "network.duplicate": ("duplicated",),
    "network.bandwidth": ("delayed", "queue_lost"),
    "network.partition": ("lost",),
}


def impairment_of(fault: Fault) -> Impairment:
    """Return the network that a fault of this family is, unseeded."""
    said: dict[str, Any] = dict(fault.parameters)
    match fault.kind:
        case "network.burst_loss":
            return Impairment(burst_loss=BurstLoss(said["p"], said["r"], said["loss_good"], said["loss_bad"]))
        case "network.jitter":
            jitter = Jitter(said["jitter_ms"], said["distribution"], said["reorder"])
            return Impairment(delay_ms=said.get("delay_ms", said["jitter_ms"]), jitter=jitter)
        case "network.bandwidth":
            return Impairment(bandwidth=Bandwidth(said["kbps"], said["queue_ms"]))
        case "network.partition":
            return Impairment(loss_ratio=1.0)
        case _:
            said.pop("direction", None)
            return Impairment(**said)


def goes(fault: Fault, direction: str) -> bool:
    """Whether the fault is put on this direction of a call."""
    return fault.parameters.get("direction", "both") in ("both", direction)


Networks = Mapping[str, Sequence[Impairment]]


def credits_of(fault: Fault, others: Networks) -> dict[str, float]:
    """Return the share of each count in TOUCHES that is the fault's own doing, on a call with other networks as well.

    `others`: by direction, the scenario's own and those of other faults. A packet is drawn once for all of them, so
    that nobody knows whose loss it was: each is credited with its share of the whole. A bottleneck is credited where
    it is the narrowest, and with delays only where nothing else delays.
    """
    own = impairment_of(fault)
    ways = [way for way in ("outgoing", "incoming") if goes(fault, way)]
    if own.bandwidth is not None:
        kbps = own.bandwidth.kbps
        rivals = [one for way in ways for one in others.get(way, ())]
        is_narrowest = all(one.bandwidth is None or kbps < one.bandwidth.kbps for one in rivals)
        is_alone = not any(_rate("delayed", one) for there in others.values() for one in there)
        return {"queue_lost": float(is_narrowest), "delayed": float(is_narrowest and is_alone)}
    found = {}
    for name in TOUCHES[fault.kind]:
        mine, whole = 0.0, 0.0
        for way in ("outgoing", "incoming"):
            rates = [_rate(name, one) for one in others.get(way, ())]
            mine += _rate(name, own) if way in ways else 0.0
            whole += 1 - math.prod(1 - rate for rate in (*rates, _rate(name, own) if way in ways else 0.0))
        found[name] = mine / whole if whole else 0.0
    return found


def _rate(name: str, one: Impairment) -> float:
    """Return the share of packets to which a network does what is counted so."""
    match name:
        case "lost":
            return _either(one.loss_ratio, one.burst_loss.ratio if one.burst_loss is not None else 0.0)
        case "reordered":
            return one.reorder_ratio
        case "duplicated":
            return one.duplicate_ratio
        case _:
            # Held back is late.
            return 1.0 if one.delay_ms or (one.jitter is not None and one.jitter.ms) else one.reorder_ratio


def combined(first: Impairment | None, second: Impairment, seed: int) -> Impairment:
    """Return one network behind another, with draws of its own.

    Losses multiply and delays add; of bursts and jitter the second's counts, of bottlenecks the narrower.
    """
    if first is None:
        return replace(second, seed=seed)
    widths = [bandwidth for bandwidth in (first.bandwidth, second.bandwidth) if bandwidth is not None]
    return Impairment(
        loss_ratio=_either(first.loss_ratio, second.loss_ratio),
        burst_loss=second.burst_loss or first.burst_loss,
        delay_ms=min(MAX_DELAY_MS, first.delay_ms + second.delay_ms),
        jitter=second.jitter or first.jitter,
        reorder_ratio=_either(first.reorder_ratio, second.reorder_ratio),
        reorder_ms=second.reorder_ms if second.reorder_ratio else first.reorder_ms,
        duplicate_ratio=_either(first.duplicate_ratio, second.duplicate_ratio),
        bandwidth=min(widths, key=lambda one: one.kbps, default=None),
        seed=seed,
    )


def _either(one: float, other: float) -> float:
    return 1 - (1 - one) * (1 - other)
