"""Callers that misbehave, or whose side of a call does not work: on any target, for calls that begin meanwhile."""

from harness.faults.engine_fault import make
from harness.faults.kind import Kind
from harness.faults.parameter import Parameter, choice, number, text, whole
from harness.model.fault import Direction, Fault, Symptom, Unmoved, Where
from harness.protocols.dtmf import DIGITS

ICE_WAYS = ("blocked_udp", "wrong_credentials", "dead_turn", "mdns_only")
REVERTS = "calls that begin afterwards are as the scenario has them; it dies with its engine"
# RFC 863's port, where nothing is to answer.
DEAD_TURN = "127.0.0.1:9"


def caller_kind(
    name: str,
    about: str,
    parameters: tuple[Parameter, ...],
    evidence: str,
    needs: str = "",
    symptoms: tuple[Symptom, ...] = (),
    unmoved: tuple[Unmoved, ...] = (Unmoved("error_rate", 0.05), Unmoved("setup_ms p50", 200.0)),
    *,
    reverts: str = REVERTS,
) -> Kind:
    """Return a kind that the engines carry out on their callers."""
    return Kind(
        name=name,
        where=Where.CALLER,
        about=about,
        parameters=parameters,
        evidence=evidence,
        reverts=reverts,
        make=make,
        needs=needs,
        symptoms=symptoms,
        unmoved=unmoved,
    )


KINDS = (
    caller_kind(
        "caller.silence",
        "callers say nothing for a while where they would have begun to speak",
        (number("silence_ms", "before the first utterance", high=300_000),),
        "calls that began with a silence",
    ),
    caller_kind(
        "caller.long_utterance",
        "callers speak at length: every utterance is one of the corpus's long ones",
        (number("least_s", "no utterance shorter than this", 10.0, low=0, high=300),),
        "calls whose utterances were exchanged for long ones",
        "a corpus with utterances so long",
        (Symptom("ttfb_ms p50", Direction.UP, 300),),
    ),
    caller_kind(
        "caller.dtmf_flood",
        "callers press keys, many and fast, before each utterance",
        (
            text("digits", "of 0-9 * # A-D", "0123456789*#"),
            whole("times", "how often they are pressed before each utterance", 2, low=0, high=20),
        ),
        "calls in which keys were pressed",
        "calls over SIP or a media stream",
    ),
    caller_kind(
        "caller.ice_failure",
        "the caller's ICE does not work: UDP goes nowhere, the TURN server refuses it or is gone, candidates are names",
        (choice("how", "what is wrong", ICE_WAYS),),
        "calls set up so; with `wrong_credentials` and `dead_turn` those that have a TURN server",
        "WebRTC; for the two of TURN a target with `ice.servers`",
        (Symptom("error_rate", Direction.UP, 0.1),),
        (Unmoved("ttfb_ms p50", 200.0),),
    ),
    caller_kind(
        "caller.dtls_failure",
        "the caller's certificate is not the one that its offer announced: an honest agent refuses the handshake",
        (),
        "calls set up so",
        "WebRTC",
        (Symptom("drop_off", Direction.UP, 0.1),),
        (Unmoved("ttfb_ms p50", 200.0),),
    ),
)


def digits_of(fault: Fault) -> str:
    """Return the keys that a flood presses before each utterance, those that are keys."""
    pressed = str(fault.parameters["digits"]).upper()
    return "".join(digit for digit in pressed if digit in DIGITS) * int(str(fault.parameters["times"]))
