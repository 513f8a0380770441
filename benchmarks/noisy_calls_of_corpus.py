"""`python -m benchmarks.noisy_calls_of_corpus`: how true `callquake analyze` is where a corpus is spoken in noise.

Calls are put together from clean clips, every edge and gap known: an utterance on the caller's channel, a gap of 0.1,
0.3, 1 or 3 s, another on the agent's. Into one answer of each call the caller barges in, and the agent breaks off.
Noise lies 10 dB under the P.56 level of the channel's speech, under the caller's or under both; either side may echo in
the other's channel; at 8 kHz both went through G.711.

The truth: an utterance ends where its manifest says, whatever a band or a noise leaves of its last sound, for that is
the end that a live call is timed from (docs/metrics.md). An answer begins where the detector of live calls hears that
clip by itself begin, without noise.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.analyze.agent_side import Speech, hear_agent
from harness.analyze.analyse import QUIET_MS, Settings, analyse
from harness.analyze.known_clips import KnownClips
from harness.analyze.recording import Pcm, Recording
from harness.analyze.turns import Entry, Turn
from harness.corpus.audio import decode_file, read_pcm
from harness.corpus.entry import Utterance
from harness.corpus.levels import active_speech_level
from harness.corpus.manifest import Corpus, default_corpus_dir, load_corpus
from harness.media.codecs import PCMU
from harness.media.payload_decoder import PayloadDecoder
from harness.media.payload_encoder import PayloadEncoder

NOISES = ("none", "white", "pink", "speech-shaped", "babble", "car", "street", "office", "music")
GRID = ("white", "pink", "speech-shaped", "babble", "car", "street")
RATES = (16_000, 8_000)
SIDES = ("caller", "both")
GAPS_MS = (100.0, 300.0, 1000.0, 3000.0)
TRUE_MS = 20.0
SNR_DB = 10.0
LEVEL_DBFS = -26.0
# The caller begins so long before the agent would have ended, and the agent breaks off so much later.
BARGE_IN_MS = (600.0, 1500.0)
YIELD_MS = (150.0, 400.0)
FADE_MS = 20
# Clips that last longer are left out: a grid of them takes hours.
LONGEST_MS = 12_000.0
Samples = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """One call of the grid."""

    noise: str
    rate: int
    side: str
    has_echo: bool
    number: int = 0
    seed: int = 1

    def __str__(self) -> str:
        """Say it in words."""
        echo = "echo" if self.has_echo else "no echo"
        return f"{self.noise}, {self.rate} Hz, noise on {self.side}, {echo}, call {self.number}"


@dataclass(frozen=True, slots=True)
class Truth:
    """What was put there; ms from the first sample."""

    end_ms: float
    onset_ms: float
    said: str
    answered: str
    barges_in: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came back of a turn; `late_ms`, of the TTFB, is None where no answered turn was found there."""

    case: Case
    truth: Truth
    turn: Turn | None

    @property
    def late_ms(self) -> float | None:
        """Return by how much the TTFB is too long."""
        if self.turn is None or self.turn.ttfb_ms is None or self.turn.entry is not Entry.ANSWERED:
            return None
        return self.turn.ttfb_ms - (self.truth.onset_ms - self.truth.end_ms)

    @property
    def holds(self) -> bool:
        """Tell whether the TTFB, the end and the onset are true to 20 ms."""
        late = self.late_ms
        return late is not None and max(abs(late), *map(abs, self.parts())) <= TRUE_MS

    def parts(self) -> tuple[float, float]:
        """Return by how much end and onset are late."""
        if self.turn is None or self.turn.onset_ms is None:
            return (np.inf, np.inf)
        return self.turn.end_ms - self.truth.end_ms, self.turn.onset_ms - self.truth.onset_ms


