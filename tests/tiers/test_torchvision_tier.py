"""torchvision models as tiers. The reference is the model itself: its classifier on our vector gives its logits."""

import numpy as np
import pytest
import torch
from counting import META, count_operations
from torchvision import models

from m3ray.config import DecodeConfig, TierConfigs, VisionConfig
from m3ray.errors import ConfigError
from m3ray.tiers import VisionTier, WeightSource, Window, average_windows, tier_fingerprint
from m3ray.tiers.backbones import fill_untrained_
from m3ray.tiers.factory import TierInputs, check_names, make_tiers
from m3ray.tiers.torchvision_tier import build_model, find_classifier, is_video, transform_frames, weights_url
from m3ray.tiers.weight_sources import weight_sources

CPU = torch.device("cpu")
CONFIG = VisionConfig(precision="float32")
IMAGES, VIDEOS = ("resnet18", "mobilenet_v3_small"), ("r3d_18", "mvit_v2_s")


def clip(frames, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (frames, 16, 16, 3), dtype=np.uint8)
    return coarse.repeat(16, axis=1).repeat(16, axis=2)


@pytest.fixture(scope="module")
def tier():
    made = {}

    def build_once(name):
        if name not in made:
            made[name] = VisionTier(CONFIG, WeightSource(seed=3), name)
            made[name].setup(CPU)
        return made[name]

    return build_once


def logits(name, frames):
    """By torchvision alone: the whole model on its own transforms of one image or one clip."""
    entry = models.get_model_weights(name).DEFAULT
    network = fill_untrained_(models.get_model(name, weights=None), 3).eval()
    pixels = torch.from_numpy(frames if is_video(name) else frames[0]).movedim(-1, -3)
    with torch.inference_mode():
        return network(entry.transforms()(pixels)[None])[0], find_classifier(network, entry)[1]


@pytest.mark.parametrize("name", [*IMAGES, *VIDEOS])
def test_the_classifier_on_our_vector_gives_the_model_s_own_logits(tier, name):
    frames = clip(16)
    vector = average_windows(tier(name).compute([Window(frames)]))[name]
    expected, layer = logits(name, frames)
    assert vector.shape == (tier(name).width,)
    with torch.inference_mode():
        found = layer(torch.from_numpy(vector).float())
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", IMAGES)
def test_image_models_see_the_first_frame_alone(tier, name):
    frames = clip(3)
    first, later = tier(name).compute([Window(frames), Window(frames[1:], index=1)])
    assert later == {}
    assert np.array_equal(first[name].value, tier(name).compute([Window(frames[:1])])[0][name].value)


def test_a_long_clip_is_the_mean_of_its_pieces_each_counting_by_its_frames(tier):
    frames = clip(40)
    whole = tier("r3d_18").compute([Window(frames)])[0]["r3d_18"]
    parts = [
        tier("r3d_18").compute([Window(piece)])[0]["r3d_18"] for piece in (frames[:16], frames[16:32], frames[32:])
    ]
    assert [part.weight for part in parts] == [16, 16, 8]
    mean = sum(part.value * part.weight for part in parts) / 40
    np.testing.assert_allclose(whole.value, mean, rtol=1e-3, atol=1e-5)
    assert whole.weight == 40


def test_a_clip_shorter_than_the_model_takes_repeats_its_last_frame():
    """MViT takes just 16 frames (torchvision's `min_temporal_size`)."""
    seen = []

    class Network:
        device = torch.device("cpu")

        def __call__(self, batches):
            return [seen.append(b.numpy()) or np.zeros((len(b), 768)) for b in batches]

    short = VisionTier(CONFIG, WeightSource(), "mvit_v2_s")
    short.loaded = Network()
    frames = clip(5)
    short.compute([Window(frames)])
    assert seen[0].shape[:2] == (1, 16)
    assert np.array_equal(seen[0][0, :5], frames)
    assert (seen[0][0, 5:] == frames[-1]).all()


