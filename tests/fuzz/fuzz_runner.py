"""Feeds a target: what may be raised, how long an input may take, and how to make the guilty input again."""

import faulthandler
import sys
import time
from dataclasses import dataclass, field

from fuzz_media import AudioSockets, MediaStreams, Sdp, Stun, WebSocketFrames
from fuzz_sip import SipMessages, SipStreams
from fuzz_sip_agents import SipAgents
from fuzz_sip_plain import PlainCallsOfPeers
from fuzz_turn import Turn

from harness.model.errors import RemoteProtocolError

# Each, and its share of the inputs.
TARGETS = {
    SipMessages: 0.265,
    SipStreams: 0.1,
    Sdp: 0.2,
    Stun: 0.08,
    Turn: 0.03,
    MediaStreams: 0.1,
    WebSocketFrames: 0.08,
    AudioSockets: 0.03,
    SipAgents: 0.01,
    PlainCallsOfPeers: 0.005,
}
# CPU time of one input of up to 64 KiB, of one conversation of two user agents. Ordinary ones take some 0.1 ms, 2 ms.
MOST_CPU_S = {SipAgents: 20.0}
_DEFAULT_CPU_S = 2.0
# An input that never ends: where it hangs is printed, and the process ends.
_HANG_S = 120
_CHUNK = 500


@dataclass
class Told:
    """What became of a target's inputs."""

    inputs: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    slowest: int = 0
    notes: dict[str, int] = field(default_factory=dict)


class Found(AssertionError):  # noqa: N818 - what a search ends with
    """An input that did what none may; the message holds all that is needed to make it again."""


def feed(kind, inputs, seed, first=0, progress=None):
    """Feed a fresh target of `kind` its inputs `first`, `first + 1` ...; raises Found."""
    target, told = kind(seed), Told()
    most_s = MOST_CPU_S.get(kind, _DEFAULT_CPU_S)
    try:
        for number in range(first, first + inputs):
            if told.inputs % _CHUNK == 0:
                faulthandler.dump_traceback_later(_HANG_S, exit=True, file=sys.__stderr__)
                if progress is not None:
                    progress(told)
            _feed_one(target, number, seed, most_s, told)
    finally:
        faulthandler.cancel_dump_traceback_later()
    target.end()
    told.notes = {name: getattr(target, name) for name in ("delivered", "changed") if hasattr(target, name)}
    return told


def _feed_one(target, number, seed, most_s, told):
    data = target.make(number)
    began = time.thread_time()
    try:
        target.feed(data)
    except RemoteProtocolError as error:
        told.refused += 1
        if not str(error):
            raise Found(f"{target.name}, seed {seed}, input {number}: refused without a reason") from error
    except Exception as error:
        raise Found(f"{target.name}, seed {seed}, input {number}: {error!r}; it is {data!r:.2000}") from error
    took = time.thread_time() - began
    told.inputs += 1
    if took > told.slowest_s:
        told.slowest_s, told.slowest = took, number
    if took > most_s:
        raise Found(f"{target.name}, seed {seed}, input {number}: {took:.1f} s of CPU; it is {data!r:.2000}")
