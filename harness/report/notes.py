"""What a reader must know beside the numbers: how the run ended, what was simulated, what was not measured."""

from collections.abc import Mapping

from harness.measure.run import Measured
from harness.model.clock import NS_PER_S
from harness.model.plan import CallLimits
from harness.model.records import CallRecord, Cause
from harness.report.echo_notes import notes_of_echo
from harness.report.fallback_words import notes_of_fallbacks
from harness.report.impairment_notes import notes_of_impairments
from harness.report.relay_notes import notes_of_relays
from harness.report.stage_notes import notes_of_stages
from harness.report.store import StoredRun
from harness.report.workers import notes_of_workers
from harness.verdict.verdict import RunStatus

# Calls that end this near to each other are taken to have lost the same thing.
_AT_ONE_TIME_NS = 3 * NS_PER_S
_LONGEST_MEDIA_TIMEOUT_S = 300
_ENDINGS = {
    RunStatus.INTERRUPTED: "The run was interrupted; this is a report on the part that ran.",
    RunStatus.RUNNING: "The run was killed before it could end; this is a report on what reached the disk.",
    RunStatus.ENGINE_DIED: "An engine process died; calls it held are counted as lost, in no ratio.",
    RunStatus.WORKER_LOST: "A worker did not come to its end; calls it held are counted as lost, in no ratio.",
    RunStatus.TARGET_UNREACHABLE: "The target could not be reached.",
}
_REFUSED = "An engine refused to start, or could not; no call was placed."
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
    ending = _ending(run)
    return [
        *([ending] if ending else []),
        *_target_gone(run),
        *_never_answered(run),
        *_silenced_on_purpose(run),
        *notes_of_echo(run.calls),
        *notes_of_workers(run.info.workers),
        *run.info.notes,
        *run.notes,
        *(f"Simulated: {what}." for what in run.info.simulated),
        *notes_of_impairments(run.calls),
        *notes_of_relays(run.calls),
        *notes_of_fallbacks(run.calls),
        *notes_of_stages(measured.turns),
        *_not_measured(measured),
        *_left_out(run, measured),
        *(f"Generator: {warning}." for warning in measured.health.warnings),
        *([PATIENCE_NOTE] if run.calls else []),
        *([PRECISION_NOTE] if measured.ttfb.n_answered else []),
    ]


def _ending(run: StoredRun) -> str | None:
    if run.info.locust_died:
        return _LOCUST_DIED
    # The run's own note says why.
    if run.info.status is RunStatus.ENGINE_DIED and not run.calls and _did_not_start(run):
        return _REFUSED
    return _ENDINGS.get(run.info.status)


def _did_not_start(run: StoredRun) -> bool:
    return any(words in note for note in run.info.notes for words in ("did not start", "was not ready"))


def _target_gone(run: StoredRun) -> list[str]:
    """Say when the target was lost: calls it held fell silent, or could not be placed after others had been."""
    held = [c for c in _silent(run) if c.media.packets_received and not _is_silenced(c)]
    connected = [c.connected_at_ns for c in run.calls if c.connected_at_ns is not None]
    refused = [
        c
        for c in run.calls
        if c.cause is Cause.SIGNALLING_UNREACHABLE and connected and c.started_at_ns > min(connected)
    ]
    if not refused:
        return _fell_silent(run, held)
    since_s = (min(c.started_at_ns for c in refused) - (run.info.started_monotonic_ns or 0)) / NS_PER_S
    return [
        (
            f"The target went away during the run: from {since_s:.0f} s on, {len(refused)} calls could not reach it, "
            f"and {len(held)} calls it held fell silent."
        )
    ]


def _never_answered(run: StoredRun) -> list[str]:
    """Tell of the calls that the target sent nothing at all."""
    calls = [c for c in _silent(run) if not c.media.packets_received and not _is_silenced(c)]
    if not calls:
        return []
    return [f"The target never answered {_calls(len(calls))}: not one packet of audio came from it."]


def _silenced_on_purpose(run: StoredRun) -> list[str]:
    """Tell of the calls whose agent our own impairments kept from being heard."""
    calls = [c for c in _silent(run) if _is_silenced(c)]
    if not calls:
        return []
    dropped = sum(c.media.impaired_lost_incoming for c in calls)
    came = dropped + sum(c.media.packets_received for c in calls)
    network = "; ".join(sorted({c.impairments["incoming"] for c in calls if "incoming" in c.impairments}))
    return [
        (
            f"{_calls(len(calls))} fell silent behind the incoming impairment put on them ({network}), which dropped "
            f"{dropped} of {came} packets: that says nothing of the target."
        )
    ]


def _silent(run: StoredRun) -> list[CallRecord]:
    """Return the calls that were given up because nothing more was heard."""
    return [c for c in run.calls if c.connected_at_ns is not None and c.cause is Cause.MEDIA_LOST]


def _is_silenced(call: CallRecord) -> bool:
    """Return whether we dropped at least as much of the agent as we let through."""
    dropped = call.media.impaired_lost_incoming
    return dropped > 0 and dropped >= call.media.packets_received


def _calls(n: int) -> str:
    return "1 call" if n == 1 else f"{n} calls"


def _fell_silent(run: StoredRun, held: list[CallRecord]) -> list[str]:
    """Say that the target was lost when no call was due afterwards: the calls it held fell silent at one time."""
    ends = sorted(call.ended_at_ns for call in held)
    groups = [[at for at in ends if first <= at <= first + _AT_ONE_TIME_NS] for first in ends]
    silent = max(groups, key=len, default=[])
    if not silent or (len(silent) < 2 and not _held_all(run, silent[0])):
        return []
    # A call is given up some time after the last packet; its silence began then.
    at_s = (silent[0] - _media_timeout_ns(run) - (run.info.started_monotonic_ns or 0)) / NS_PER_S
    return [
        f"The target went away during the run: {_calls(len(silent))} it held fell silent at {max(0.0, at_s):.0f} s."
    ]


def _held_all(run: StoredRun, ended_at_ns: int) -> bool:
    """Return whether the call that ended then was the only one connected, and none connected afterwards."""
    silent_at_ns = ended_at_ns - _media_timeout_ns(run)
    others = [c for c in run.calls if c.connected_at_ns is not None and c.ended_at_ns != ended_at_ns]
    return all(c.ended_at_ns < silent_at_ns for c in others)


def _media_timeout_ns(run: StoredRun) -> int:
    limits = run.info.scenario.get("limits")
    seconds = limits.get("media_timeout_s") if isinstance(limits, Mapping) else None
    # The longest that a scenario may say; what is beyond it stands in a damaged run.json.
    if not isinstance(seconds, int | float) or not 0 < seconds <= _LONGEST_MEDIA_TIMEOUT_S:
        seconds = CallLimits().media_timeout_ms / 1000
    return round(seconds * NS_PER_S)


def _not_measured(measured: Measured) -> list[str]:
    notes = []
    if measured.sip is not None and measured.sip.without_media:
        notes.append(
            f"{_calls(measured.sip.without_media)} carried no audio (target.sip.media: false): nothing of media, TTFB "
            "or WER was measured on them."
        )
    if measured.wer.overall is None and measured.turns:
        notes.append(f"WER was not measured: {measured.wer.reason}.")
    if measured.by_target is not None and measured.wer.overall is not None:
        notes += [f"WER of {t.name} was not measured: {t.why_no_wer}." for t in measured.by_target.targets if not t.wer]
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