class Bench:
    """The clips and beds that calls are put together from, decoded as they are needed."""

    def __init__(self, corpus: Corpus, beds: Path) -> None:
        clean = (one for one in corpus.utterances.values() if one.base_id == one.id)
        self.clips = [one for one in clean if one.duration_ms <= LONGEST_MS]
        self._beds = beds
        self.samples = cache(self._samples)
        self.heard = cache(self._heard)
        self._bed = cache(self._decoded)

    def _samples(self, clip: Utterance, rate: int) -> Samples:
        # As loud as the shipped ones, or what lies 10 dB under a call's speech would cover the faintest.
        gain = 10 ** ((LEVEL_DBFS - clip.speech_level_dbfs) / 20)
        return read_pcm(clip, rate) * gain

    def _heard(self, clip: Utterance, rate: int) -> list[Speech]:
        return hear_agent(np.clip(self.samples(clip, rate), -32768, 32767).astype(np.int16), rate, QUIET_MS)

    def onset_ms(self, clip: Utterance, rate: int) -> float | None:
        """Return where the detector of live calls hears a clip begin; None where it does not."""
        heard = self.heard(clip, rate)
        return heard[0].start_ms if heard else None

    def _decoded(self, name: str, rate: int) -> Samples:
        return decode_file(self._beds / f"{name}.opus", rate).astype(np.float64)

    def noise(self, kind: str, count: int, rate: int, rng: np.random.Generator) -> Samples:
        """Return noise of RMS 1."""
        if kind in ("white", "pink"):
            noise = rng.standard_normal(count)
            if kind == "pink":
                spectrum = np.fft.rfft(noise)
                noise = np.fft.irfft(spectrum * np.arange(1.0, len(spectrum) + 1) ** -0.5, count)
        else:
            bed = self._bed(kind, rate)
            noise = np.take(bed, np.arange(count) + int(rng.integers(len(bed))), mode="wrap")
        return np.asarray(noise / np.sqrt(np.mean(noise**2)))

    def call(self, case: Case) -> tuple[Recording, list[Truth]]:
        """Put a call together."""
        rng = np.random.default_rng([case.seed, *str(case).encode()])
        rate = case.rate
        picked = iter([self.clips[int(i)] for i in rng.permutation(len(self.clips))])
        sides: dict[str, list[tuple[float, Samples]]] = {"caller": [], "agent": []}
        truth: list[Truth] = []
        at_ms = 500.0
        barged = int(rng.integers(1, len(GAPS_MS)))

        greeting = self._answer(picked, rate)
        sides["agent"].append((at_ms, self.samples(greeting, rate)))
        free_ms = at_ms + greeting.duration_ms
        for index, gap_ms in enumerate(rng.permutation(GAPS_MS)):
            said = next(picked)
            if index == barged:
                # Into the answer before: it breaks off a little later.
                begin_ms, answer = sides["agent"][-1]
                start_ms = free_ms - float(rng.uniform(*BARGE_IN_MS))
                start_ms = max(start_ms, truth[-1].onset_ms + 300)
                broken_ms = start_ms - begin_ms + float(rng.uniform(*YIELD_MS))
                sides["agent"][-1] = (begin_ms, _broken_off(answer, broken_ms, rate))
            else:
                start_ms = free_ms + float(rng.uniform(500, 1200))
            begin_ms = start_ms - said.speech_start_ms
            sides["caller"].append((begin_ms, self.samples(said, rate)))
            end_ms = begin_ms + said.speech_end_ms
            answer_clip = self._answer(picked, rate, is_barged_into=index + 1 == barged)
            onset_ms = self.onset_ms(answer_clip, rate)
            assert onset_ms is not None
            begin_ms = end_ms + float(gap_ms) - onset_ms
            sides["agent"].append((begin_ms, self.samples(answer_clip, rate)))
            truth.append(Truth(end_ms, end_ms + float(gap_ms), said.id, answer_clip.id, index == barged))
            free_ms = begin_ms + answer_clip.speech_end_ms
        length = round((free_ms + 700) * rate / 1000)
        caller, agent = (_laid(sides[side], length, rate) for side in ("caller", "agent"))
        return self._disturbed(case, rng, caller, agent), truth

    def _answer(self, picked: Iterator[Utterance], rate: int, *, is_barged_into: bool = False) -> Utterance:
        """Return the next clip that may be an answer.

        An agent that is silent for QUIET_MS has stopped, by the definition of live calls, and cuts in when it goes on
        while the caller speaks: an answer with such a pause is not barged into, for what is true of it goes by when.
        """
        return next(
            clip
            for clip in picked
            if self.onset_ms(clip, rate) is not None and not (is_barged_into and len(self.heard(clip, rate)) > 1)
        )

    def _disturbed(self, case: Case, rng: np.random.Generator, caller: Samples, agent: Samples) -> Recording:
        heard = [caller, agent]
        if case.has_echo:
            heard[0] = caller + _leak(agent, rng, case.rate)
            if case.number % 2:
                heard[1] = agent + _leak(caller, rng, case.rate)
        for index, (clean, is_noisy) in enumerate(((caller, True), (agent, case.side == "both"))):
            if is_noisy and case.noise != "none":
                level = active_speech_level(clean.astype(np.int16), case.rate).active_dbfs
                noise = self.noise(case.noise, len(clean), case.rate, rng)
                heard[index] = heard[index] + noise * 32768 * 10 ** ((level - SNR_DB) / 20)
        pcm = [np.clip(np.round(side), -32768, 32767).astype(np.int16) for side in heard]
        caller_pcm, agent_pcm = pcm
        if case.rate == PCMU.sample_rate:
            caller_pcm, agent_pcm = map(_through_g711, pcm)
        return Recording(str(case), caller_pcm, agent_pcm, case.rate)


