"""Kokoro-82M in PyTorch, several sentences in one pass: the voice of the `gpu` profile.

The package's own forward takes one sentence. `BatchedKokoro` calls the same layers with a padded batch, so that each
sentence comes out as it would alone (target_stack/stages/torch_padding.py says how); what is drawn at random in it (the
breath of the voice) differs from pass to pass either way.

Weights are a .pth file that the user names; the configuration is Kokoro-82M's, as kokoro-onnx ships it. Phonemes are
those of the ONNX voice, by the same code.
"""

import json
import logging
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.model.errors import CallquakeError
from target_stack.frames import Pcm
from target_stack.stages.torch_padding import Padding, run_packed
from target_stack.stages.tts import DEFAULT_VOICE, VOICES, to_int16, trim_lead

# Of the first half of a style vector speaks the decoder, of the second the prosody.
STYLE_HALF = 128
# A text frame makes 2 x 300 samples.
SAMPLES_A_FRAME = 600
# Warmed at start-up: the sizes that batches mostly have.
WARM_SIZES = (1, 2, 4, 8)


class KokoroWeightsError(CallquakeError):
    """The weights cannot be used; names the file and what was wrong."""


def kokoro_config() -> dict[str, Any]:
    """Return Kokoro-82M's configuration."""
    config: dict[str, Any] = json.loads(resources.files("kokoro_onnx").joinpath("config.json").read_text())
    return config


class BatchedKokoro:
    """kokoro.KModel, taking a batch. Not for several threads at once."""

    def __init__(self, model: Any) -> None:
        self._model = model.eval()
        self._padding = Padding()
        predictor = model.predictor
        self._padding.install(predictor.F0, predictor.N, predictor.F0_proj, predictor.N_proj, model.decoder)
        generator = model.decoder.generator
        generator.stft = _RowStft(generator.stft, self._padding)

    @torch.inference_mode()  # type: ignore[untyped-decorator] # torch has no types here
    def speak(self, tokens: Sequence[Sequence[int]], styles: Any, speed: float = 1.0) -> list[Any]:
        """Return each sentence's samples, -1..1 at 24 kHz. `styles`: (sentences, 256)."""
        model = self._model
        styles = styles.to(model.device)
        ids, lengths, is_padding = self._padded(tokens)
        prosody, timbre = styles[:, STYLE_HALF:], styles[:, :STYLE_HALF]
        text = model.bert(ids, attention_mask=(~is_padding).int())
        text = model.bert_encoder(text).transpose(-1, -2)
        text = model.predictor.text_encoder(text, prosody, lengths, is_padding)
        alignment, frames = self._alignment(text, lengths, is_padding, speed)
        with self._padding.of(frames):
            pitch, energy = self._pitch_and_energy(text.transpose(-1, -2) @ alignment, prosody, frames)
            sounds = model.text_encoder(ids, lengths, is_padding) @ alignment
            audio = model.decoder(sounds, pitch, energy, timbre).squeeze(1)
        return [row[: int(count) * SAMPLES_A_FRAME] for row, count in zip(audio, frames, strict=True)]

    def _padded(self, tokens: Sequence[Sequence[int]]) -> tuple[Any, Any, Any]:
        """Return ids and what of them is padding, (sentences, longest), and the lengths; 0 begins and ends each."""
        device = self._model.device
        lengths = torch.tensor([len(row) + 2 for row in tokens], device=device)
        ids = torch.zeros(len(tokens), int(lengths.max()), dtype=torch.long, device=device)
        for row, own in zip(ids, tokens, strict=True):
            row[1 : len(own) + 1] = torch.tensor(own, device=device)
        return ids, lengths, torch.arange(ids.shape[1], device=device) >= lengths.unsqueeze(1)

    def _alignment(self, text: Any, lengths: Any, is_padding: Any, speed: float) -> tuple[Any, Any]:
        """Return which frame is which token's, (sentences, tokens, frames) of 0 and 1, and the lengths in frames."""
        predictor = self._model.predictor
        hidden = run_packed(predictor.lstm, text, lengths)
        durations = torch.sigmoid(predictor.duration_proj(hidden)).sum(-1) / speed
        durations = torch.round(durations).clamp(min=1).long().masked_fill(is_padding, 0)
        ends = durations.cumsum(1)
        frames = ends[:, -1]
        places = torch.arange(int(frames.max()), device=text.device)
        is_before_end = places < ends.unsqueeze(-1)
        is_from_start = places >= (ends - durations).unsqueeze(-1)
        return (is_before_end & is_from_start).to(text.dtype), frames

    def _pitch_and_energy(self, text: Any, style: Any, frames: Any) -> tuple[Any, Any]:
        predictor = self._model.predictor
        shared = run_packed(predictor.shared, text.transpose(-1, -2), frames).transpose(-1, -2)
        curves = []
        for blocks, last in ((predictor.F0, predictor.F0_proj), (predictor.N, predictor.N_proj)):
            values = shared
            for block in blocks:
                values = block(values, style)
            curve = last(values).squeeze(1)
            # A pitch behind a row's end would go on turning the phase of its overtones.
            within = self._padding.mask(curve.shape[-1]).squeeze(1) if self._padding.lengths is not None else 1.0
            curves.append(curve * within)
        return curves[0], curves[1]


