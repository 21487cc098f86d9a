"""Presets, overrides and cache keys of finetuning."""

import dataclasses
import pickle

import pytest

from m3ray.config.finetuning import FinetuneConfig, FinetuneOverrides, FinetuneSettings
from m3ray.config.serialization import as_json


def test_overrides_replace_what_they_set():
    changed = FinetuneOverrides(epochs=3, refit_similarity=False, runs=2).apply_to(
        FinetuneConfig(refit_similarity=True)
    )
    assert changed == FinetuneConfig(epochs=3)
    assert FinetuneOverrides().apply_to(FinetuneConfig(batch=7)) == FinetuneConfig(batch=7)


def test_overrides_of_zero_and_false_are_not_missing():
    preset = FinetuneConfig(ema=0.9, cache_gb=2.0)
    changed = FinetuneOverrides(ema=0.0, cache_gb=0.0).apply_to(preset)
    assert (changed.ema, changed.cache_gb) == (0.0, 0.0)


def test_every_setting_but_the_preset_s_own_can_be_overridden():
    names = {f.name for f in dataclasses.fields(FinetuneOverrides)}
    assert names == {f.name for f in dataclasses.fields(FinetuneSettings)} | {"runs"}
    own = {f.name for f in dataclasses.fields(FinetuneConfig)} - names
    assert own == {"weight_decay", "warm_up", "clip_norm", "batch_norm", "checkpointing", "keep"}
    assert all(getattr(FinetuneOverrides(), name) is None for name in names - {"runs"})


def test_overrides_travel_to_workers():
    overrides = FinetuneOverrides(epochs=3, precision="float32")
    assert pickle.loads(pickle.dumps(overrides)) == overrides


def test_only_what_decides_the_outcome_is_in_a_cache_key():
    base, other = FinetuneConfig(epochs=3), FinetuneConfig(epochs=3, workers=8, cache="memory", micro_batch=2)
    assert base.outcome_settings() == other.outcome_settings()
    assert base.outcome_settings() != FinetuneConfig(epochs=4).outcome_settings()


DECISIVE = [
    *("epochs", "batch", "size", "frames", "backbone_learning_rate", "head_learning_rate", "weight_decay"),
    *("warm_up", "clip_norm", "ema", "batch_norm", "precision", "refit_similarity"),
]


@pytest.mark.parametrize("name", DECISIVE)
def test_each_setting_that_changes_numbers_changes_the_key(name):
    value = {"batch_norm": "trained", "precision": "float32", "refit_similarity": True}.get(name, 0.5)
    assert FinetuneConfig(**{name: value}).outcome_settings() != FinetuneConfig().outcome_settings()


def test_the_key_s_json_is_that_of_earlier_releases():
    """Searches and trials made before compare it with their own."""
    assert as_json(FinetuneConfig().outcome_settings()) == {
        "epochs": 5,
        "batch": 32,
        "micro_batch": 1,
        "size": 256,
        "frames": 128,
        "backbone_learning_rate": 1e-05,
        "head_learning_rate": 0.0001,
        "weight_decay": 1e-05,
        "warm_up": 0.05,
        "clip_norm": 1.0,
        "ema": 0.0,
        "batch_norm": "frozen",
        "checkpointing": True,
        "precision": "auto",
        "workers": None,
        "cache": "none",
        "cache_gb": 0.0,
        "checkpoint_minutes": 0.0,
        "keep": 1,
        "refit_similarity": False,
    }
