"""An analysis on a terminal: a line a turn, then the totals, at most 96 columns."""

from collections.abc import Iterable

from harness.analyze.analyse import Analysis
from harness.analyze.denoise import Background
from harness.analyze.echo import Leak
from harness.analyze.totals import SURE_MS, Totals, is_unsure
from harness.analyze.transcripts import Wer
from harness.analyze.turns import Entry, Turn
from harness.measure.distribution import Sample
from harness.measure.ttfb import PERCENTILES
from harness.report.words import bounded_ms, interval, ms, percent

_SOURCES = {"measured": "", "log": "log", "clip": "corpus"}


def render(analysis: Analysis, totals: Totals, wer: Wer | None, notes: Iterable[str] = ()) -> str:
    """Return the report of one recording."""
    told = analysis.conversation
    rate = f"{analysis.recording.rate / 1000:g} kHz"
    lines = [f"{analysis.recording.name}   {told.duration_ms / 1000:.1f} s, analysed at {rate}", *_found(analysis)]
    greeting = "none before the caller spoke" if told.greeting_ms is None else ms(told.greeting_ms)
    lines += [f"Greeting {greeting} after the recording began", ""]
    if told.turns:
        lines.append(f"{'turn':>4} {'start s':>9} {'end s':>9} {'end by':>7} {'TTFB':>14}  what happened")
        lines += [_line(turn) for turn in told.turns]
    else:
        lines.append("No turn: nothing on the caller's channel is speech.")
    return "\n".join([*lines, "", *totals_lines(totals), *_wer(wer), *(f"Note: {note}" for note in notes)]) + "\n"


def _line(turn: Turn) -> str:
    if turn.entry is Entry.ANSWERED:
        ttfb = ms(turn.ttfb_ms)
    else:
        ttfb = f"≥ {ms(turn.waited_ms)}" if turn.entry is Entry.CENSORED else "-"
    source = _SOURCES[turn.end_from]
    if is_unsure(turn):
        ttfb += f" ±{turn.ttfb_within_ms:.0f}"
    start, end = turn.start_ms / 1000, turn.end_ms / 1000
    return f"{turn.number:>4} {start:>9.3f} {end:>9.3f} {source:>7} {ttfb:>14}  {_what(turn)}".rstrip()


def _what(turn: Turn) -> str:
    parts = ["no answer"] if turn.entry is Entry.CENSORED else []
    if turn.false_endpoint:
        parts.append("false endpoint: the agent began before the caller's end")
    if turn.barge_in is not None:
        did = "yielded after" if turn.barge_in.yielded else "did not yield, spoke on for"
        parts.append(f"barge-in: the agent {did} {ms(turn.barge_in.yield_ms)}")
    if turn.talk_over_ms >= 1:
        parts.append(f"both spoke {ms(turn.talk_over_ms)}")
    if turn.end_from == "log" and turn.onset_ms is not None and turn.measured_onset_ms is not None:
        later_ms = turn.measured_onset_ms - turn.onset_ms
        if abs(later_ms) > SURE_MS:
            parts.append(f"by its sound the answer begins {ms(abs(later_ms))} {'later' if later_ms > 0 else 'earlier'}")
    if turn.utterance_id:
        parts.append(turn.utterance_id)
    return "; ".join(parts)


def totals_lines(totals: Totals) -> list[str]:
    """Return the figures over all turns."""
    lines = [f"TTFB     {_percentiles(totals.ttfb)}"]
    if totals.ttfb.n:
        lines[0] += f"   response ratio {percent(totals.ttfb.response_ratio)}"
    if totals.n_unsure:
        lines.append(
            f"         {totals.n_unsure} of {totals.ttfb.n} not known to {SURE_MS:.0f} ms: "
            "an edge is lost in the background (9 in 10 within their ±)"
        )
    if totals.n_calls > 1:
        lines.append(f"Greeting {_percentiles(totals.greeting)}")
    lines += [
        f"Yield    {_percentiles(totals.yields)}",
        (
            f"False endpoints {totals.n_false_endpoints} of {totals.n_turns} turns   barge-ins {totals.n_barge_ins}   "
            f"both spoke {ms(totals.talk_over_ms)}"
        ),
        f"Dead air {totals.n_dead_air} times, {ms(totals.dead_air_ms)} in all",
    ]
    return lines


def _percentiles(sample: Sample) -> str:
    if not sample.n:
        return "not measured"
    marks = "   ".join(f"{name} {bounded_ms(sample.percentile(q))}" for name, q in PERCENTILES.items())
    return f"{marks}   n {sample.n}"


def _wer(wer: Wer | None) -> list[str]:
    if wer is None:
        return ["WER      not measured: no transcripts were given"]
    rate = wer.rate
    lines = [
        f"WER      {percent(rate.wer)}   95% {interval(rate.ci95) or 'interval: too few turns'}   {rate.n_words} words"
    ]
    lines.append(f"         understood by: {wer.heard_by}; {wer.n_left_out} turns without a transcript left out")
    return lines


def _found(analysis: Analysis) -> list[str]:
    lines = []
    for name, other, leak, background in (
        ("caller", "agent", analysis.leaks.caller, analysis.backgrounds.caller),
        ("agent", "caller", analysis.leaks.agent, analysis.backgrounds.agent),
    ):
        if isinstance(leak, Leak):
            lines.append(
                f"Echo: the {other} leaks into the {name}'s channel, {ms(leak.delay_ms)} late, {leak.loss_db:.0f} dB "
                "quieter; taken out"
            )
        if isinstance(background, Background):
            lines.append(
                f"Background on the {name}'s channel, {background.speech_dbfs - background.level_dbfs:.0f} dB under "
                "the speech; edges under it are estimated "
                "(± where one may be over 20 ms off)"
            )
    if analysis.by_packets:
        lines.append(
            "Recorded by Callquake: ends of speech and onsets as the call was told them (--no-log: by sound alone)"
        )
    return lines
