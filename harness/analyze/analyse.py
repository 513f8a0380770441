"""One recording, from samples to what happened in the call, with everything that was done to it on the way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.analyze import turns
from harness.analyze.agent_side import Speech, hear_agent
from harness.analyze.caller_side import frame_levels_db, hear_caller
from harness.analyze.denoise import Background, without_background
from harness.analyze.echo import Leak, without_leak
from harness.analyze.in_noise import sharpened
from harness.analyze.known_clips import KnownClips
from harness.analyze.recording import WIDE, Pcm, Recording
from harness.media.call_log import CallLog
from harness.media.hot.onset import SILENCE_DBFS

QUIET_MS = 900.0
# A pause that ends a stretch of the agent's where the caller spoke in it; others are pauses of the agent's own.
_SHORT_QUIET_MS = 300.0
# A measured end and the log's, or a clip's, are of one turn if they lie no further apart.
_SAME_TURN_MS = 1_500.0
_AROUND_MS = 100.0
# Speech without a background falls further than this from its loud to its quiet moments.
_DEEP_DB = 40.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How a recording is read; all in ms. `clips`: utterances that may be in it, asked in noise, or always."""

    quiet_ms: float = QUIET_MS
    pause_ms: float = turns.PAUSE_MS
    dead_air_ms: float = turns.DEAD_AIR_MS
    use_log: bool = True
    clips: KnownClips | None = None
    always_clips: bool = False


@dataclass(frozen=True, slots=True)
class Sides:
    """The same fact of both channels; None = there was none."""

    caller: Leak | Background | None
    agent: Leak | Background | None


@dataclass(frozen=True, slots=True)
class Analysis:
    """What happened, and what was found in the channels besides speech."""

    recording: Recording
    conversation: turns.Conversation
    leaks: Sides
    backgrounds: Sides
    # Whether arrival times of packets were at hand.
    by_packets: bool


def analyse(
    recording: Recording, settings: Settings | None = None, tell: Callable[[str], None] = lambda _: None
) -> Analysis:
    """Return what happened in `recording`; `tell` hears what is being done."""
    settings = settings or Settings()
    log = recording.log if settings.use_log else None
    rate = recording.rate
    tell("looking for echo")
    caller, caller_leak = without_leak(recording.caller, recording.agent, rate)
    agent, agent_leak = without_leak(recording.agent, recording.caller, rate)
    tell("looking for background noise")
    quiet_caller, caller_noise = without_background(caller, rate)
    quiet_agent, agent_noise = without_background(agent, rate)
    tell("listening to the caller")
    spoken = hear_caller(quiet_caller, rate)
    if caller_noise is not None:
        spoken = sharpened(caller, rate, spoken)
    tell("listening to the agent")
    if log is not None and log.packets:
        heard = hear_agent(recording.agent, rate, settings.quiet_ms, log.packets)
    else:
        heard = _hear_agent(agent, quiet_agent, rate, is_noisy=agent_noise is not None)
    heard = _merged(heard, spoken, settings.quiet_ms)
    # The telephone band has not all of a final /s/.
    is_hidden = caller_noise is not None or rate < WIDE or settings.always_clips
    conversation = _conversation(recording, caller, settings, log, spoken, heard, is_hidden=is_hidden)
    return Analysis(
        recording,
        conversation,
        Sides(caller_leak, agent_leak),
        Sides(caller_noise, agent_noise),
        bool(log and log.packets),
    )


def _hear_agent(noisy: Pcm, quiet: Pcm, rate: int, *, is_noisy: bool) -> list[Speech]:
    heard = hear_agent(quiet, rate, _SHORT_QUIET_MS)
    if not is_noisy:
        return heard
    # The detector looks back to what it heard; what began under the background lies before that.
    ends = [0.0, *(one.end_ms for one in heard)]
    return [
        Speech(max(before, min(sharp.start_ms, one.start_ms)), one.end_ms)
        for before, sharp, one in zip(ends, sharpened(noisy, rate, heard), heard, strict=False)
    ]


def _merged(heard: Sequence[Speech], spoken: Sequence[Speech], quiet_ms: float) -> list[Speech]:
    """Join the agent's stretches that a pause of its own parts: the caller said nothing in it."""
    merged: list[Speech] = []
    for one in heard:
        if merged and one.start_ms - merged[-1].end_ms < quiet_ms:
            pause = Speech(merged[-1].end_ms, one.start_ms)
            if not turns.overlap_ms(pause, spoken):
                merged[-1] = Speech(merged[-1].start_ms, one.end_ms)
                continue
        merged.append(one)
    return merged


def _conversation(
    recording: Recording,
    caller: Pcm,
    settings: Settings,
    log: CallLog | None,
    spoken: list[Speech],
    heard: list[Speech],
    *,
    is_hidden: bool,
) -> turns.Conversation:
    end_ms = recording.duration_ms
    if log is not None and log.clips:
        known = [
            (clip.utterance_id, "log", Speech(clip.speech_start_ms, clip.speech_end_ms))
            for clip in log.clips
            if clip.speech_end_ms <= end_ms
        ]
        grouped = [[speech] for _, _, speech in known]
    else:
        grouped = turns.group(spoken, heard, settings.pause_ms)
        known = []
        if settings.clips is not None:
            grouped, known = _with_clips(caller, recording.rate, settings.clips, grouped, is_hidden=is_hidden)
    said = [stretch for turn in grouped for stretch in turn]
    told = turns.told(grouped, said, heard, end_ms, settings.dead_air_ms)
    return replace(told, turns=tuple(_annotated(turn, known, spoken) for turn in told.turns))


def _with_clips(
    caller: Pcm, rate: int, clips: KnownClips, grouped: list[list[Speech]], *, is_hidden: bool
) -> tuple[list[list[Speech]], list[tuple[str, str, Speech]]]:
    """Return the turns with the edges of the clips that they are, as far as they are clips."""
    edged: list[list[Speech]] = []
    known: list[tuple[str, str, Speech]] = []
    for turn in grouped:
        found = clips.find(caller, rate, turn) if is_hidden or _is_hidden(caller, rate, turn) else None
        if found is None or (edged and found.speech.start_ms < edged[-1][-1].end_ms):
            edged.append(turn)
            continue
        edged.append([found.speech])
        known.append((found.utterance_id, "clip", found.speech))
    return edged, known


def _is_hidden(caller: Pcm, rate: int, turn: list[Speech]) -> bool:
    """Tell whether a turn has a background of its own, which sets in and ends with it: no dip of it is quiet."""
    first, last = (int(ms * rate / 1000) for ms in (turn[0].start_ms - _AROUND_MS, turn[-1].end_ms + _AROUND_MS))
    frames = frame_levels_db(caller[max(0, first) : last], rate)
    if not len(frames):
        return False
    return float(np.percentile(frames, 95) - np.percentile(frames[frames > SILENCE_DBFS + 1], 3)) < _DEEP_DB


def _annotated(turn: turns.Turn, known: list[tuple[str, str, Speech]], spoken: list[Speech]) -> turns.Turn:
    """Return `turn` with whose end it has, and what the audio alone says of it."""
    for utterance_id, source, speech in known:
        if speech.end_ms == turn.end_ms:
            near = [one.end_ms for one in spoken if abs(one.end_ms - turn.end_ms) < _SAME_TURN_MS]
            measured = min(near, key=lambda end: abs(end - turn.end_ms), default=None)
            return replace(turn, end_from=source, utterance_id=utterance_id, measured_end_ms=measured)
    return replace(turn, measured_end_ms=turn.end_ms)
