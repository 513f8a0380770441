"""The audio of answers, cut out of their calls' recordings, and what a recogniser hears in it."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

from harness.analyze.recording import Recording, read_recording
from harness.corpus.audio import Pcm, resample
from harness.corpus.offline_stt import RATE, Transcriber
from harness.corpus.progress import Progress
from harness.intelligibility.answers import Answer
from harness.model.errors import ScenarioError
from harness.model.records import CallRecord, TurnRecord

# What is taken along: breath before an onset that was found late, and the tail of the last word.
_BEFORE_MS, _BEHIND_MS = 200.0, 300.0
# Words cannot be told from shorter audio.
_SHORTEST_MS = 100.0
Cut = Callable[[Answer], Pcm]


def hear_answers(
    answers: Sequence[Answer],
    run_dir: Path,
    calls: Mapping[str, CallRecord],
    turns: Sequence[TurnRecord],
    stt: Transcriber,
    say: Callable[[str], None],
) -> Iterator[tuple[Answer, str | None]]:
    """Yield each answer with what is heard in it, call by call; None where its recording has no such audio.

    A recording that is missing or damaged is said, and its answers are None; it stops nothing.
    """  # fmt: skip
    of_call: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        of_call[answer.call_id].append(answer)
    progress, done = Progress([1.0] * len(answers)), 0
    for call_id, its_answers in of_call.items():
        cut = _cutter(run_dir, calls[call_id], [t for t in turns if t.call_id == call_id], say)
        for answer in its_answers:
            audio = cut(answer) if cut else None
            text = stt.transcribe(audio) if audio is not None and len(audio) >= _SHORTEST_MS * RATE / 1000 else None
            left = progress.step(done, is_new=True)
            done += 1
            said = "no audio of it" if text is None else text
            say(f"{done}/{len(answers)} {call_id} turn {answer.turn}: {said}{left}")
            yield answer, text


def _cutter(run_dir: Path, call: CallRecord, turns: Sequence[TurnRecord], say: Callable[[str], None]) -> Cut | None:
    """Return what cuts answers out of a call's recording, None where that cannot be read."""
    try:
        recording = read_recording([_file(run_dir, call)])
    except ScenarioError as error:
        say(f"{call.call_id}: its answers are not heard: {error}")
        return None
    began_ns = _began_ns(recording, call, turns)

    def cut(answer: Answer) -> Pcm:
        first = max(0, _place(answer.onset_at_ns - began_ns, -_BEFORE_MS, recording.rate))
        last = max(first, _place(answer.ended_at_ns - began_ns, _BEHIND_MS, recording.rate))
        samples = recording.agent[first:last]
        return samples if recording.rate == RATE or not len(samples) else resample(samples, recording.rate, RATE)

    return cut


def _file(run_dir: Path, call: CallRecord) -> Path:
    """Return the recording's path; refuses one outside of the run's directory."""
    path = (run_dir / (call.recording or "")).resolve()
    if not path.is_relative_to(run_dir.resolve()):
        raise ScenarioError(f"{call.recording}: not inside the run's directory")
    return path


def _place(at_ns: int, shift_ms: float, rate: int) -> int:
    return int((at_ns / 1e6 + shift_ms) * rate / 1000)


def _began_ns(recording: Recording, call: CallRecord, turns: Sequence[TurnRecord]) -> int:
    """Return when the recording began: by the utterances its log has on its own time line, else at connection."""
    began: list[int] = []
    spoken = sorted((t for t in turns if t.speech_ended_at_ns is not None), key=lambda t: t.speech_ended_at_ns or 0)
    left = list(recording.log.clips) if recording.log else []
    for turn in spoken:
        clip = next((c for c in left if c.utterance_id == turn.utterance_id), None)
        if clip is not None and turn.speech_ended_at_ns is not None:
            left.remove(clip)
            began.append(turn.speech_ended_at_ns - int(clip.speech_end_ms * 1e6))
    return int(median(began)) if began else call.connected_at_ns or call.started_at_ns