def _laid(said: Sequence[tuple[float, Samples]], length: int, rate: int) -> Samples:
    channel = np.zeros(length)
    for begin_ms, samples in said:
        first = round(begin_ms * rate / 1000)
        skipped = max(0, -first)
        piece = samples[skipped : skipped + max(0, length - max(0, first))]
        channel[first + skipped : first + skipped + len(piece)] += piece
    return channel


def _broken_off(samples: Samples, after_ms: float, rate: int) -> Samples:
    cut = samples[: round(after_ms * rate / 1000)].copy()
    fade = FADE_MS * rate // 1000
    cut[-fade:] *= np.linspace(1, 0, fade)[: len(cut)]
    return cut


def _leak(source: Samples, rng: np.random.Generator, rate: int) -> Samples:
    shift = round(float(rng.uniform(20, 250)) * rate / 1000)
    quiet = 10 ** (-float(rng.uniform(12, 30)) / 20)
    return np.concatenate([np.zeros(shift), source[: len(source) - shift]]) * quiet


def _through_g711(channel: Pcm) -> Pcm:
    encoder, decoder, size = PayloadEncoder(PCMU), PayloadDecoder(PCMU), PCMU.packet_samples
    whole = np.pad(channel, (0, -len(channel) % size)).reshape(-1, size)
    return np.concatenate([decoder.decode(encoder.encode(packet) or b"") for packet in whole])[: len(channel)]


def outcomes(bench: Bench, case: Case, settings: Settings) -> list[Outcome]:
    """Put a call together and measure it."""
    recording, truth = bench.call(case)
    turns = analyse(recording, settings).conversation.turns
    found = []
    for one in truth:
        turn = min(turns, key=lambda other, one=one: abs(other.end_ms - one.end_ms), default=None)  # type: ignore[misc]
        is_it = turn is not None and abs(turn.end_ms - one.end_ms) < 600
        found.append(Outcome(case, one, turn if is_it else None))
    return found


def grid(noises: Sequence[str], rates: Sequence[int], calls: int, seed: int) -> list[Case]:
    """Return every case of the grid, `calls` calls of each."""
    cells = product(range(calls), noises, rates, SIDES, (False, True))
    return [Case(noise, rate, side, echo, number, seed) for number, noise, rate, side, echo in cells]


def failure(outcome: Outcome) -> str:
    """Say what of a turn did not hold."""
    end, onset = outcome.parts()
    turn = outcome.turn
    entry = "no turn" if turn is None else f"{turn.entry.value}, end by {turn.end_from}"
    barge = ", barges in" if outcome.truth.barges_in else ""
    words = f"{outcome.truth.said} -> {outcome.truth.answered}{barge}"
    return f"{outcome.case}: {words}: {entry}, end {end:+.0f} ms, onset {onset:+.0f} ms"


def told(title: str, found: Sequence[Outcome]) -> str:
    """Return one line."""
    late = [abs(one.late_ms) for one in found if one.late_ms is not None]
    held = sum(one.holds for one in found)
    line = f"{title:>14}  {held} of {len(found)} turns to 20 ms; {len(found) - len(late)} not found as answered"
    if not late:
        return line
    ends, onsets = zip(*(one.parts() for one in found if one.late_ms is not None), strict=True)
    worst = [max(map(abs, side)) for side in (late, ends, onsets)]
    return f"{line}; at most {worst[0]:.0f} ms off, ends {worst[1]:.0f}, onsets {worst[2]:.0f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for every turn that does not hold, and one for every noise; exit 1 where there is any."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.noisy_calls_of_corpus", description=__doc__)
    parser.add_argument("--corpus", type=Path, default=default_corpus_dir(), metavar="DIR")
    parser.add_argument("--noise", nargs="+", choices=NOISES, default=list(GRID))
    parser.add_argument("--rate", nargs="+", type=int, choices=RATES, default=list(RATES))
    parser.add_argument("--calls", type=int, default=1, metavar="N", help="of four turns, a cell; default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    options = parser.parse_args(arguments)
    corpus = load_corpus(options.corpus, verify=False)
    bench = Bench(corpus, default_corpus_dir() / "noise")
    settings = Settings(clips=KnownClips(corpus))
    found: list[Outcome] = []
    for case in grid(options.noise, options.rate, options.calls, options.seed):
        these = outcomes(bench, case, settings)
        for one in these:
            if not one.holds:
                print(failure(one), flush=True)
        found += these
    for noise in options.noise:
        print(told(noise, [one for one in found if one.case.noise == noise]))
    print(told("all", found))
    return 0 if all(one.holds for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
