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
class DigitSent:
    """The packet that says that a digit has ended was sent, the first of three."""

    digit: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class DigitHeard:
    """The agent began to send a digit as a telephone event: the first packet of it that came."""

    digit: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class DigitEnded:
    """The agent said that its digit has ended; one all of whose end packets are lost is never told to have."""

    digit: str
    at_ns: int
    duration_ms: float


@dataclass(frozen=True, slots=True)
class MediaFailed:
    """Our own media path broke on this call: a fault of the generator, never the agent's."""

    detail: str


DigitEvent = DigitSent | DigitHeard | DigitEnded
MediaEvent = SpeechStarted | SpeechEnded | AgentOnset | AgentStopped | DigitEvent | MediaLost | RemoteBye | MediaFailed
