"""timm's models as tiers. The reference is the model itself, with timm's own transforms."""

import numpy as np
import pytest
import torch
from PIL import Image

from m3ray.config import DecodeConfig, ImageNetworkConfig, TierConfigs
from m3ray.errors import ConfigError, WeightsError
from m3ray.tiers import WeightSource, Window, average_windows, tier_fingerprint
from m3ray.tiers.backbones import fill_untrained_
from m3ray.tiers.factory import TierInputs, make_tiers
from m3ray.tiers.timm_tier import TimmTier, assemble_timm_model, check_timm_model, read_timm_preset, timm_weights_url

timm = pytest.importorskip("timm", reason="timm is not installed: pip install 'm3ray[timm]'")
CONFIG = ImageNetworkConfig(precision="float32")
NAMES = ("resnet18", "vit_tiny_patch16_224")


def clip(frames):
    coarse = np.random.default_rng(0).integers(0, 256, (frames, 8, 8, 3), dtype=np.uint8)
    return coarse.repeat(32, axis=1).repeat(32, axis=2)


@pytest.mark.parametrize("name", NAMES)
def test_the_classifier_on_our_vector_gives_the_model_s_own_logits(name):
    tier = TimmTier(CONFIG, WeightSource(seed=3), name)
    tier.setup(torch.device("cpu"))
    frame = clip(1)
    vector = average_windows(tier.compute([Window(frame)]))[name]
    own = timm.create_model(name).eval()
    fill_untrained_(own, 3)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(own), is_training=False)
    with torch.inference_mode():
        expected = own(transform(Image.fromarray(frame[0]))[None])[0]
        found = own.get_classifier()(torch.from_numpy(vector).float())
    assert vector.shape == (tier.width,)
    # Pillow rounds a resized picture to 8 bits after each of its two passes, torchvision once.
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.02 * expected.std().item())


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_100", "vit_base_patch16_clip_224.openai"])
def test_the_input_is_that_of_its_own_transforms(name):
    coarse = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    # Smooth: at hard edges bicubic interpolation overshoots, which Pillow cuts off after each pass.
    frame = np.asarray(Image.fromarray(coarse).resize((256, 256), Image.Resampling.BICUBIC))[None]
    settings = timm.data.resolve_data_config(pretrained_cfg=timm.models.get_pretrained_cfg(name).to_dict())
    expected = timm.data.create_transform(**settings, is_training=False)(Image.fromarray(frame[0]))
    found = read_timm_preset(name)(torch.tensor(frame))[0]
    # Pillow rounds to 8 bits after each of its two passes: up to 2 of 256 levels, over the least deviation (0.22).
    torch.testing.assert_close(found, expected, rtol=0, atol=2 / 255 / 0.22)


def test_the_vector_of_a_clip_is_the_mean_over_its_frames():
    tier = TimmTier(CONFIG, WeightSource(seed=3), "resnet18")
    tier.setup(torch.device("cpu"))
    frames = clip(2).repeat(15, axis=0)  # a second of each picture
    parts = [average_windows(tier.compute([Window(frames[k : k + 1])]))["resnet18"] for k in (7, 22)]
    whole = average_windows(tier.compute([Window(frames)]))["resnet18"]
    np.testing.assert_allclose(whole, np.mean(parts, axis=0), rtol=1e-4, atol=1e-5)


def test_it_is_made_by_its_name_and_its_transforms_are_in_its_fingerprint():
    sources = {"timm:resnet18": WeightSource(seed=0)}
    [tier] = make_tiers(["timm:resnet18"], TierInputs(TierConfigs(image=CONFIG), sources, None))
    assert isinstance(tier, TimmTier)
    assert (tier.name, tier.column, tier.width) == ("timm:resnet18", "resnet18", 512)
    assert "bicubic" in tier.identity()["input"]
    assert len(tier_fingerprint(tier, DecodeConfig())) > 4


def test_an_unknown_model_suggests_near_ones():
    with pytest.raises(ConfigError, match=r"timm:resnet19 is none of timm's .* did you mean resnet"):
        check_timm_model("resnet19")
    with pytest.raises(ConfigError, match="did you mean resnet18"):
        check_timm_model("resnet18.no_such_weights")


def test_a_published_file_is_converted_by_timm_s_own_rules(tmp_path):
    # DINOv2's file holds a token that training alone needs: timm.models.vision_transformer takes it off.
    name = "vit_small_patch14_dinov2"
    own = fill_untrained_(timm.create_model(name), 5)
    torch.save({**own.state_dict(), "mask_token": torch.zeros(1, 384)}, tmp_path / "dinov2.pth")
    found = TimmTier(CONFIG, WeightSource(str(tmp_path / "dinov2.pth")), name).network.build_with_weights()
    assert all(torch.equal(value, own.state_dict()[key]) for key, value in found.state_dict().items())


def test_a_file_of_another_model_or_a_damaged_one_is_said_in_one_line(tmp_path):
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other.pth is not a file of timm:resnet18: .*issing.*--weights") as info:
        assemble_timm_model("resnet18", tmp_path / "other.pth")
    assert "\n" not in str(info.value)
    (tmp_path / "page.pth").write_text("<html>")
    with pytest.raises(WeightsError, match="not a readable weight file"):
        assemble_timm_model("resnet18", tmp_path / "page.pth")


def test_published_weights_have_an_address():
    assert (
        timm_weights_url("resnet18.a1_in1k")
        == "https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors"
    )
    known = (timm.models.get_pretrained_cfg(name) for name in timm.list_models())
    without = next(entry.architecture for entry in known if not entry.hf_hub_id and not entry.url)
    with pytest.raises(WeightsError, match="no published weights"):
        timm_weights_url(without)
