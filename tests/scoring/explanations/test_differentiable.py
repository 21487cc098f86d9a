"""Which bundles have gradients, and that a tier's function gives what the tier gives."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_bundles import make_bundle, make_pretrained
from small_maps import SIZE, ContrastTier, draw_noise
from small_networks import TinyTier, make_tiny_bundle

from m3ray.config import ImageNetworkConfig
from m3ray.errors import ConfigError
from m3ray.features.matrix import Block
from m3ray.model.mixture import Mixture
from m3ray.scoring.explanations.differentiable import DifferentiableTier, check_gradients, score_columns
from m3ray.tiers.base import Window
from m3ray.tiers.event import MIN_FRAMES, EventTier
from m3ray.tiers.network import WeightSource
from m3ray.tiers.pretrained.tier import ScorerTier


def test_tiers_without_a_gradient_are_named():
    bundle = make_bundle((Block("raw", ("brightness",), True), Block("similarity", ("similarity_0",), True)))
    with pytest.raises(ConfigError, match=r"resmem, similarity of small have no gradient.*use the method occlusion"):
        check_gradients(bundle, [ContrastTier()])
    with pytest.raises(ConfigError, match="resmem of resmem has no gradient"):
        check_gradients(make_pretrained(), [ContrastTier()])
    check_gradients(make_tiny_bundle(), [TinyTier()])


def test_an_ensemble_has_none():
    bundle = make_tiny_bundle()
    mixed = replace(bundle, mixture=Mixture(bundle.model, {}, {"mlp": 1.0}))
    with pytest.raises(ConfigError, match="small scores with mlp together, and gradients are taken of an MLP alone"):
        check_gradients(mixed, [TinyTier()])


def test_the_function_of_a_tier_gives_its_vector():
    tier, frames = TinyTier(), draw_noise(5)
    function = DifferentiableTier(tier, torch.device("cpu"))
    (expected,) = tier.compute([Window(frames)])
    found = function(function.prepare(frames))
    np.testing.assert_allclose(found.numpy(), expected["tiny"].value, rtol=1e-5)
    assert function.takes_clips


def test_the_score_is_that_of_the_bundle():
    bundle, values = make_tiny_bundle(), np.array([0.3, -0.7], np.float32)
    columns = {f"tiny/tiny_{k}": torch.tensor(value) for k, value in enumerate(values)}
    with torch.no_grad():
        found = float(score_columns(bundle, columns))
    assert found == pytest.approx(float(bundle._predict(values[None]).mean()), rel=1e-5)


def test_a_scorer_s_columns_are_those_of_its_frames():
    tier = ScorerTier(ImageNetworkConfig("float32"), WeightSource(), "resmem")
    function = DifferentiableTier.__new__(DifferentiableTier)
    function.tier = tier
    outputs = torch.tensor([[0.2, 1.0, 2.0], [0.6, 3.0, 4.0]], dtype=torch.float64)
    columns = function.average(outputs, torch.ones(2, dtype=torch.float64))
    assert float(columns["resmem"]) == pytest.approx(0.4)
    assert float(columns["resmem_spread"]) == pytest.approx(0.2)
    np.testing.assert_allclose(columns["resmem_hidden"], [2.0, 3.0])


def test_short_clips_are_padded_as_the_tier_does():
    function = DifferentiableTier.__new__(DifferentiableTier)
    function.tier, function.takes_clips = EventTier.__new__(EventTier), True
    frames = torch.arange(3 * SIZE).reshape(3, SIZE, 1, 1).float()
    padded = function._pad(frames)
    assert len(padded) == MIN_FRAMES
    np.testing.assert_array_equal(padded[3:], np.repeat(frames[2:], MIN_FRAMES - 3, axis=0))
