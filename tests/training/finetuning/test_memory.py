"""Memory of a step, counted before it is run; against a GPU in tests/gpu/test_finetuning.py."""

from dataclasses import replace

import pytest
import torch

from m3ray.tiers.backbones.hrnet import hrnetv2_w48
from m3ray.training.finetuning.memory import (
    StepShape,
    count_kept_bytes,
    estimate_step_bytes,
    fits_without_recomputation,
)

GIB = 1 << 30
SCENE = StepShape(["scene"], "ip", 2, 8, 64, bfloat16=False)
BOTH = StepShape(["scene", "event"], "ip", 16, 45, 256, bfloat16=True)


def test_what_is_counted_is_what_autograd_keeps_on_a_cpu():
    """Against the real pass on the CPU: the storages that its saved tensors hold, weights left out."""
    network = hrnetv2_w48().train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    own = {tensor.data_ptr() for tensor in [*network.parameters(), *network.buffers()]}
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = network(torch.randn(1, 3, 128, 128))
    expected = sum(storage.nbytes() for key, storage in kept.items() if key not in own)
    found, parameters = count_kept_bytes(replace(SCENE, size=128))
    assert output.requires_grad
    assert found == pytest.approx(expected, rel=0.01)
    assert parameters == sum(p.numel() for p in network.parameters())


@pytest.mark.integration
def test_sixteen_clips_of_both_networks_take_what_the_documentation_says():
    """57.4 GiB without recomputation, 48.9 of them kept; docs/finetuning.md says 57 and 49, and 17 for four clips."""
    kept, parameters = count_kept_bytes(BOTH)
    assert parameters == 97_522_112, "HRNetV2-W48 and ip-CSN-152"
    assert 16 * kept / GIB == pytest.approx(48.9, abs=0.1)
    assert estimate_step_bytes(BOTH) / GIB == pytest.approx(57.4, abs=0.1)
    assert estimate_step_bytes(replace(BOTH, clips=4)) / GIB == pytest.approx(17.1, abs=0.1)
    assert fits_without_recomputation(BOTH, 79 * GIB), "an H100 or A100 of 80 GB"
    assert not fits_without_recomputation(replace(BOTH, frames=128), 79 * GIB), "longer clips do not fit it"
    assert fits_without_recomputation(replace(BOTH, clips=4), 22 * GIB), "an A10G of 24 GB"
    assert not fits_without_recomputation(replace(BOTH, clips=4), 15 * GIB), "a T4"


def test_more_of_anything_takes_more():
    base = estimate_step_bytes(SCENE)
    assert estimate_step_bytes(replace(SCENE, clips=3)) > base
    assert estimate_step_bytes(replace(SCENE, size=128)) > base
    assert estimate_step_bytes(replace(SCENE, averaged=True)) > base
    assert count_kept_bytes(replace(SCENE, bfloat16=True))[0] < count_kept_bytes(SCENE)[0]


def test_memory_that_nobody_knows_is_too_little():
    assert not fits_without_recomputation(SCENE, 0)


def test_a_moving_average_is_one_more_float32_a_parameter():
    added = estimate_step_bytes(replace(SCENE, averaged=True)) - estimate_step_bytes(SCENE)
    assert added == pytest.approx(4 * count_kept_bytes(SCENE)[1], abs=1)


def test_a_twentieth_of_a_gpu_stays_free():
    """An estimate that fills the GPU fits it no more; 1 / 0.95 of the estimate is the least that does."""
    needed = estimate_step_bytes(SCENE)
    assert not fits_without_recomputation(SCENE, needed)
    assert not fits_without_recomputation(SCENE, int(needed / 0.951))
    assert fits_without_recomputation(SCENE, int(needed / 0.949))
