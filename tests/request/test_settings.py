"""Settings of the tiers, from a job's options."""

import pytest

from m3ray.config import TierConfigs
from m3ray.config.options import ExtractOptions
from m3ray.config.presets import TIER_PRESETS
from m3ray.request.settings import resolve_tier_configs


@pytest.mark.parametrize(
    ("options", "preset"),
    [
        ({"dataset": "demo"}, "demo"),
        ({"dataset": "folder"}, "default"),
        ({"dataset": "demo", "preset": "paper"}, "paper"),
        ({"dataset": "folder", "preset": "demo"}, "demo"),
    ],
)
def test_the_preset_is_the_options_or_the_data_set_s(options, preset):
    assert resolve_tier_configs(ExtractOptions(out="o", **options)) == TIER_PRESETS[preset]()


def test_options_override_the_preset_and_nothing_else_changes():
    base = TIER_PRESETS["default"]()
    options = ExtractOptions(
        out="o", dataset="folder", fps=2.5, network="ir", precision="float32", measure="kde", seed=7
    )
    configs = resolve_tier_configs(options)
    assert (configs.decode.fps, configs.decode.size) == (2.5, base.decode.size)
    assert (configs.event.network, configs.similarity.measure, configs.similarity.seed) == ("ir", "kde", 7)
    assert {configs.scene.precision, configs.event.precision, configs.vision.precision} == {"float32"}
    assert isinstance(configs, TierConfigs)
    assert configs.raw == base.raw
