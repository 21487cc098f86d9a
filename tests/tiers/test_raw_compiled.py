"""torch.compile of the raw tier's steps: how often it compiles, its numbers, and what happens where it cannot."""

import warnings

import pytest
import torch
from compile_backend import CountedBackend
from drifting import drifting_noise, drifting_texture

from m3ray.tiers.flow import pair_magnitudes
from m3ray.tiers.hog import hog_of_planes
from m3ray.tiers.raw_batch import PLAIN_STEPS
from m3ray.tiers.raw_compiled import CompiledFunction, compile_steps
from m3ray.tiers.raw_frames import split_planes


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@torch.no_grad()
def test_flow_is_compiled_twice_a_level_for_any_number_of_pairs():
    """64x80 pixels have two levels, each for one clip, whose second frames are a view, and for several."""
    backend = CountedBackend()
    steps = compile_steps(PLAIN_STEPS, backend)
    frames = torch.from_numpy(drifting_texture(3, 6, 64, 80)).float()
    for lengths in ([6], [2, 3], [4], [3, 3], [5]):
        part = frames[: sum(lengths)]
        torch.testing.assert_close(pair_magnitudes(part, lengths, steps.flow), pair_magnitudes(part, lengths))
    assert backend.compilations == 4


class Broken:
    """A backend that cannot compile."""

    def __call__(self, graph, examples):
        raise ValueError("no such kernel")


def test_what_cannot_be_compiled_runs_without_from_then_on_and_says_so_once():
    compiled = CompiledFunction(hog_of_planes, Broken())
    planes = split_planes(torch.from_numpy(drifting_noise(2)))
    with pytest.warns(UserWarning, match=r"hog_of_planes runs without torch.compile .*--compute.compile"):
        assert torch.equal(compiled(planes), hog_of_planes(planes))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(compiled(planes), hog_of_planes(planes))


def test_errors_of_the_step_itself_are_its_own():
    """Memory that runs out must reach whoever can halve the batch."""

    def no_memory(graph, examples):
        def run(*inputs):
            raise torch.OutOfMemoryError("CUDA out of memory")

        return run

    with pytest.raises(torch.OutOfMemoryError):
        CompiledFunction(hog_of_planes, no_memory)(torch.zeros(2, 3, 256, 256))


@pytest.mark.integration
@torch.no_grad()
def test_inductor_s_numbers_are_the_plain_ones():
    """Half a minute of compilation. Fused additions differ in the last digit: 5e-7 of 2.2 pixels, 1e-7 of HOG."""
    steps = compile_steps(PLAIN_STEPS)
    frames = torch.from_numpy(drifting_texture(3, 5, 64, 80)).float()
    planes = split_planes(torch.from_numpy(drifting_noise(3)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found, hog = pair_magnitudes(frames, [3, 2], steps.flow), steps.hog(planes)
    torch.testing.assert_close(found, pair_magnitudes(frames, [3, 2]), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(hog, hog_of_planes(planes), rtol=0, atol=1e-6)
