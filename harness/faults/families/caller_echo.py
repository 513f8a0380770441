"""Echo: the agent's own sound comes back to it, as from a telephone on its loudspeaker without echo cancellation."""

from harness.faults.engine_fault import make
from harness.faults.kind import Kind
from harness.faults.parameter import number
from harness.model.fault import Direction, Symptom, Unmoved, Where

# What a packet takes through us: heard, made louder or quieter, and put before the loop.
SHORTEST_MS, LONGEST_MS = 60, 2_000

KINDS = (
    Kind(
        name="caller.echo",
        where=Where.CALLER,
        about="what the agent says comes back to it, later and quieter, wherever the caller is silent",
        parameters=(
            number("delay_ms", "how much later", 200.0, low=SHORTEST_MS, high=LONGEST_MS),
            number("gain_db", "how much louder; below 0: quieter", -6.0, low=-40, high=12),
        ),
        evidence="packets with the agent's own sound that left for it, counted as they leave",
        reverts="the caller's silence is silence again at the next packet; it dies with its engine",
        make=make,
        needs="calls over WebRTC, RTP or SIP with audio; those that begin meanwhile are recorded, for by both sides of "
        "a recording the harness tells whether the agent answered itself (self_answer_ratio)",
        symptoms=(Symptom("self_answer_ratio", Direction.UP, 0.5),),
        unmoved=(Unmoved("setup_ms p50", 500.0),),
    ),
)
