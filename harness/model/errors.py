"""Errors say whose fault it is, because "the harness misused SIP" must never be counted as "the agent failed".

CallquakeError
├── ScenarioError      the user's file or option is wrong; found before any call (exit 104)
├── TargetError        the target cannot be reached or refuses (exit 103 before a run, a failed call within one)
├── RemoteProtocolError  the peer broke its protocol
├── LocalProtocolError   we misused a protocol: a bug of ours
└── GeneratorError     this machine or this harness could not do its part (exit 98)
"""


class CallquakeError(Exception):
    """Base of every error raised on purpose; the message is written for the person who can act on it."""


class ScenarioError(CallquakeError):
    """A scenario, option or fixture is wrong. Names the file, the place in it and the legal values."""


class TargetError(CallquakeError):
    """The agent under test cannot be reached, or refused; names the address and what was tried."""


class RemoteProtocolError(CallquakeError):
    """The peer sent something its protocol does not allow."""


class LocalProtocolError(CallquakeError):
    """The harness used a protocol wrongly: a bug of ours, never counted against the agent."""


class GeneratorError(CallquakeError):
    """The generator could not do its part (ports, descriptors, a dead engine); its numbers are void."""
