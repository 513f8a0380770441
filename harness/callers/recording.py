"""A recorded call when it is over: the file, and what its two sides tell of each other. Runs in a thread of its own."""

import logging
from collections.abc import Sequence
from pathlib import Path

from harness.media.recorder import Recorder, Sides
from harness.media.self_answers import self_answers
from harness.model.clock import ms_between
from harness.model.records import EchoFacts

# Around an utterance's speech its clip has breath and noise that are the caller's, too.
_BEFORE_MS, _BEHIND_MS = 100.0, 400.0


_logger = logging.getLogger(__name__)


def keep_recording(recorder: Recorder, path: Path, transcripts_ns: Sequence[int] | None) -> EchoFacts | None:
    """Write the recording and look for the agent's sound on the caller's side; None where that could not be told.

    `transcripts_ns`: when the agent told what it had understood; None = it tells nothing, so its silence says nothing.
    """
    sides = recorder.write(path)
    try:
        return _judged(recorder, sides, transcripts_ns)
    except Exception:
        # The file is there all the same.
        _logger.exception("%s: the two sides could not be compared", path.name)
        return None


def _judged(recorder: Recorder, sides: Sides, transcripts_ns: Sequence[int] | None) -> EchoFacts:
    clips = [(clip.speech_start_ms - _BEFORE_MS, clip.speech_end_ms + _BEHIND_MS) for clip in sides.log.clips]
    told = None
    if transcripts_ns is not None:
        told = [ms_between(recorder.started_at_ns, at_ns) for at_ns in transcripts_ns]
    return self_answers(sides.caller, sides.agent, sides.rate, clips, told)