def test_batches_keep_their_order(tier):
    clips = [clip(n, seed=n) for n in (9, 20, 9)]
    together = [m["r3d_18"].value for m in tier("r3d_18").compute([Window(c) for c in clips])]
    apart = [tier("r3d_18").compute([Window(c)])[0]["r3d_18"].value for c in clips]
    np.testing.assert_allclose(together, apart, rtol=1e-3, atol=1e-5)


def test_their_fingerprints_name_model_weights_and_transforms():
    tiers = [VisionTier(CONFIG, source, name) for name in ("resnet18", "resnet34") for source in two_sources()]
    assert len({tier_fingerprint(tier, DecodeConfig()) for tier in tiers}) == 4
    assert "resize_size" in tiers[0].identity()["transforms"]
    assert tiers[0].untrained
    assert not tiers[1].untrained


def two_sources():
    return WeightSource(), WeightSource("w.pth", "ab")


def test_names_that_torchvision_does_not_have_are_refused_with_near_ones():
    with pytest.raises(ConfigError, match=r"torchvision:resnet5 is none .* did you mean .*resnet50"):
        check_names(["torchvision:resnet5"])
    with pytest.raises(ConfigError, match="none of torchvision's"):
        check_names(["torchvision:fcn_resnet50"])  # a segmentation model has no class of a whole image


def test_they_are_made_beside_the_paper_s_tiers():
    names = ["torchvision:r3d_18", "scene"]
    sources = weight_sources("untrained", names, TierConfigs(), clips=1)
    made = make_tiers(names, TierInputs(TierConfigs(), sources, None))
    assert [(tier.name, tier.whole_clip) for tier in made] == [("scene", False), ("torchvision:r3d_18", True)]
    assert made[1].column == "r3d_18"  # type: ignore[attr-defined]
    assert made[1].schema.field("r3d_18").type.list_size == 512


def test_published_addresses_are_torchvision_s():
    assert weights_url("resnet50") == models.ResNet50_Weights.DEFAULT.url


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet18", (2, 256, 256, 3)),
        ("vit_b_16", (2, 120, 160, 3)),
        ("inception_v3", (1, 256, 256, 3)),
        ("r3d_18", (2, 5, 256, 256, 3)),
        ("mvit_v2_s", (1, 4, 100, 130, 3)),
    ],
)
def test_frames_are_transformed_as_torchvision_does(name, shape):
    preset = models.get_model_weights(name).DEFAULT.transforms()
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).movedim(-1, -3)
    assert torch.equal(transform_frames(preset, frames), preset(frames))


@pytest.mark.parametrize(("name", "shape"), [("resnet18", (2, 3, 256, 256)), ("r3d_18", (1, 5, 3, 256, 256))])
def test_frames_on_a_device_are_transformed_without_waiting(name, shape):
    """Code of torchvision's own cannot run on `meta`: it reads a number back, for which a GPU waits."""
    preset = models.get_model_weights(name).DEFAULT.transforms()
    frames = torch.empty(shape, dtype=torch.uint8, device=META)
    with pytest.raises(RuntimeError, match="meta"):
        preset(frames)
    counted = count_operations(transform_frames, preset, frames)
    assert counted.uploads == counted.downloads == 0
    assert transform_frames(preset, frames).shape[1] == 3


def test_a_published_densenet_s_old_keys_are_seen_through(tmp_path):
    """DenseNet's files were saved with keys such as `denselayer1.norm.1.weight`."""
    from m3ray.tiers.backbones import load_weights

    state = fill_untrained_(build_model("densenet121"), 1).state_dict()
    old = {k.replace("norm1", "norm.1").replace("conv2", "conv.2"): v for k, v in state.items() if "denselayer" in k}
    torch.save({**{k: v for k, v in state.items() if "denselayer" not in k}, **old}, tmp_path / "d.pth")
    network = build_model("densenet121")
    load_weights(network, tmp_path / "d.pth")
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
