"""What float32 means on a GPU; the settings are the same whether or not there is one."""

from typing import Any

import pytest
import torch

from m3ray.tiers.precision import float32_precision


def settings():
    cudnn: Any = torch.backends.cudnn  # its types lack what it has
    backends = (cudnn.conv, cudnn.rnn, torch.backends.cuda.matmul)
    return [backend.fp32_precision for backend in backends]


@pytest.mark.parametrize(("tf32", "expected"), [(False, "ieee"), (True, "tf32")])
def test_sets_every_backend_for_the_block_alone(tf32, expected):
    before = settings()
    assert before[0] == "tf32", "cuDNN's default, which the block is there for"
    with float32_precision(tf32=tf32):
        assert settings() == [expected] * 3
    assert settings() == before


def test_restores_the_settings_after_an_error_and_nests():
    before = settings()
    with float32_precision(tf32=False):
        with float32_precision(tf32=True):
            assert settings() == ["tf32"] * 3
        assert settings() == ["ieee"] * 3
    with pytest.raises(ZeroDivisionError), float32_precision(tf32=False):
        _ = 1 / 0
    assert settings() == before
