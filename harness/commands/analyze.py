"""`callquake analyze`: one recording, two channels of one, or all recordings of a run."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.output import write_text
from harness.exit_codes import ExitCode
from harness.model.errors import ScenarioError

if TYPE_CHECKING:
    from collections.abc import Callable

_EPILOG = """\
What is measured, and how it is told from sound alone: docs/analyze.md. Progress goes to standard error.

examples:
  callquake analyze call.wav                                   caller left, agent right
  callquake analyze call.mp3 --caller right --labels call.txt --picture call.svg
  callquake analyze caller.wav agent.wav --json call.json      two files of one channel each
  callquake analyze call.wav --transcript turns.json           [{"turn": 1, "said": "...", "heard": "..."}, ...]
  callquake analyze call.wav --said said.txt --model ~/models/faster-whisper-tiny.en     WER as a local model has it
  callquake analyze reports/20260101T120000Z-smoke-1a2b        every recorded call, beside what was measured live

exit codes: 0 measured (of a run: and equal to its records to 20 ms), 97 no turn was heard, 99 a recording and its run's
records differ, 104 wrong file or option, 105 interrupted.
"""


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "analyze",
        help="TTFB, yield, talk-over and dead air of a recorded call",
        description="Tell from a recording with caller and agent on channels of their own what a live call tells:\n"
        "TTFB of every turn, greeting, false endpoints, barge-ins and yield time, dead air; WER with transcripts.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "recording", nargs="+", type=Path, metavar="RECORDING", help="WAV, FLAC, Opus, MP3 ..., 8 to 48 kHz"
    )
    parser.add_argument(
        "--caller", choices=("left", "right"), default="left", help="the caller's channel (default: left)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything measured, as JSON")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="the marks as an Audacity label track")
    parser.add_argument("--picture", type=Path, metavar="FILE.svg", help="both channels with the marks")
    words = parser.add_argument_group("WER")
    words.add_argument("--transcript", type=Path, metavar="FILE.json", help="what was said and understood, by turn")
    words.add_argument("--said", type=Path, metavar="FILE", help="what was said, a line a turn")
    words.add_argument("--heard", type=Path, metavar="FILE", help="what the agent understood, a line a turn")
    words.add_argument("--model", type=Path, metavar="DIR", help="transcribe the caller by faster-whisper: an estimate")
    parser.add_argument(
        "--corpus",
        type=Path,
        metavar="DIR",
        help="corpus whose utterances are looked for (default: the shipped one)",
    )
    how = parser.add_argument_group("how turns are told apart")
    how.add_argument(
        "--pause-ms", type=float, default=2000, metavar="MS", help="a longer pause ends a turn (default: 2000)"
    )
    how.add_argument(
        "--quiet-ms",
        type=float,
        default=900,
        metavar="MS",
        help="a longer silence ends the agent's speech (default: 900)",
    )
    how.add_argument(
        "--dead-air-ms", type=float, default=3000, metavar="MS", help="a longer silence is dead air (default: 3000)"
    )
    how.add_argument("--no-log", action="store_true", help="of a recording of our own: by its sound alone")
    parser.set_defaults(call=analyze)


def analyze(options: argparse.Namespace) -> int:
    """Run the command; returns its exit code."""
    _check(options)
    from harness.analyze.of_run import is_run  # noqa: PLC0415  numpy and the decoder, which no other command needs

    if is_run(options.recording[0]):
        return _of_run(options)
    return _of_recording(options)


def _check(options: argparse.Namespace) -> None:
    if len(options.recording) > 2:
        raise ScenarioError(f"RECORDING: got {len(options.recording)} files; legal: one of two channels, or two of one")
    for name in ("pause_ms", "quiet_ms", "dead_air_ms"):
        value = getattr(options, name)
        if not 100 <= value <= 60_000:
            raise ScenarioError(f"--{name.replace('_', '-')}: got {value:g}; legal: 100 to 60000")
    if options.picture is not None and options.picture.suffix != ".svg":
        raise ScenarioError(f"--picture: got {options.picture}; legal: a name that ends in .svg")
    if options.transcript and (options.said or options.heard):
        raise ScenarioError("--transcript: not together with --said and --heard")
    if options.heard and not options.said:
        raise ScenarioError("--heard: needs --said, the references")
    for path in options.recording:
        if not path.exists():
            raise ScenarioError(f"{path}: there is no such file or run")


def _of_recording(options: argparse.Namespace) -> int:
    from harness.analyze import as_json, labels, picture, transcripts, words  # noqa: PLC0415  see analyze
    from harness.analyze.analyse import analyse  # noqa: PLC0415
    from harness.analyze.recording import read_recording  # noqa: PLC0415
    from harness.analyze.totals import totals_of  # noqa: PLC0415

    if options.recording[0].is_dir():
        raise ScenarioError(f"{options.recording[0]}: is a directory, and no run's (calls.jsonl is not in it)")
    corpus, settings = _settings(options)
    given: dict[int, transcripts.Words] = {}
    if options.transcript:
        given = transcripts.read_json(options.transcript, corpus)
    elif options.said:
        given = transcripts.read_texts(options.said, options.heard)
    analysis = analyse(read_recording(options.recording, options.caller), settings, _say)
    turns = analysis.conversation.turns
    heard_by, notes = "the agent, as its transcript says", []
    if not given and corpus is not None:
        # Utterances that the recording names, or that were found in it, say themselves what was said.
        known = {t.number: corpus.utterances[t.utterance_id] for t in turns if t.utterance_id in corpus.utterances}
        given = {number: transcripts.Words(clip.transcript) for number, clip in known.items()}
    elif given and (warning := transcripts.check_count(given, turns)):
        notes.append(warning)
    if options.model:
        _say("transcribing")
        stt = _local_stt(options.model)
        given = transcripts.estimated(turns, analysis.recording.caller, analysis.recording.rate, stt.transcribe, given)
        heard_by = f"a local model ({options.model.name}), an estimate: not what the agent understood"
    wer = transcripts.wer_of(turns, given, heard_by)
    totals = totals_of([analysis.conversation])
    print(words.render(analysis, totals, wer, notes), end="")
    wanted: list[tuple[Path | None, Callable[[], str]]] = [
        (options.json, lambda: _dumped(as_json.as_json(analysis, totals, given, wer))),
        (options.labels, lambda: labels.labels(analysis.conversation)),
        (options.picture, lambda: picture.picture(analysis)),
    ]
    for path, text in wanted:
        if path is not None:
            _write(path, text())
    return ExitCode.PASSED if turns else ExitCode.NO_DATA


def _of_run(options: argparse.Namespace) -> int:
    from harness.analyze import as_json, run_words  # noqa: PLC0415  see analyze
    from harness.analyze.of_run import analyse_run  # noqa: PLC0415
    from harness.analyze.totals import totals_of  # noqa: PLC0415

    if options.labels or options.picture or options.transcript or options.said or options.model:
        raise ScenarioError("of a run only --json is written; name one of its recordings (audio/*.flac) for the rest")
    _, settings = _settings(options)
    _, calls = analyse_run(options.recording[0], settings, _say)
    totals = totals_of([call.analysis.conversation for call in calls if call.analysis is not None])
    print(run_words.render(calls, totals), end="")
    if options.json is not None:
        document = {"calls": run_words.calls_json(calls), "totals": as_json.totals_json(totals)}
        _write(options.json, _dumped(document))
    if not totals.n_turns:
        return ExitCode.NO_DATA
    is_equal = all(pair.agrees for call in calls for pair in call.pairs) and not any(call.problem for call in calls)
    return ExitCode.PASSED if is_equal else ExitCode.FAILED


def _settings(options: argparse.Namespace) -> tuple[Any, Any]:
    from harness.analyze.analyse import Settings  # noqa: PLC0415  see analyze
    from harness.analyze.known_clips import KnownClips  # noqa: PLC0415
    from harness.corpus.manifest import MANIFEST_NAME, default_corpus_dir, load_corpus  # noqa: PLC0415

    corpus = None
    folder = options.corpus or default_corpus_dir()
    if options.corpus or (folder / MANIFEST_NAME).is_file():
        corpus = load_corpus(folder, verify=False)
    settings = Settings(
        quiet_ms=options.quiet_ms,
        pause_ms=options.pause_ms,
        dead_air_ms=options.dead_air_ms,
        use_log=not options.no_log,
        clips=None if corpus is None else KnownClips(corpus),
    )
    return corpus, settings


def _local_stt(model: Path) -> Any:
    try:
        from harness.corpus.offline_stt import OfflineStt  # noqa: PLC0415  needs the cpu extra

        return OfflineStt(model)
    except ImportError as error:
        raise ScenarioError(f"--model: needs faster-whisper (the cpu extra): {error}") from error


def _write(path: Path, text: str) -> None:
    write_text(path, text)
    print(f"{path}")


def _dumped(document: Any) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _say(what: str) -> None:
    if sys.stderr.isatty():
        print(f"analyze: {what}", file=sys.stderr, flush=True)
