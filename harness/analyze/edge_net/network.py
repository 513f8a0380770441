"""The network: convolutions in time over what features.py shows, one logit a frame, of whether the edge is there.

52 channels -> 32 by a layer of one frame; four layers of five frames, each adding to what it was given, with 1, 2, 4
and 8 frames between them, so that a logit knows the 300 ms to either side; 32 -> 1. A softmax over frames makes of the
logits where the edge is and how sure that is. In numpy, gradients too: 22,000 weights need no more.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.analyze.edge_net.features import CHANNELS, Floats

HIDDEN = 32
TAPS = 5
DILATIONS = (1, 2, 4, 8)
# Frames to either side that a logit depends on.
REACH = sum(dilation * (TAPS // 2) for dilation in DILATIONS)
# Name, shape of every weight in the order of the file.
SHAPES: tuple[tuple[int, ...], ...] = (
    (CHANNELS, HIDDEN),
    (HIDDEN,),
    *(shape for _ in DILATIONS for shape in ((TAPS, HIDDEN, HIDDEN), (HIDDEN,))),
    (HIDDEN, 1),
    (1,),
)
COUNT = sum(int(np.prod(shape)) for shape in SHAPES)


@dataclass(frozen=True, slots=True)
class Trace:
    """What a pass leaves for its gradient: input and output of every layer."""

    seen: Floats
    before: list[Floats]
    active: list[Floats]


def unpacked(flat: npt.NDArray[np.floating]) -> list[Floats]:
    """Return the weights of one network from the file's row of COUNT numbers."""
    weights, at = [], 0
    for shape in SHAPES:
        size = int(np.prod(shape))
        weights.append(np.asarray(flat[at : at + size], np.float32).reshape(shape))
        at += size
    return weights


def fresh(rng: np.random.Generator) -> list[Floats]:
    """Return weights to begin with (He et al. 2015)."""
    weights = []
    for shape in SHAPES:
        fan_in = int(np.prod(shape[:-1]))
        scale = np.sqrt(2 / fan_in) if len(shape) > 1 else 0.0
        weights.append((rng.standard_normal(shape) * scale).astype(np.float32))
    return weights


def logits(weights: list[Floats], seen: Floats) -> tuple[Floats, Trace]:
    """Return the logit of every frame, shape (examples, frames), of `seen`, shape (examples, frames, CHANNELS)."""
    now = np.maximum(seen @ weights[0] + weights[1], 0)
    trace = Trace(seen, [], [now])
    for layer, dilation in enumerate(DILATIONS):
        kernel, bias = weights[2 + 2 * layer], weights[3 + 2 * layer]
        total = np.zeros_like(now) + bias
        for tap in range(TAPS):
            total += _shifted(now, (tap - TAPS // 2) * dilation) @ kernel[tap]
        out = np.maximum(total, 0)
        trace.before.append(out)
        now = now + out
        trace.active.append(now)
    return (now @ weights[-2] + weights[-1])[..., 0], trace


def gradients(weights: list[Floats], trace: Trace, of_logits: Floats) -> list[Floats]:
    """Return the gradient of every weight, from that of the logits."""
    found: list[Floats] = [np.zeros_like(w) for w in weights]
    last = trace.active[-1]
    found[-2] = np.einsum("etc,et->c", last, of_logits)[:, None]
    found[-1] = np.sum(of_logits, keepdims=True).reshape(1)
    now = of_logits[..., None] * weights[-2][:, 0]
    for layer in reversed(range(len(DILATIONS))):
        dilation, kernel, given = DILATIONS[layer], weights[2 + 2 * layer], trace.active[layer]
        of_total = now * (trace.before[layer] > 0)
        flat = of_total.reshape(-1, HIDDEN)
        found[3 + 2 * layer] = np.sum(flat, axis=0)
        for tap in range(TAPS):
            step = (tap - TAPS // 2) * dilation
            found[2 + 2 * layer][tap] = _shifted(given, step).reshape(-1, HIDDEN).T @ flat
            now = now + _shifted(of_total, -step) @ kernel[tap].T
    of_first = now * (trace.active[0] > 0)
    found[0] = trace.seen.reshape(-1, CHANNELS).T @ of_first.reshape(-1, HIDDEN)
    found[1] = np.sum(of_first, axis=(0, 1))
    return found


def softmax(values: Floats) -> Floats:
    """Return the probability of every frame."""
    powers = np.exp(values - np.max(values, axis=-1, keepdims=True))
    return np.asarray(powers / np.sum(powers, axis=-1, keepdims=True))


def _shifted(x: Floats, step: int) -> Floats:
    """Return x[:, t + step] in place of x[:, t], nothing beyond its ends."""
    if step == 0:
        return x
    out = np.zeros_like(x)
    if step > 0:
        out[:, :-step] = x[:, step:]
    else:
        out[:, -step:] = x[:, :step]
    return out
