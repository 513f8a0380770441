"""Padded batches through convolutional PyTorch models, so that each row comes out as it would alone.

A batch is as long as its longest row. What lies behind a shorter row's end must not be heard: instance norms take their
mean and variance over the row itself, convolutions see zeros there as they do behind the end of a row alone, and
recurrent layers run over packed rows. Pointwise layers need nothing: what they make of the padding is cut away.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn


class Padding:
    """The lengths of the batch that is being worked on, shared by all layers of one model.

    Lengths are told in frames of the longest row's `frames`; a layer that works on k values a frame, plus r values at
    the edges for the whole row, has rows of k x length + r.
    """

    def __init__(self) -> None:
        self.lengths: Any = None
        self.frames = 0
        self._masks: dict[int, Any] = {}

    @contextmanager
    def of(self, lengths: Any) -> Iterator[None]:
        """Work on rows of these lengths, a tensor of whole numbers on the model's device."""
        self.frames = int(lengths.max())
        # Rows of one length have no padding.
        self.lengths = lengths if bool((lengths < self.frames).any()) else None
        try:
            yield
        finally:
            self.lengths, self.frames, self._masks = None, 0, {}

    def lengths_at(self, steps: int) -> Any:
        """Return each row's length where the longest has `steps` values."""
        return self.lengths * (steps // self.frames) + steps % self.frames

    def mask(self, steps: int) -> Any:
        """Return (rows, 1, steps): 1.0 within a row, 0.0 behind its end."""
        if steps not in self._masks:
            places = torch.arange(steps, device=self.lengths.device)
            self._masks[steps] = (places < self.lengths_at(steps).unsqueeze(1)).unsqueeze(1).float()
        return self._masks[steps]

    def install(self, *modules: nn.Module) -> None:
        """Have every convolution and instance norm within these modules heed the padding."""
        for module in modules:
            for layer in module.modules():
                if isinstance(layer, (nn.Conv1d, nn.ConvTranspose1d)):
                    layer.register_forward_pre_hook(self._zero_padding)
                elif isinstance(layer, nn.InstanceNorm1d):
                    layer.forward = partial(self._normed, layer, layer.forward)

    def _zero_padding(self, _layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self.lengths is None:
            return None
        values, *rest = inputs
        return (values * self.mask(values.shape[-1]).to(values.dtype), *rest)

    def _normed(self, layer: nn.InstanceNorm1d, plain: Callable[[Any], Any], values: Any) -> Any:
        if self.lengths is None:
            return plain(values)
        mask = self.mask(values.shape[-1]).to(values.dtype)
        counts = mask.sum(-1, keepdim=True)
        mean = (values * mask).sum(-1, keepdim=True) / counts
        centred = (values - mean) * mask
        variance = (centred * centred).sum(-1, keepdim=True) / counts
        normed = centred * torch.rsqrt(variance + layer.eps)
        if layer.affine:
            normed = normed * layer.weight.view(1, -1, 1) + layer.bias.view(1, -1, 1)
        return normed


def run_packed(layer: nn.LSTM, rows: Any, lengths: Any) -> Any:
    """Run a recurrent layer over (batch, time, values), each row to its own end; zeros behind it."""
    packed = nn.utils.rnn.pack_padded_sequence(rows, lengths.cpu(), batch_first=True, enforce_sorted=False)
    layer.flatten_parameters()
    done, _ = layer(packed)
    values, _ = nn.utils.rnn.pad_packed_sequence(done, batch_first=True, total_length=rows.shape[1])
    return values
