"""A pretrained scorer as a tier, on a small network in place of the real one, and on the real one where installed."""

from importlib.util import find_spec

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from m3ray.config import DecodeConfig, ImageNetworkConfig, TierConfigs
from m3ray.schema import PRETRAINED
from m3ray.tiers import WeightSource, Window, average_windows, tier_fingerprint
from m3ray.tiers.factory import TierInputs, make_tiers
from m3ray.tiers.network import LoadedNetwork
from m3ray.tiers.pretrained.facts import SCORERS
from m3ray.tiers.pretrained.tier import ScorerTier
from m3ray.tiers.pretrained.weights import find_weights

CPU = torch.device("cpu")
CONFIG = ImageNetworkConfig(precision="float32")
FPS = DecodeConfig().fps


class MeanColour(nn.Module):
    """Score: mean of the picture; hidden vector: its three channels, which stand for the 256."""

    def forward(self, x):
        channels = x.mean(dim=(2, 3))
        return torch.cat((channels.mean(1, keepdim=True), channels), 1)


@pytest.fixture
def tier():
    made = ScorerTier(CONFIG, WeightSource(seed=0), "resmem")
    made.loaded = LoadedNetwork(MeanColour(), lambda frames: frames.movedim(-1, 1).float() / 255, CPU, torch.float32)
    return made


def ramp(count):
    """Frame k is of the one grey k."""
    return np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 8, 8, 3)).copy()


def test_scorers_are_those_that_models_do_not_see_unless_told_to():
    assert tuple(SCORERS) == PRETRAINED


def test_columns_are_score_spread_and_hidden_vector():
    tier = ScorerTier(CONFIG, WeightSource(seed=0), "resmem")
    assert tier.schema.names == ["clip_id", "resmem", "resmem_spread", "resmem_hidden"]
    assert tier.schema.field("resmem").type == pa.float32()
    assert tier.schema.field("resmem_hidden").type.list_size == 256


def test_it_looks_at_the_middle_of_each_second(tier):
    values = average_windows(tier.compute([Window(ramp(45))]))  # 3 s: frames 7, 22 and 37
    assert values["resmem"] == pytest.approx(22 / 255)
    assert values["resmem_spread"] == pytest.approx(np.std([7, 22, 37]) / 255)
    np.testing.assert_allclose(values["resmem_hidden"], [22 / 255] * 3, rtol=1e-6)


def test_a_clip_in_windows_is_a_clip_in_one(tier):
    frames = ramp(200)
    whole = ScorerTier(CONFIG, tier.source, "resmem", DecodeConfig(window_frames=200))
    whole.loaded = tier.loaded
    parts = [Window(frames[:128]), Window(frames[128:], index=1, lead=frames[127])]
    expected = average_windows(whole.compute([Window(frames)]))
    found = average_windows(tier.compute(parts))
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6)


def test_an_image_has_a_spread_of_0(tier):
    values = average_windows(tier.compute([Window(ramp(8)[7:8])]))
    assert values["resmem"] == pytest.approx(7 / 255)
    assert values["resmem_spread"] == 0


def test_a_clip_shorter_than_half_a_second_is_its_middle_frame(tier):
    assert average_windows(tier.compute([Window(ramp(5))]))["resmem"] == pytest.approx(2 / 255)


def test_a_slow_clip_is_looked_at_by_its_own_rate(tier):
    values = average_windows(tier.compute([Window(ramp(6), rate=2.0)]))  # 3 s at 2 a second: frames 1, 3 and 5
    assert values["resmem"] == pytest.approx(3 / 255)


def test_the_first_frame_alone_on_request(tier):
    first = ScorerTier(ImageNetworkConfig("float32", "first"), tier.source, "resmem")
    first.loaded = tier.loaded
    frames = ramp(200)[100:]
    windows = [Window(frames[:50]), Window(frames[50:], index=1, lead=frames[49])]
    assert not first.whole_clip
    assert average_windows(first.compute(windows))["resmem"] == pytest.approx(100 / 255)
    assert tier_fingerprint(first, DecodeConfig()) != tier_fingerprint(tier, DecodeConfig())


def test_the_fingerprint_depends_on_weights_and_precision():
    prints = {
        tier_fingerprint(ScorerTier(ImageNetworkConfig(precision), WeightSource("x", digest), "resmem"), DecodeConfig())
        for precision in ("float32", "bfloat16")
        for digest in ("a" * 64, "b" * 64)
    }
    assert len(prints) == 4


def test_only_weights_of_the_published_hash_are_taken_untried():
    facts = SCORERS["resmem"]
    known = [
        ScorerTier(CONFIG, WeightSource("x", digest), "resmem").network.known for digest in (facts.sha256, "a" * 64)
    ]
    assert known == [True, False]
    assert not ScorerTier(CONFIG, WeightSource("x", None), "vitmem").network.known, "its hash is not known here"


@pytest.mark.skipif(find_spec("resmem") is None, reason="resmem is not installed: pip install 'm3ray[resmem]' (489 MB)")
def test_bfloat16_is_near_float32():
    configs = [TierConfigs(image=ImageNetworkConfig(precision)) for precision in ("float32", "bfloat16")]
    tiers = [make_tiers(["resmem"], TierInputs(c, {"resmem": find_weights("resmem")}, None))[0] for c in configs]
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8).repeat(32, axis=1).repeat(32, axis=2)
    scores = []
    for tier in tiers:
        tier.setup(CPU)
        scores.append(
            [float(average_windows([values])["resmem"]) for values in tier.compute([Window(f[None]) for f in frames])]
        )
    np.testing.assert_allclose(scores[0], scores[1], rtol=0, atol=0.02)  # what was promised of bfloat16
