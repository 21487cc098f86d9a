"""The training step as a CUDA graph."""

import numpy as np
import pytest
import torch

from m3ray.config import TrainConfig
from m3ray.training import stacked
from m3ray.training.captured import CapturedStep, Recorder
from m3ray.training.stacked import train_runs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]


@pytest.mark.parametrize("loss", ["mse", "mse_to_spearman"])
@pytest.mark.parametrize("rates", [(1e-3, 1e-3), (1e-3, 5e-3)])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_captured_step_trains_as_the_plain_one(loss, rates, monkeypatch):
    """Rates fall after five epochs, and the last batch of each is smaller; a failed capture would warn."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(180, 9, generator=generator).cuda()
    y = torch.sigmoid(x[:, 0])
    configs = [TrainConfig(hidden=(16,), loss=loss, epochs=7, learning_rate=rate) for rate in rates]
    captured = train_runs((x[:140], y[:140]), (x[140:], y[140:]), configs, [5, 6])
    monkeypatch.setattr(stacked, "capture_step", lambda step, _device: step)
    plain = train_runs((x[:140], y[:140]), (x[140:], y[140:]), configs, [5, 6])
    np.testing.assert_allclose(captured.val, plain.val, atol=1e-5)
    np.testing.assert_allclose(captured.train_loss, plain.train_loss, atol=1e-6)


def test_a_recording_replays_a_step():
    total, one = torch.zeros(1, device="cuda"), torch.ones(1, device="cuda")
    step = CapturedStep(lambda: total.add_(one), Recorder())
    for _ in range(7):
        step()
    assert total.item() == 7
