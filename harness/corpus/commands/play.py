"""`callquake corpus play`: hear clips, or get them as WAV where nothing here can play."""

import argparse
import shutil
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.corpus.commands.options import Commands, add_command, add_corpus, add_filters, chosen_clips
from harness.corpus.entry import Utterance
from harness.corpus.manifest import Corpus, load_corpus, verify_clip
from harness.exit_codes import ExitCode
from harness.model.errors import ScenarioError

_EXAMPLES = """\
  callquake corpus play ID
  callquake corpus play --accent hindi-l1 --condition clean --first 3
  callquake corpus play ID --wav /tmp/heard.wav
  callquake corpus play --corpus my-callers --tag doubtful --speech-only
"""
# The first one found plays; each takes a WAV file and ends with it.
_PLAYERS = (
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error"),
    ("pw-play",),
    ("paplay",),
    ("aplay", "-q"),
    ("play", "-q"),
)


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "play",
        "hear clips, or write them as WAV",
        "Play clips through the first of ffplay, pw-play, paplay, aplay and sox's play that is installed. Where there\n"
        "is none, or it fails (a machine without sound), the clip is written as WAV and its place is printed.",
        _EXAMPLES,
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="of `callquake corpus list`; or choose by the filters")
    add_corpus(parser)
    add_filters(parser)
    parser.add_argument("--first", type=int, metavar="N", help="of those chosen, only the first N")
    parser.add_argument("--speech-only", action="store_true", help="from speech start to speech end, to hear the edges")
    parser.add_argument("--wav", type=Path, metavar="FILE", help="do not play: write one clip to FILE")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Play or write each chosen clip, saying its words first."""
    corpus = load_corpus(options.corpus, verify=False)
    clips = _chosen(corpus, options)
    if options.wav is not None:
        if len(clips) != 1:
            raise ScenarioError(f"--wav {options.wav}: takes one clip, {len(clips)} are chosen; name one ID")
        _write(clips[0], options.wav, options.speech_only)
        print(f"{clips[0].id}: {options.wav}")
        return ExitCode.PASSED
    player = find_player(shutil.which)
    for clip in clips:
        print(f"{clip.id} ({clip.accent}, {clip.condition}): {clip.transcript}", flush=True)
        _play(clip, player, options.speech_only)
    return ExitCode.PASSED


def find_player(which: Callable[[str], str | None]) -> tuple[str, ...] | None:
    """Return the command line, without the file, of the first player that `which` finds; None where it finds none."""
    return next(((found, *words) for name, *words in _PLAYERS if (found := which(name))), None)


def _chosen(corpus: Corpus, options: argparse.Namespace) -> list[Utterance]:
    clips = chosen_clips(corpus, options, options.ids)
    if options.ids:
        # In the order asked for, as often as asked for.
        by_id = {clip.id: clip for clip in clips}
        clips = [by_id[name] for name in options.ids if name in by_id]
    if options.first is not None and options.first < 1:
        raise ScenarioError(f"--first {options.first}: legal: 1 or more")
    return clips[: options.first]


def _play(clip: Utterance, player: tuple[str, ...] | None, speech_only: bool) -> None:
    with TemporaryDirectory(prefix="callquake-play-") as folder:
        file = Path(folder) / f"{clip.id}.wav"
        _write(clip, file, speech_only)
        problem = "no player is installed" if player is None else _failure([*player, str(file)])
        if problem is not None:
            kept = Path(f"{clip.id}.wav")
            shutil.copyfile(file, kept)
            print(f"{clip.id}: {problem}; written to {kept.absolute()}", file=sys.stderr)


def _failure(command: list[str]) -> str | None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode == 0:
        return None
    said = done.stderr.strip().splitlines()
    return f"{Path(command[0]).name} failed ({said[-1] if said else f'exit code {done.returncode}'})"


def _write(clip: Utterance, file: Path, speech_only: bool) -> None:
    from harness.corpus.audio import read_pcm  # noqa: PLC0415  loads numpy and the decoder

    verify_clip(clip)
    pcm = read_pcm(clip, clip.sample_rate)
    if speech_only:
        begin, end = (round(ms * clip.sample_rate / 1000) for ms in (clip.speech_start_ms, clip.speech_end_ms))
        pcm = pcm[begin:end]
    try:
        with file.open("wb") as target, wave.open(target, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(clip.sample_rate)
            out.writeframes(pcm.astype("<i2").tobytes())
    except OSError as error:
        raise ScenarioError(f"{file}: cannot write: {error.strerror}") from error
