"""`callquake intelligibility`: how well a recogniser understands the agent's recorded answers."""

import argparse
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.exit_codes import ExitCode
from harness.measure.sampling import Sampling, draw
from harness.model.errors import ScenarioError
from harness.report import intelligibility as stored
from harness.report.finish import finish_run
from harness.report.store import StoredRun, read_run

if TYPE_CHECKING:
    from harness.corpus.offline_stt import Transcriber
    from harness.intelligibility.answers import Answer

SAMPLE = 200
DESCRIPTION = """\
Transcribe recorded answers of the agent with a local faster-whisper model and compare with the text that the agent
meant to say: a voice that a recogniser mishears is hard for people on a bad line, too. Needs recordings (`record` in
the scenario) and an agent that tells its text (RTVI, OpenAI's events). Beyond --sample answers a seeded sample is
heard. Writes intelligibility.json into the run's directory, and the run's reports anew with it.
"""
EPILOG = """\
examples:
  callquake intelligibility reports/<run-id>
  callquake intelligibility reports/<run-id> --sample 50 --model ~/models/whisper-small.en

exit codes: 0 scored, 97 no answer could be scored, 104 wrong option or no run, 105 interrupted (what was heard until
then is scored and written)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="like reports/<run-id>")
    parser.add_argument(
        "--sample", type=_whole, default=SAMPLE, metavar="N", help="hear at most N answers; default: %(default)s"
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="a faster-whisper model; default: tiny.en as fetched")
    parser.add_argument("--seed", type=_seed, metavar="N", help="of the sample and the interval; default: the run's")


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r}; legal: a whole number from 1")
    return int(text)


def _seed(text: str) -> int:
    return 0 if text == "0" else _whole(text)


def intelligibility(options: argparse.Namespace) -> int:
    """Hear, score and write; returns the exit code. Raises ScenarioError."""
    from harness.corpus.offline_stt import OfflineStt, default_model_dir  # noqa: PLC0415  loads a model's libraries

    run = read_run(options.run_dir)
    seed = run.info.seed if options.seed is None else options.seed
    return score(run, seed, options.sample, lambda: OfflineStt(options.model or default_model_dir()))


def score(run: StoredRun, seed: int, sample: int, make_stt: "Callable[[], Transcriber]") -> int:
    """Hear a sample of the run's answers and write what comes of it; the model is made once there is one to hear."""
    from harness.intelligibility.answers import answers_of  # noqa: PLC0415  with what it needs

    answers, skipped = answers_of(run.turns, run.calls)
    if not answers:
        print(f"{run.directory}: no answer of the agent can be scored{_because(skipped)}", file=sys.stderr)
        return ExitCode.NO_DATA
    chosen = draw(answers, lambda a: (a.call_id, a.turn, a.attempt), Sampling(at_most=sample), seed)
    stt = make_stt()
    heard, unheard, was_cut = _hear(run, chosen, stt)
    if unheard:
        skipped = {**skipped, "their recording could not be read": unheard}
    if not heard:
        print(f"{run.directory}: no answer could be heard{_because(skipped)}", file=sys.stderr)
        return ExitCode.INTERRUPTED if was_cut else ExitCode.NO_DATA
    _write(run, str(stt.identity), seed, len(answers) - unheard, skipped, heard)
    return ExitCode.INTERRUPTED if was_cut else ExitCode.PASSED


def _hear(run: StoredRun, chosen: "list[Answer]", stt: "Transcriber") -> tuple[list[stored.HeardAnswer], int, bool]:
    """Return what was heard, how many had no audio, and whether Ctrl-C ended it."""
    from harness.intelligibility.hear import hear_answers  # noqa: PLC0415  see above

    heard: list[stored.HeardAnswer] = []
    unheard = 0
    calls = {call.call_id: call for call in run.calls}
    try:
        for answer, text in hear_answers(chosen, run.directory, calls, run.turns, stt, _say):
            if text is None:
                unheard += 1
            else:
                heard.append(stored.HeardAnswer(answer.call_id, answer.turn, answer.attempt, answer.text, text))
    except KeyboardInterrupt:
        # A second one ends what is left: writing the files takes a moment.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _say("interrupted: what was heard until now is scored")
        return heard, unheard, True
    return heard, unheard, False


def _write(
    run: StoredRun, recogniser: str, seed: int, n: int, skipped: Mapping[str, int], heard: list[stored.HeardAnswer]
) -> None:
    try:
        stored.write(run.directory, recogniser, seed, n, skipped, heard)
    except OSError as error:
        raise ScenarioError(f"{run.directory / stored.NAME}: cannot be written: {error.strerror}") from error
    found = stored.score(recogniser, seed, n, skipped, heard)
    print(found.words)
    for one in found.worst[:3]:
        print(f"  {one.answer.call_id} turn {one.answer.turn}: {one.answer.said!r}, heard {one.answer.heard!r}")
    for reason, count in skipped.items():
        print(f"  {count} answers not scored: {reason}")
    result = finish_run(run.directory, print_report=False)
    print(f"Report: {result.report_path}")


def _because(skipped: Mapping[str, int]) -> str:
    told = "; ".join(f"{count}: {reason}" for reason, count in skipped.items())
    return f" ({told})" if told else ": the agent answered nothing"


def _say(line: Any) -> None:
    print(line, file=sys.stderr, flush=True)
