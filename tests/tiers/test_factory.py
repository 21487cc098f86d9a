"""Tiers by their names."""

import numpy as np
import pytest

from m3ray.config import EventConfig, SceneConfig, TierConfigs
from m3ray.errors import ConfigError
from m3ray.tiers import WeightSource, fit_hog_projection
from m3ray.tiers.factory import TierInputs, check_names, make_tiers, resolve_precision, select_computed


@pytest.fixture(scope="module")
def projection():
    return fit_hog_projection(np.random.default_rng(0).random((12, 60)).astype(np.float32))


def test_unknown_tiers_are_named():
    with pytest.raises(ConfigError, match=r"unknown tier scne: choose from raw, scene, event"):
        check_names(["raw", "scne"])


def test_each_tier_is_made_once(projection):
    parts = TierInputs(TierConfigs(), {"scene": WeightSource(), "event": WeightSource()}, projection)
    assert [t.name for t in make_tiers(["event", "raw", "event"], parts)] == ["raw", "event"]


def test_computed_tiers_are_selected_in_the_paper_s_order():
    names = ["text", "torchvision:resnet18", "event", "similarity", "raw", "event"]
    assert select_computed(names) == ["raw", "event", "torchvision:resnet18"]


def test_provided_tiers_are_known_where_they_are_named():
    check_names(["raw", "text"], also=["text"])
    with pytest.raises(ConfigError, match=r"unknown tier audio: choose from raw, .*, text, torchvision:NAME"):
        check_names(["audio"], also=["text"])


def test_the_raw_tier_needs_a_projection():
    with pytest.raises(ConfigError, match="needs HOG's PCA"):
        make_tiers(["raw"], TierInputs(TierConfigs(), {}, None))


@pytest.mark.parametrize("fastest", ["bfloat16", "float32"])
def test_auto_precision_becomes_the_fastest_and_others_stay(fastest):
    configs = TierConfigs(scene=SceneConfig(precision="float32"), event=EventConfig(network="ir"))
    resolved = resolve_precision(configs, bfloat16=fastest == "bfloat16")
    assert resolved.scene.precision == "float32"
    assert resolved.event == EventConfig(network="ir", precision=fastest)
    assert resolved.vision.precision == fastest
