"""`python -m benchmarks.noisy_calls DIR`: how true `callquake analyze` is on calls that are put together under noise.

DIR holds recordings of single utterances (any audio file, quiet rooms). Each is cut to its speech, as find_edges has it
without noise, and brought to one level. Calls are made of four turns each: an utterance on the caller's channel, a
known gap of 0.1 to 3 s, another on the agent's. Noise lies under the caller's channel, or under both, so far under the
P.56 level of the channel's speech. Told is in how many turns the TTFB comes back to 20 ms, and how much of the error
is the end's and the onset's.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.failure import BenchmarkError
from harness.analyze.analyse import Settings, analyse
from harness.analyze.known_clips import KnownClips
from harness.analyze.recording import Recording
from harness.analyze.turns import Entry, Turn
from harness.corpus.audio import decode_file
from harness.corpus.edges import find_edges
from harness.corpus.levels import active_speech_level
from harness.corpus.manifest import load_corpus
from harness.measure.drop_off import wilson
from harness.model.errors import ScenarioError

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a")
NOISES = ("none", "white", "pink", "speech", "babble")
TURNS = 4
LEVEL_DBFS = -26.0
# Recordings with a background nearer to the speech than this have no edges that are known.
QUIET_DB = 38.0
LONGEST_S, SHORTEST_MS = 9.0, 400.0
BEFORE_MS, BEHIND_MS, FADE_MS = 40, 60, 20
TRUE_MS = 20.0
Samples = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Utterance:
    """Samples, full scale 1, and where speech begins and ends in them, ms."""

    name: str
    samples: Samples
    start_ms: float
    end_ms: float


@dataclass(frozen=True, slots=True)
class Error:
    """What came back of one turn, late by so many ms; `within_ms` is the error that was told as possible."""

    ttfb_ms: float
    end_ms: float
    onset_ms: float
    within_ms: float | None


def utterances_of(folder: Path, rate: int) -> list[Utterance]:
    """Read, cut and level the recordings of a folder that are quiet enough."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    found = [one for one in (_utterance(file, rate) for file in files) if one is not None]
    if len(found) < 2 * TURNS + 1:
        raise BenchmarkError(
            f"{folder}: {len(found)} of {len(files)} recordings are short and quiet enough; "
            f"a call needs {2 * TURNS + 1}"
        )
    return found


