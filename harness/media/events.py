"""What the media loop tells of a call. All times are CLOCK_MONOTONIC in ns; onset.py has two more."""

from dataclasses import dataclass

from harness.media.onset import AgentOnset, AgentStopped


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The packet with the first voiced sample of an utterance was sent."""

    utterance_id: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The packet with the last voiced sample of an utterance was sent."""

    utterance_id: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class MediaLost:
    """Nothing at all (RTP, RTCP, STUN) came from the agent since `since_ns`, longer than the call bears."""

    since_ns: int


@dataclass(frozen=True, slots=True)
class RemoteBye:
    """The agent said goodbye by RTCP."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class MediaFailed:
    """Our own media path broke on this call: a fault of the generator, never the agent's."""

    detail: str


MediaEvent = SpeechStarted | SpeechEnded | AgentOnset | AgentStopped | MediaLost | RemoteBye | MediaFailed
