"""Train the networks anew: `python -m harness.analyze.edge_net.train [--corpus DIR]` -> weights.npy.

Clean clips of a corpus, one sentence in eight kept aside, are altered and put under backgrounds (examples.py); Adam
(Kingma and Ba 2015) with a falling rate. Equal seed, corpus, numpy and machine give equal weights, if linear
algebra has equally many threads: the shipped file is of OMP_NUM_THREADS=1 and the defaults (six minutes of a core).
"""

import argparse
import sys
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.analyze.edge_net.edge import WEIGHTS, likeliest
from harness.analyze.edge_net.examples import FRAMES, RATE, Example, Sound, examples_of, sound
from harness.analyze.edge_net.features import HOP_MS, Floats
from harness.analyze.edge_net.network import REACH, fresh, gradients, logits, softmax
from harness.corpus.audio import Pcm, decode_file, read_pcm
from harness.corpus.manifest import default_corpus_dir, load_corpus

BATCH = 64
RATE_OF_LEARNING = 2e-3
# Frames over which the target is spread.
SPREAD = 0.6
KEPT_ASIDE = 8
NOISY = 6
# Examples are made in so many parts, each of a seed of its own, however many processes there are.
_PARTS = 8


def voices_of(folder: Path) -> tuple[list[Sound], list[Sound], list[Sound]]:
    """Return clean clips to learn from, those kept aside, and beds of noise, at RATE."""
    corpus = load_corpus(folder, verify=False)
    learnt: list[Sound] = []
    aside: list[Sound] = []
    for clip in corpus.utterances.values():
        if clip.base_id == clip.id:
            voice = sound(_even(read_pcm(clip, RATE)))
            is_aside = zlib.crc32(clip.sentence_id.encode()) % KEPT_ASIDE == 0
            (aside if is_aside else learnt).append(voice)
    beds = [sound(_even(decode_file(file, RATE))) for file in sorted((folder / "noise").glob("*.opus"))]
    return learnt, aside, beds


def _even(pcm: Pcm) -> npt.NDArray[np.float64]:
    return np.pad(pcm, (0, -len(pcm) % 1600)).astype(np.float64) / 32768


def made(seed: int, voices: Sequence[Sound], beds: Sequence[Sound], count: int) -> tuple[list[Example], list[Example]]:
    """Return `count` examples of starts and of ends."""
    starts: list[Example] = []
    ends: list[Example] = []
    rng = np.random.default_rng(seed)
    while len(ends) < count:
        for start, end in examples_of(rng, voices, beds, NOISY):
            starts.append(start)
            ends.append(end)
    return starts[:count], ends[:count]


def packed(examples: Sequence[Example]) -> tuple[npt.NDArray[np.float16], Floats]:
    """Return what is seen, shape (examples, frames, CHANNELS), and the target probabilities, (examples, FRAMES)."""
    seen = np.stack([example.seen.astype(np.float16) for example in examples])
    places = np.array([example.at for example in examples])
    target = np.exp(-0.5 * ((np.arange(FRAMES) - places[:, None]) / SPREAD) ** 2)
    return seen, (target / np.sum(target, axis=1, keepdims=True)).astype(np.float32)


class Adam:
    """One network's weights on their way."""

    def __init__(self, weights: list[Floats]) -> None:
        self.weights = weights
        self._mean = [np.zeros_like(w) for w in weights]
        self._square = [np.zeros_like(w) for w in weights]
        self._steps = 0

    def step(self, found: list[Floats], rate: float) -> None:
        """Go one step down."""
        self._steps += 1
        for index, gradient in enumerate(found):
            self._mean[index] += 0.1 * (gradient - self._mean[index])
            self._square[index] += 0.001 * (gradient * gradient - self._square[index])
            mean = self._mean[index] / (1 - 0.9**self._steps)
            self.weights[index] -= rate * mean / (np.sqrt(self._square[index] / (1 - 0.999**self._steps)) + 1e-8)


def learn(
    adam: Adam, seen: npt.NDArray[np.float16], target: Floats, chosen: npt.NDArray[np.intp], rate: float
) -> float:
    """Take one step on the chosen examples; return their loss."""
    told, trace = logits(adam.weights, seen[chosen].astype(np.float32))
    probability = softmax(told[:, REACH:-REACH])
    of_logits = np.zeros_like(told)
    of_logits[:, REACH:-REACH] = (probability - target[chosen]) / len(chosen)
    adam.step(gradients(adam.weights, trace, of_logits), rate)
    return -float(np.mean(np.sum(target[chosen] * np.log(probability + 1e-9), axis=1)))


def errors_ms(weights: list[Floats], examples: Sequence[Example]) -> npt.NDArray[np.float64]:
    """Return by how much the network's edge is late, for each example."""
    seen, _ = packed(examples)
    off = []
    for at in range(0, len(examples), BATCH):
        told, _ = logits(weights, seen[at : at + BATCH].astype(np.float32))
        for row, example in zip(softmax(told[:, REACH:-REACH]), examples[at : at + BATCH], strict=True):
            off.append(likeliest(row, 0).at_ms - example.at * HOP_MS)
    return np.array(off)


def trained(examples: Sequence[Example], aside: Sequence[Example], epochs: int, seed: int, name: str) -> list[Floats]:
    """Return the weights of one network."""
    rng = np.random.default_rng(seed)
    adam = Adam(fresh(rng))
    seen, target = packed(examples)
    steps = epochs * (len(examples) // BATCH)
    done = 0
    for epoch in range(epochs):
        losses = []
        order = rng.permutation(len(examples))
        for at in range(0, len(order) - BATCH + 1, BATCH):
            rate = RATE_OF_LEARNING * 0.5 * (1 + np.cos(np.pi * done / steps)) + 1e-5
            losses.append(learn(adam, seen, target, order[at : at + BATCH], float(rate)))
            done += 1
        off = errors_ms(adam.weights, aside)
        print(
            f"{name} epoch {epoch + 1}/{epochs} loss {np.mean(losses):.3f}; kept aside: to 20 ms "
            f"{np.mean(np.abs(off) <= 20):.3f}, median {np.median(off):+.1f} ms, n {len(off)}",
            file=sys.stderr,
            flush=True,
        )
    return adam.weights


def main(arguments: Sequence[str] | None = None) -> int:
    """Train both networks and write their weights."""
    parser = argparse.ArgumentParser(prog="python -m harness.analyze.edge_net.train", description=__doc__)
    parser.add_argument("--corpus", type=Path, default=default_corpus_dir(), metavar="DIR")
    parser.add_argument("--examples", type=int, default=12_000, metavar="N", help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=16, metavar="N", help="default: %(default)s")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="of examples; default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--to", type=Path, default=WEIGHTS, metavar="FILE")
    options = parser.parse_args(arguments)
    learnt, aside, beds = voices_of(options.corpus)
    share = options.examples // _PARTS
    with ProcessPoolExecutor(options.processes) as pool:
        parts = list(
            pool.map(made, [options.seed + i for i in range(_PARTS)], repeat(learnt), repeat(beds), repeat(share))
        )
        kept = pool.submit(made, options.seed + _PARTS, aside, beds, max(1, options.examples // 10)).result()
    flat = []
    for index, name in enumerate(("starts", "ends")):
        examples = [example for part in parts for example in part[index]]
        weights = trained(examples, kept[index], options.epochs, options.seed, name)
        flat.append(np.concatenate([w.reshape(-1) for w in weights]).astype(np.float16))
    np.save(options.to, np.stack(flat), allow_pickle=False)
    print(options.to)
    return 0


if __name__ == "__main__":
    sys.exit(main())
