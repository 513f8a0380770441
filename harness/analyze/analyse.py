"""One recording, from samples to what happened in the call, with everything that was done to it on the way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harness.analyze import turns
from harness.analyze.agent_side import Speech, as_told, hear_agent
from harness.analyze.caller_side import hear_caller
from harness.analyze.denoise import Background, without_background
from harness.analyze.echo import Leak, without_leak
from harness.analyze.heard_clips import broken_off, with_clips
from harness.analyze.known_clips import KnownClips
from harness.analyze.recording import WIDE, Pcm, Recording
from harness.analyze.sharpened import is_hidden, sharpened
from harness.media.call_log import CallLog

QUIET_MS = 900.0
# A pause that ends a stretch of the agent's where the caller finished in it; others are pauses of the agent's own.
_SHORT_QUIET_MS = 300.0
# A measured edge and the log's, or a clip's, are of one turn if they lie no further apart.
_SAME_TURN_MS = 1_500.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How a recording is read; all in ms. `clips`: utterances that may be in it."""

    quiet_ms: float = QUIET_MS
    pause_ms: float = turns.PAUSE_MS
    dead_air_ms: float = turns.DEAD_AIR_MS
    use_log: bool = True
    clips: KnownClips | None = None


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
    # Whether what the call was told, and when its packets came, was at hand.
    by_packets: bool


@dataclass(frozen=True, slots=True)
class _Known:
    """A turn whose edges are known otherwise than by its sound."""

    utterance_id: str
    source: str
    speech: Speech


@dataclass(frozen=True, slots=True)
class _Caller:
    """The caller's channel without echo, what was heard in it, and that with the clips that were found in it."""

    pcm: Pcm
    is_noisy: bool
    heard: list[Speech]
    stretches: list[Speech]
    known: list[_Known]


def analyse(
    recording: Recording, settings: Settings | None = None, tell: Callable[[str], None] = lambda _: None
) -> Analysis:
    """Return what happened in `recording`; `tell` hears what is being done."""
    settings = settings or Settings()
    log = recording.log if settings.use_log else None
    rate = recording.rate
    tell("looking for echo")
    clean_caller, caller_leak = without_leak(recording.caller, recording.agent, rate)
    agent, agent_leak = without_leak(recording.agent, recording.caller, rate)
    tell("looking for background noise")
    quiet_caller, caller_noise = without_background(clean_caller, rate)
    quiet_agent, agent_noise = without_background(agent, rate)
    tell("listening to the caller")
    names_clips = log is not None and bool(log.clips)
    caller = _hear_caller(clean_caller, quiet_caller, rate, None if names_clips else settings.clips, caller_noise)
    tell("listening to the agent")
    if log is not None and log.packets:
        measured = hear_agent(recording.agent, rate, settings.quiet_ms, log.packets)
        heard = as_told(log, measured, recording.duration_ms)
    else:
        measured = heard = _hear_agent(agent, quiet_agent, rate, settings, is_noisy=agent_noise is not None)
    heard = _merged(heard, caller.stretches, settings.quiet_ms)
    tell("looking for utterances of the corpus")
    told = _conversation(recording, caller, settings, log, heard)
    conversation = replace(told, turns=tuple(_with_measured_onset(turn, measured) for turn in told.turns))
    return Analysis(
        recording,
        conversation,
        Sides(caller_leak, agent_leak),
        Sides(caller_noise, agent_noise),
        bool(log and log.packets),
    )


def _hear_caller(noisy: Pcm, quiet: Pcm, rate: int, clips: KnownClips | None, noise: Background | None) -> _Caller:
    heard = sharpened(noisy, rate, hear_caller(quiet, rate), is_everywhere=noise is not None)
    said = [] if clips is None else clips.search(noisy, rate)
    ends = [broken_off(one, heard) for one in said]
    stretches = with_clips(noisy, rate, heard, ends, [one.file for one in said], is_noisy=noise is not None)
    known = [_Known(one.utterance_id, "clip", one.speech) for one in said if one.is_whole]
    return _Caller(noisy, noise is not None, heard, stretches, known)