def _utterance(file: Path, rate: int) -> Utterance | None:
    try:
        pcm = decode_file(file, rate)
    except ScenarioError:
        return None
    edges = find_edges(pcm, rate)
    if edges is None or edges.end_ms - edges.start_ms < SHORTEST_MS or len(pcm) > LONGEST_S * rate:
        return None
    x = pcm / 32768
    level = active_speech_level(x, rate).active_dbfs
    frame = rate // 50
    frames = np.sqrt(np.mean(x[: len(x) // frame * frame].reshape(-1, frame) ** 2, axis=1))
    if level - 20 * np.log10(np.percentile(frames, 4) + 1e-7) < QUIET_DB:
        return None
    first, last = (round(ms * rate / 1000) for ms in (edges.start_ms - BEFORE_MS, edges.end_ms + BEHIND_MS))
    cut = x[max(0, first) : last] * 10 ** ((LEVEL_DBFS - level) / 20)
    fade = np.linspace(0, 1, FADE_MS * rate // 1000)
    cut[: len(fade)] *= fade
    cut[-len(fade) :] *= fade[::-1]
    silence = np.zeros(rate // 2)
    again = find_edges(np.concatenate([silence, cut, silence]), rate)
    return None if again is None else Utterance(file.name, cut, again.start_ms - 500, again.end_ms - 500)


def call_of(
    rng: np.random.Generator, utterances: Sequence[Utterance], rate: int
) -> tuple[Samples, Samples, list[tuple[float, float]]]:
    """Return caller, agent, and (end of speech, onset) of every turn, ms."""
    picked = iter(rng.permutation(len(utterances)))
    sides: dict[str, list[tuple[float, Utterance]]] = {"caller": [], "agent": []}
    truth: list[tuple[float, float]] = []
    at_ms = 600.0

    def say(side: str) -> float:
        one = utterances[int(next(picked))]
        sides[side].append((at_ms - one.start_ms, one))
        return at_ms + one.end_ms - one.start_ms

    at_ms = say("agent") + 900
    for _ in range(TURNS):
        end_ms = say("caller")
        at_ms = end_ms + float(np.exp(rng.uniform(np.log(100), np.log(3000))))
        truth.append((end_ms, at_ms))
        at_ms = say("agent") + float(rng.uniform(700, 1500))
    length = round((at_ms + 600) * rate / 1000)
    channels = []
    for said in sides.values():
        channel = np.zeros(length)
        for begin_ms, one in said:
            first = round(begin_ms * rate / 1000)
            channel[first : first + len(one.samples)] += one.samples
        channels.append(channel)
    return channels[0], channels[1], truth


def noise_of(kind: str, count: int, rng: np.random.Generator, utterances: Sequence[Utterance]) -> Samples:
    """Return noise of RMS 1."""
    speech = np.concatenate([one.samples for one in utterances])
    if kind == "babble":
        talkers = [np.take(speech, np.arange(count) + int(rng.integers(len(speech))), mode="wrap") for _ in range(8)]
        noise = np.sum(talkers, axis=0)
    else:
        noise = rng.standard_normal(count)
    if kind in ("pink", "speech"):
        spectrum = np.fft.rfft(noise)
        places = np.linspace(0, 1, len(spectrum))
        if kind == "pink":
            spectrum *= np.arange(1.0, len(spectrum) + 1) ** -0.5
        else:
            frames = speech[: len(speech) // 512 * 512].reshape(-1, 512) * np.hanning(512)
            mean = np.sqrt(np.mean(np.abs(np.fft.rfft(frames, axis=1)) ** 2, axis=0))
            spectrum *= np.interp(places, np.linspace(0, 1, len(mean)), mean)
        noise = np.fft.irfft(spectrum, count)
    return np.asarray(noise / np.sqrt(np.mean(noise**2)))


def errors_of(
    options: argparse.Namespace, kind: str, utterances: Sequence[Utterance], settings: Settings
) -> Iterator[Error | None]:
    """Measure call after call; None is a turn that was not found, or not as answered."""
    for number in range(options.calls):
        rng = np.random.default_rng([options.seed, number])
        caller, agent, truth = call_of(rng, utterances, options.rate)
        sides = []
        for channel, is_noisy in ((caller, True), (agent, options.side == "both")):
            if is_noisy and kind != "none":
                level = active_speech_level(channel, options.rate).active_dbfs
                noise = noise_of(kind, len(channel), rng, utterances)
                channel = channel + noise * 10 ** ((level - options.snr) / 20)  # noqa: PLW2901 - the channel, noisy
            sides.append(np.clip(np.round(channel * 32768), -32768, 32767).astype(np.int16))
        turns = analyse(Recording(f"call {number}", sides[0], sides[1], options.rate), settings).conversation.turns
        for end_ms, onset_ms in truth:
            yield _error(turns, end_ms, onset_ms)


def _error(turns: Sequence[Turn], end_ms: float, onset_ms: float) -> Error | None:
    turn = min(turns, key=lambda one: abs(one.end_ms - end_ms), default=None)
    if turn is None or turn.entry is not Entry.ANSWERED or abs(turn.end_ms - end_ms) > 600:
        return None
    if turn.ttfb_ms is None or turn.onset_ms is None:
        return None
    late_ms = turn.ttfb_ms - (onset_ms - end_ms)
    return Error(late_ms, turn.end_ms - end_ms, turn.onset_ms - onset_ms, turn.ttfb_within_ms)


def told(kind: str, errors: Sequence[Error | None]) -> str:
    """Return one line."""
    found = [one for one in errors if one is not None]
    if not found:
        return f"{kind:>7}  no turn of {len(errors)} was found"
    late = np.array([one.ttfb_ms for one in found])
    hits = int(np.count_nonzero(np.abs(late) <= TRUE_MS))
    low, high = wilson(hits, len(errors)) or (0.0, 1.0)
    sure = [one for one in found if one.within_ms is None or one.within_ms <= TRUE_MS]
    held = [abs(one.ttfb_ms) <= (TRUE_MS if one.within_ms is None else one.within_ms) for one in found]
    near = int(np.count_nonzero(np.abs(late) <= 40))
    ends, onsets = _true([one.end_ms for one in found]), _true([one.onset_ms for one in found])
    return "; ".join(
        [
            f"{kind:>7}  to 20 ms {hits} of {len(errors)} ({low:.0%} to {high:.0%}), to 40 ms {near}",
            f"lost {len(errors) - len(found)}",
            f"median {np.median(late):+.0f} ms",
            f"ends {ends}, onsets {onsets}",
            f"told ± held {np.mean(held):.0%}",
            f"said to be sure to 20 ms: {len(sure)}, of these true {sum(abs(one.ttfb_ms) <= TRUE_MS for one in sure)}",
        ]
    )


def _true(late: Sequence[float]) -> str:
    return f"{sum(abs(ms) <= TRUE_MS for ms in late)} (median {np.median(late):+.0f})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for every noise."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.noisy_calls", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--noise", nargs="+", choices=NOISES, default=["white", "pink", "speech"])
    parser.add_argument("--side", choices=("caller", "both"), default="caller", help="default: %(default)s")
    parser.add_argument("--snr", type=float, default=10.0, metavar="DB", help="default: %(default)s")
    parser.add_argument("--rate", type=int, choices=(8000, 16000), default=16000, help="default: %(default)s")
    parser.add_argument("--calls", type=int, default=5, metavar="N", help="of four turns; default: %(default)s")
    parser.add_argument("--clips", action="store_true", help="look for utterances of the shipped corpus")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    options = parser.parse_args(arguments)
    utterances = utterances_of(options.folder, options.rate)
    settings = Settings(clips=KnownClips(load_corpus(verify=False)) if options.clips else None)
    where = "both channels" if options.side == "both" else "the caller's channel"
    print(f"{len(utterances)} utterances, {options.snr:g} dB, {options.rate} Hz, noise on {where}")
    for kind in options.noise:
        print(told(kind, list(errors_of(options, kind, utterances, settings))), flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchmarkError as error:
        sys.exit(str(error))
