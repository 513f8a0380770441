"""What the bundled agent needs beside its stages, gone wrong, by its admin API."""

from harness.faults.families.stage import STAGES, target_kind
from harness.faults.kind import Kind
from harness.faults.parameter import choice, number
from harness.model.fault import Direction, Symptom

_DAYS_400_S = 400 * 86_400
_GONE = Symptom("drop_off", Direction.UP, 0.1)

KINDS: tuple[Kind, ...] = (
    target_kind(
        "target.clock_skew",
        "the agent's wall clock is wrong: consents, their evidence and the times told to clients; never a deletion",
        (number("skew_s", "ahead; negative: behind", low=-_DAYS_400_S, high=_DAYS_400_S),),
        "readings of the wall clock that were wrong",
        share=False,
    ),
    target_kind(
        "target.disk_full",
        "the agent's disk is full (ENOSPC, emulated where it writes): event log and recordings",
        (),
        "writes refused",
        share=False,
        needs="`callquake up --events FILE` or --compliance FILE, and its admin API",
    ),
    target_kind(
        "target.database_loss",
        "the agent's database does not answer (emulated where it is asked): consents can be neither read nor given",
        (),
        "questions to the database that failed",
        (_GONE,),
        share=False,
        needs="`callquake up --compliance FILE`, and its admin API",
    ),
    target_kind(
        "target.certificate_expiry",
        "who connects by SIP over TLS is shown a certificate that ran out yesterday; for the same hosts and key",
        (),
        "TLS handshakes shown it",
        (_GONE,),
        share=False,
        needs="`callquake up --sips-port PORT`, a self-signed certificate, no media servers; callers that check it",
    ),
    target_kind(
        "gpu.loss",
        "a GPU is lost (emulated): its stages' processes die, requests fail, models are loaded anew afterwards",
        (choice("stage", "whose work it did", ("all", *STAGES), "all"),),
        "requests lost with it, under way or new; how long the models took to load again",
        (Symptom("response_ratio", Direction.DOWN, 0.1),),
    ),
)