def _hear_agent(noisy: Pcm, quiet: Pcm, rate: int, settings: Settings, *, is_noisy: bool) -> list[Speech]:
    heard = hear_agent(quiet, rate, _SHORT_QUIET_MS)
    if not is_noisy:
        return heard
    # The detector looks back to what it heard; what began under the background lies before that.
    ends = [0.0, *(one.end_ms for one in heard)]
    sharp = [
        Speech(max(before, sharp.start_ms), max(one.end_ms, sharp.start_ms), sharp.start_within_ms, sharp.end_within_ms)
        for before, sharp, one in zip(ends, sharpened(noisy, rate, heard, is_everywhere=True), heard, strict=False)
    ]
    if settings.clips is None:
        return sharp
    said = settings.clips.search(noisy, rate)
    answers = [replace(broken_off(one, heard), start_ms=one.onset_ms) for one in said]
    return with_clips(noisy, rate, sharp, answers, [one.file for one in said], is_noisy=True)


def _merged(heard: Sequence[Speech], spoken: Sequence[Speech], quiet_ms: float) -> list[Speech]:
    """Join the agent's stretches that a pause of its own parts: the caller came to no end in it."""
    merged: list[Speech] = []
    for one in heard:
        if merged and _is_own_pause(merged[-1].end_ms, one.start_ms, spoken, quiet_ms):
            merged[-1] = replace(merged[-1], end_ms=one.end_ms, end_within_ms=one.end_within_ms)
        else:
            merged.append(one)
    return merged


def _is_own_pause(begin_ms: float, end_ms: float, spoken: Sequence[Speech], quiet_ms: float) -> bool:
    return end_ms - begin_ms < quiet_ms and not any(begin_ms < one.end_ms <= end_ms for one in spoken)


def _conversation(
    recording: Recording, caller: _Caller, settings: Settings, log: CallLog | None, heard: list[Speech]
) -> turns.Conversation:
    end_ms = recording.duration_ms
    if log is not None and log.clips:
        known = [
            _Known(clip.utterance_id, "log", Speech(clip.speech_start_ms, clip.speech_end_ms))
            for clip in log.clips
            if clip.speech_end_ms <= end_ms
        ]
        grouped = [[one.speech] for one in known]
    else:
        known = caller.known
        finished = {one.speech for one in known}
        grouped = turns.group(caller.stretches, heard, settings.pause_ms, finished)
        if settings.clips is not None:
            grouped, known = _with_clips(caller, recording.rate, settings.clips, grouped)
    said = [stretch for turn in grouped for stretch in turn]
    told = turns.told(grouped, said, heard, end_ms, settings.dead_air_ms)
    return replace(told, turns=tuple(_annotated(turn, known, caller.heard) for turn in told.turns))


def _with_clips(
    caller: _Caller, rate: int, clips: KnownClips, grouped: list[list[Speech]]
) -> tuple[list[list[Speech]], list[_Known]]:
    """Return the turns with the edges of the clips that they end with, as far as they are clips."""
    edged: list[list[Speech]] = []
    known = list(caller.known)
    ends = {one.speech.end_ms for one in known}
    for turn in grouped:
        # The telephone band has not all of a final /s/.
        hidden = caller.is_noisy or rate < WIDE or is_hidden(caller.pcm, rate, turn)
        found = None if turn[-1].end_ms in ends else clips.find(caller.pcm, rate, turn, is_hidden=hidden)
        if found is None or (edged and found.speech.start_ms < edged[-1][-1].end_ms):
            edged.append(turn)
            continue
        edged.append([*turn[: found.before], found.speech])
        known.append(_Known(found.utterance_id, "clip", found.speech))
    return edged, known


def _annotated(turn: turns.Turn, known: list[_Known], spoken: list[Speech]) -> turns.Turn:
    """Return `turn` with whose end it has, and what the audio alone says of it."""
    for one in known:
        if one.speech.end_ms == turn.end_ms:
            near = [other.end_ms for other in spoken if abs(other.end_ms - turn.end_ms) < _SAME_TURN_MS]
            measured = min(near, key=lambda end: abs(end - turn.end_ms), default=None)
            return replace(turn, end_from=one.source, utterance_id=one.utterance_id, measured_end_ms=measured)
    return replace(turn, measured_end_ms=turn.end_ms)


def _with_measured_onset(turn: turns.Turn, measured: Sequence[Speech]) -> turns.Turn:
    """Return `turn` with where the sound alone has its answer begin."""
    if turn.onset_ms is None:
        return turn
    nearest = min(measured, key=lambda one: abs(one.start_ms - turn.onset_ms), default=None)  # type: ignore[operator]
    if nearest is None or abs(nearest.start_ms - turn.onset_ms) > _SAME_TURN_MS:
        return turn
    return replace(turn, measured_onset_ms=nearest.start_ms)
