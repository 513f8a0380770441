"""Padded batches through PyTorch layers come out as each row alone; then Kokoro's own layers, with random weights."""

import importlib.util

import numpy as np
import pytest

MISSING = [name for name in ("torch", "kokoro") if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif("torch" in MISSING, reason="not installed: torch (pip install torch)"),
]


def small_model(torch):
    """The kinds of layers that Kokoro has, in double precision, so that what is left of a difference is a mistake."""
    nn = torch.nn

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrent = nn.LSTM(6, 4, batch_first=True, bidirectional=True)
            self.first = nn.Conv1d(8, 8, 5, padding=2)
            self.norm = nn.InstanceNorm1d(8, affine=True)
            self.up = nn.ConvTranspose1d(8, 4, 20, 10, padding=5)
            self.last = nn.Conv1d(4, 1, 7, padding=3)

        def after(self, values):
            values = torch.relu(self.norm(self.first(values)))
            return self.last(torch.nn.functional.pad(self.up(values), (1, 0), mode="reflect"))

    torch.manual_seed(7)
    model = Small().double().eval()
    with torch.no_grad():
        model.norm.weight.normal_()
        model.norm.bias.normal_()
    return model


def test_rows_of_any_lengths_come_out_as_they_would_alone():
    import torch

    from target_stack.stages.torch_padding import Padding, run_packed

    model = small_model(torch)
    rows = [torch.randn(1, length, 6, dtype=torch.float64) for length in (9, 2, 17, 17)]
    with torch.no_grad():
        alone = [model.after(model.recurrent(row)[0].transpose(1, 2)) for row in rows]
        padding = Padding()
        padding.install(model)
        lengths = torch.tensor([row.shape[1] for row in rows])
        batch = torch.full((4, 17, 6), 9.9, dtype=torch.float64)
        for place, row in enumerate(rows):
            batch[place, : row.shape[1]] = row[0]
        with padding.of(lengths):
            together = model.after(run_packed(model.recurrent, batch, lengths).transpose(1, 2))
        # Outside of a batch the layers are as they were.
        again = model.after(model.recurrent(rows[0])[0].transpose(1, 2))
    for place, own in enumerate(alone):
        assert own.shape[-1] == lengths[place] * 10 + 1
        np.testing.assert_allclose(together[place, :, : own.shape[-1]], own[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(again, alone[0], rtol=0, atol=0)


@pytest.fixture
def double_precision():
    import torch

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (pip install 'callquake[gpu]')")
def test_kokoros_own_layers_speak_a_batch_as_each_sentence_alone(double_precision, monkeypatch, tmp_path):
    """Random weights: they say nothing, but every layer is Kokoro's. Double precision, and nothing drawn at random."""
    import torch
    from kokoro import KModel

    from target_stack.stages.kokoro_torch import SAMPLES_A_FRAME, BatchedKokoro, kokoro_config

    monkeypatch.setattr(torch, "rand", torch.zeros)
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    torch.manual_seed(3)
    torch.save({}, tmp_path / "none.pth")
    config = kokoro_config()
    config["plbert"] |= {"num_hidden_layers": 1}
    model = KModel(repo_id="random", config=config, model=str(tmp_path / "none.pth")).double().eval()
    model.decoder.generator.stft.window = model.decoder.generator.stft.window.double()
    with torch.no_grad():
        # About two frames a token, of different lengths.
        model.predictor.duration_proj.linear_layer.weight *= 6
        model.predictor.duration_proj.linear_layer.bias -= 4
    sentences = [[5, 80, 33, 120], [61], [17, 44, 90, 101, 7, 52]]
    styles = torch.randn(3, 256, dtype=torch.float64) * 0.3
    alone = [
        model.forward_with_tokens(torch.tensor([[0, *own, 0]]), styles[place : place + 1])[0]
        for place, own in enumerate(sentences)
    ]
    batched = BatchedKokoro(model)
    single = batched.speak(sentences[:1], styles[:1])[0]
    together = batched.speak(sentences, styles)
    assert len({len(own) for own in alone}) > 1, "rows of one length prove nothing"
    np.testing.assert_allclose(single, alone[0], rtol=0, atol=1e-7 * float(alone[0].abs().max()))
    for own, shared in zip(alone, together, strict=True):
        assert len(shared) == len(own)
        assert len(own) % SAMPLES_A_FRAME == 0
        np.testing.assert_allclose(shared, own, rtol=0, atol=1e-7 * float(own.abs().max()))
