"""What a reader must know beside the numbers: how the run ended, what was simulated, what was not measured."""

from harness.measure.run import Measured
from harness.model.clock import NS_PER_S
from harness.model.records import Cause
from harness.report.store import StoredRun
from harness.verdict.verdict import RunStatus

_ENDINGS = {
    RunStatus.INTERRUPTED: "The run was interrupted; this is a report on the part that ran.",
    RunStatus.RUNNING: "The run was killed before it could end; this is a report on what reached the disk.",
    RunStatus.ENGINE_DIED: "An engine process died; calls it held are counted as lost, in no ratio.",
    RunStatus.TARGET_UNREACHABLE: "The target could not be reached.",
}
_LOCUST_DIED = "The load generator died; calls it held that had spoken are counted as lost, in no ratio."
PATIENCE_NOTE = (
    "When a caller hangs up is decided by a model of patience (seeded, set per persona): drop-off is that model's "
    "answer to the measured behaviour. It compares runs; it does not forecast what people would do."
)
PRECISION_NOTE = (
    "TTFB runs from the real send time of the last voiced packet to the kernel's receive time of the packet that "
    "begins audible speech. An agent sends a packet every 20 ms, so no single TTFB is finer than 20 ms."
)


def notes_of(run: StoredRun, measured: Measured) -> list[str]:
    """Return the notes of a run, the gravest first, each a sentence."""
    ending = _LOCUST_DIED if run.info.locust_died else _ENDINGS.get(run.info.status)
    return [
        *([ending] if ending else []),
        *_target_gone(run),
        *run.info.notes,
        *run.notes,
        *(f"Simulated: {what}." for what in run.info.simulated),
        *_not_measured(measured),
        *_left_out(run, measured),
        *(f"Generator: {warning}." for warning in measured.health.warnings),
        *([PATIENCE_NOTE] if run.calls else []),
        *([PRECISION_NOTE] if measured.ttfb.n_answered else []),
    ]


def _target_gone(run: StoredRun) -> list[str]:
    """Say when the target was lost: calls it held fell silent, or could not be placed after others had been."""
    held = [c for c in run.calls if c.connected_at_ns is not None and c.cause is Cause.MEDIA_LOST]
    connected = [c.connected_at_ns for c in run.calls if c.connected_at_ns is not None]
    refused = [
        c
        for c in run.calls
        if c.cause is Cause.SIGNALLING_UNREACHABLE and connected and c.started_at_ns > min(connected)
    ]
    if not refused:
        return []
    since_s = (min(c.started_at_ns for c in refused) - (run.info.started_monotonic_ns or 0)) / NS_PER_S
    return [
        (
            f"The target went away during the run: from {since_s:.0f} s on, {len(refused)} calls could not reach it, "
            f"and {len(held)} calls it held fell silent."
        )
    ]


def _not_measured(measured: Measured) -> list[str]:
    notes = []
    if measured.wer.overall is None and measured.turns:
        notes.append(f"WER was not measured: {measured.wer.reason}.")
    if measured.ttfb.n_answered and not measured.stages.n:
        notes.append("The stages of a turn were not measured: the target tells nothing of its own times.")
    return notes


def _left_out(run: StoredRun, measured: Measured) -> list[str]:
    """Name every record that is in no ratio, with the reason."""
    ended = {call.call_id for call in run.calls}
    open_calls = len({turn.call_id for turn in run.turns} - ended)
    figures = measured.ttfb
    pairs = [
        (figures.n_cut, "Turns cut because the operator or the engine ended their call, in no ratio"),
        (figures.n_unspoken, "Turns that ended before the caller had finished speaking, and awaited no answer yet"),
        (
            figures.n_false_endpoints - figures.n_false_endpoints_unanswered,
            "False endpoints with an answer, counted apart and in no TTFB percentile",
        ),
        (figures.n_false_endpoints_unanswered, "False endpoints that then stayed unanswered, counted as unanswered"),
        (
            figures.n_out_of_step,
            "Turns answered after another of their call had timed out, perhaps with its answer: in no TTFB percentile",
        ),
        (measured.wer.n_unscored, "Utterances without a WER, because their calls ended before a transcript came"),
        (open_calls, "Calls with turns but without an end on record"),
        (measured.counts.generator_errors, "Calls failed by an error of the generator, in no ratio"),
    ]
    return [f"{text}: {count}." for count, text in pairs if count]