class _RowStft(torch.nn.Module):  # type: ignore[misc] # torch has no types here
    """The generator's short-time Fourier transform, row by row: its windows reach beyond a row's end. It is cheap."""

    def __init__(self, stft: Any, padding: Padding) -> None:
        super().__init__()
        self.whole = stft
        self._padding = padding

    def transform(self, samples: Any) -> tuple[Any, Any]:
        """Return magnitude and phase, (rows, bins, windows)."""
        if self._padding.lengths is None:
            magnitude, phase = self.whole.transform(samples)
            return magnitude, phase
        lengths = self._padding.lengths_at(samples.shape[-1])
        rows = [
            self.whole.transform(row[:length].unsqueeze(0))
            for row, length in zip(samples, lengths.tolist(), strict=True)
        ]
        return _stacked([magnitude for magnitude, _ in rows]), _stacked([phase for _, phase in rows])

    def inverse(self, magnitude: Any, phase: Any) -> Any:
        """Return samples, (rows, 1, samples)."""
        if self._padding.lengths is None:
            return self.whole.inverse(magnitude, phase)
        lengths = self._padding.lengths_at(magnitude.shape[-1]).tolist()
        rows = zip(magnitude, phase, lengths, strict=True)
        return _stacked([self.whole.inverse(m[None, :, :n], p[None, :, :n]) for m, p, n in rows])


def _stacked(rows: list[Any]) -> Any:
    """Return (1, ..., n) rows as one batch, zeros behind the shorter ones."""
    longest = max(row.shape[-1] for row in rows)
    return torch.cat([torch.nn.functional.pad(row, (0, longest - row.shape[-1])) for row in rows])


class KokoroTorch:
    """A `Voice` (target_stack/stages/tts.py): Kokoro-82M, one voice, on any device PyTorch knows."""

    def __init__(self, weights: Path, *, device: str = "cpu", voice: str = DEFAULT_VOICE, cpu_threads: int = 2) -> None:
        self.description = f"Kokoro-82M PyTorch, voice {voice} ({device})"
        self._weights = weights
        self._device = device
        self._style = torch.from_numpy(np.load(VOICES / f"{voice}.npy")).squeeze(1)
        self._cpu_threads = cpu_threads
        self._batched: BatchedKokoro | None = None
        self._tokenizer: Any = None

    def load(self) -> None:
        """Read the weights and run once in each usual size. Raises KokoroWeightsError."""
        from kokoro import KModel  # noqa: PLC0415 - seconds to import, and from the gpu extra
        from kokoro_onnx.tokenizer import Tokenizer  # noqa: PLC0415 - from the gpu extra

        logging.getLogger("phonemizer").setLevel(logging.ERROR)
        if self._device == "cpu":
            torch.set_num_threads(self._cpu_threads)
        try:
            model = KModel(repo_id="hexgrad/Kokoro-82M", config=kokoro_config(), model=str(self._weights))
            model = model.to(self._device)
        except Exception as error:
            raise KokoroWeightsError(f"{self._weights}: not Kokoro-82M's PyTorch weights: {error}") from error
        self._batched = BatchedKokoro(model)
        self._tokenizer = Tokenizer()
        for size in WARM_SIZES:
            self.speak(["Hello."] * size)

    def speak(self, sentences: Sequence[str]) -> list[Pcm | Exception]:
        """Return each sentence's speech, from one pass of the model."""
        assert self._batched is not None
        spoken: list[Pcm | Exception] = []
        tokens: list[list[int]] = []
        for sentence in sentences:
            tokens.append(own := self._tokens(sentence))
            spoken.append(ValueError("nothing to speak: no phonemes") if not own else np.zeros(0, np.int16))
        rows = [place for place, own in enumerate(tokens) if own]
        if rows:
            styles = torch.stack([self._style[len(tokens[place])] for place in rows])
            audio = self._batched.speak([tokens[place] for place in rows], styles)
            for place, samples in zip(rows, audio, strict=True):
                spoken[place] = to_int16(trim_lead(samples.float().cpu().numpy()))
        return spoken

    def _tokens(self, sentence: str) -> list[int]:
        phonemes = " ".join(self._tokenizer.phonemize(sentence, "en-us").split())
        # A longer sentence has no style vector; replies are cut to a fifth of that anyway.
        return list(self._tokenizer.tokenize(phonemes, None))[: len(self._style) - 1]
