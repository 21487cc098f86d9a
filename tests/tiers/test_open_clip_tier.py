"""open_clip's image encoders as tiers. The reference is the model itself, with its own transforms."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from m3ray.config import ImageNetworkConfig, TierConfigs
from m3ray.errors import ConfigError, WeightsError
from m3ray.tiers import WeightSource, Window, average_windows
from m3ray.tiers.backbones import fill_untrained_
from m3ray.tiers.factory import TierInputs, make_tiers
from m3ray.tiers.open_clip_tier import (
    OpenClipTier,
    assemble_clip_model,
    check_clip_model,
    clip_weights_urls,
    read_clip_preset,
)

open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed: pip install 'm3ray[clip]'")
CONFIG = ImageNetworkConfig(precision="float32")


def test_a_vector_is_the_model_s_own_embedding():
    tier = OpenClipTier(CONFIG, WeightSource(seed=3), "RN50")
    tier.setup(torch.device("cpu"))
    frame = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8).repeat(32, axis=0).repeat(32, axis=1)
    found = average_windows(tier.compute([Window(frame[None])]))["RN50"]
    own = fill_untrained_(open_clip.create_model("RN50", load_weights=False), 3).eval()
    with torch.inference_mode():
        expected = own.get_submodule("visual")(read_clip_preset("RN50")(torch.from_numpy(frame)[None]))[0]
    assert found.shape == (tier.width,)
    # Untrained, the embedding hardly depends on the picture: the next test is what holds the input.
    torch.testing.assert_close(torch.from_numpy(found).float(), expected, rtol=1e-4, atol=1e-6)


def test_the_input_is_that_of_its_own_transforms():
    frame = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8).repeat(32, axis=0).repeat(32, axis=1)
    transform = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(), is_train=False)
    expected = transform(Image.fromarray(frame))
    found = read_clip_preset("RN50")(torch.from_numpy(frame)[None])[0]
    # Pillow rounds to 8 bits after each of its two passes: up to 2 of 256 levels, over the least deviation (0.26).
    torch.testing.assert_close(found, expected, rtol=0, atol=2 / 255 / 0.26)


def test_it_is_made_by_its_name():
    sources = {"clip:ViT-B-32.openai": WeightSource(seed=0)}
    [tier] = make_tiers(["clip:ViT-B-32.openai"], TierInputs(TierConfigs(image=CONFIG), sources, None))
    assert isinstance(tier, OpenClipTier)
    assert (tier.name, tier.column, tier.width) == ("clip:ViT-B-32.openai", "ViT-B-32.openai", 512)


def test_transforms_are_those_of_the_weights():
    preset = read_clip_preset("ViT-B-32.openai")
    assert (preset.crop_size, preset.way) == ([224, 224], "bicubic")
    assert preset.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))  # OpenAI's, in open_clip's list


def test_an_unknown_model_suggests_near_ones():
    with pytest.raises(ConfigError, match=r"clip:ViT-B-33.openai is none of open_clip's .* did you mean ViT-B"):
        check_clip_model("ViT-B-33.openai")


def test_published_weights_have_an_address_and_a_name_without_them_is_an_error():
    start = "https://huggingface.co/laion/CLIP-ViT-B-32-laion2B-s34B-b79K/resolve/main/"
    files = [f"{start}open_clip_model.safetensors", f"{start}open_clip_pytorch_model.bin"]
    assert clip_weights_urls("ViT-B-32.laion2b_s34b_b79k") == files
    # open_clip's entry of this one names its file.
    named = "https://huggingface.co/jienengchen/ViTamin-S/resolve/main/pytorch_model.bin"
    assert clip_weights_urls("ViTamin-S.datacomp1b") == [named]
    with pytest.raises(WeightsError, match="clip:RN50 names no published weights"):
        clip_weights_urls("RN50")


def test_a_published_file_is_converted_by_open_clip_s_own_rules(tmp_path):
    sizes = {"layers": 1, "width": 64}
    text = {"context_length": 8, "vocab_size": 50, "heads": 1, **sizes}
    small = {"embed_dim": 16, "vision_cfg": {"image_size": 32, "patch_size": 16, **sizes}, "text_cfg": text}
    (tmp_path / "ViT-small.json").write_text(json.dumps(small))
    open_clip.add_model_config(tmp_path / "ViT-small.json")
    own = fill_untrained_(open_clip.create_model("ViT-small", load_weights=False), 5)
    older = {**own.state_dict(), "logit_scale": own.state_dict()["logit_scale"].reshape(1)}  # as older files have it
    torch.save({"epoch": 3, "state_dict": older}, tmp_path / "w.bin")
    found = OpenClipTier(CONFIG, WeightSource(str(tmp_path / "w.bin")), "ViT-small").network.build_with_weights()
    assert all(torch.equal(value, own.state_dict()[key]) for key, value in found.state_dict().items())
    torch.save({"visual.proj": torch.zeros(2)}, tmp_path / "other.bin")
    with pytest.raises(WeightsError, match=r"other.bin is not a file of clip:ViT-small: .*--weights") as info:
        assemble_clip_model("ViT-small", tmp_path / "other.bin")
    assert "\n" not in str(info.value)
