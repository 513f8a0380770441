"""Which callers were behind a bad network on purpose, and how much of the loss is ours and not the target's."""

from collections.abc import Sequence
from typing import Any

from harness.model.records import CallRecord


def impaired_callers(calls: Sequence[CallRecord]) -> dict[str, dict[str, str]]:
    """Return the impairments of each kind of caller that has any: caller -> direction -> words."""
    return {call.caller: call.impairments for call in calls if call.impairments}


def notes_of_impairments(calls: Sequence[CallRecord]) -> list[str]:
    """Return a sentence for each kind of caller, and one that tells our loss from the network's; [] without any."""
    callers = impaired_callers(calls)
    if not callers:
        return []
    said = [
        f"Impaired on purpose, caller {name}: {'; '.join(f'{way} {words}' for way, words in impairments.items())}."
        for name, impairments in sorted(callers.items())
    ]
    loss = loss_of(calls)
    return [
        *said,
        (
            f"Dropped on purpose: {loss['impaired_outgoing']} of {loss['sent']} packets to the agent, "
            f"{loss['impaired_incoming']} from it. The {loss['by_sequence']} packets of the agent missing by sequence "
            "number include the latter, save those that none came after: no number tells of them."
        ),
    ]


def onset_words(calls: Sequence[CallRecord]) -> str:
    """Return what impairments do to the times of this run that no calibration has seen; "" without any."""
    if not impaired_callers(calls):
        return ""
    media = [call.media for call in calls if "incoming" in call.impairments]
    lost = sum(m.impaired_lost_incoming for m in media)
    came = lost + sum(m.packets_received for m in media)
    if not lost:
        return "delays put on packets on purpose are part of this TTFB"
    return (
        f"with {lost / came:.1%} of packets lost on purpose an onset can be up to a packet (20 ms) late, more after "
        "several in a row; delays put on packets on purpose are part of this TTFB"
    )


def loss_of(calls: Sequence[CallRecord]) -> dict[str, Any]:
    """Return the packets of a run that were lost, by sequence number and on purpose."""
    media = [call.media for call in calls]
    return {
        "sent": sum(m.packets_sent for m in media),
        "received": sum(m.packets_received for m in media),
        "by_sequence": sum(m.packets_lost for m in media),
        "impaired_outgoing": sum(m.impaired_lost_outgoing for m in media),
        "impaired_incoming": sum(m.impaired_lost_incoming for m in media),
    }
