"""A small voice that gains from batches as a model on a GPU does: a recurrent vocoder in NumPy, step by step.

A step of it is many small operations, each of which costs about the same for one sentence as for eight; on a GPU it is
the launch of a kernel and the reading of its weights that cost so. It says nothing anybody would understand: its
weights are drawn from a seed. What matters is true of it: samples follow from the sentence alone, a sentence comes out
the same in any company, and longer ones take longer.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from target_stack.frames import SPEECH_RATE, Pcm
from target_stack.stages.tts import to_int16

FRAME_MS = 20
FRAMES_A_CHARACTER = 3
FRAME_SAMPLES = SPEECH_RATE * FRAME_MS // 1000
# Samples that are one value: what is said is coarse.
HELD = 10

_Floats = npt.NDArray[np.float32]


class GruVoice:
    """A `Voice` (target_stack/stages/tts.py) of `layers` gated recurrent units."""

    def __init__(self, width: int = 48, layers: int = 6, seed: int = 1) -> None:
        self.description = f"recurrent vocoder, {layers} layers of {width} (NumPy)"
        self._width = width
        rng = np.random.default_rng(seed)

        def weights(*shape: int) -> _Floats:
            return (rng.standard_normal(shape) * 2 / np.sqrt(shape[0])).astype(np.float32)

        self._letters = weights(256, width)
        self._layers = [(weights(2 * width, 2 * width), weights(2 * width, width)) for _ in range(layers)]
        self._into_samples = weights(width, FRAME_SAMPLES // HELD)

    def load(self) -> None:
        """Run once."""
        self.speak(["Hello."])

    def speak(self, sentences: Sequence[str]) -> list[Pcm | Exception]:
        """Return each sentence's samples. Sentences that have ended take no further part."""
        frames = np.array([len(sentence) * FRAMES_A_CHARACTER for sentence in sentences])
        # The longest first: who still speaks is then always the first so many rows.
        order = np.argsort(-frames, kind="stable")
        letters = np.zeros((int(frames.max(initial=0)), len(sentences)), np.uint8)
        for column, place in enumerate(order):
            text = np.frombuffer(sentences[place].encode("latin-1", "replace"), np.uint8)
            letters[: frames[place], column] = np.repeat(text, FRAMES_A_CHARACTER)
        samples = np.tanh(self._said(letters, np.sort(frames)[::-1]) @ self._into_samples)
        spoken: dict[int, Pcm] = {}
        for column, place in enumerate(order):
            spoken[int(place)] = to_int16(np.repeat(samples[: frames[place], column].ravel(), HELD))
        return [spoken[place] for place in range(len(sentences))]

    def _said(self, letters: npt.NDArray[np.uint8], frames: npt.NDArray[np.int_]) -> _Floats:
        """Return the last layer's states, (steps, sentences, width)."""
        states = [np.zeros((letters.shape[1], self._width), np.float32) for _ in self._layers]
        said = np.zeros((*letters.shape, self._width), np.float32)
        speaking = letters.shape[1]
        for step, now in enumerate(letters):
            while frames[speaking - 1] <= step:
                speaking -= 1
            heard = self._letters[now[:speaking]]
            for number, layer in enumerate(self._layers):
                states[number] = heard = self._next(layer, states[number][:speaking], heard)
            said[step, :speaking] = heard
        return said

    def _next(self, layer: tuple[_Floats, _Floats], state: _Floats, heard: _Floats) -> _Floats:
        into_gates, into_state = layer
        gates = 1 / (1 + np.exp(-np.concatenate((heard, state), axis=1) @ into_gates))
        reset, update = gates[:, : self._width], gates[:, self._width :]
        proposed = np.tanh(np.concatenate((heard, reset * state), axis=1) @ into_state)
        following: _Floats = state + update * (proposed - state)
        return following
