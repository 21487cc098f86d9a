"""What the workers of a finetuning are given."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from trained_studies import train_study

from m3ray.config import DecodeConfig, EventConfig, LimitsConfig, SimilarityConfig, as_json
from m3ray.config.finetuning import FinetuneConfig
from m3ray.errors import ConfigError
from m3ray.pipelines.finetuning import prepare
from m3ray.pipelines.finetuning.prepare import prepare_finetuning, resolve_precision
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.storage.tier_index import TierEntry, update_tier_index
from m3ray.study.variants import make_finetune_variant

SMALL = FinetuneConfig(precision="float32", epochs=3, batch=8, micro_batch=4, cache="none")


@pytest.fixture
def prepared(tmp_path, monkeypatch, capsys):
    """Prepares a run on 30 train and 10 val clips, raw (15 columns) and scene (40)."""
    study, variant, _ = train_study(tmp_path)
    monkeypatch.setattr(prepare, "read_frame_settings", lambda *_: (DecodeConfig(), EventConfig(network="ir")))
    monkeypatch.setattr(prepare, "make_streams", lambda spec, uris, cache, limits, run: {"run": run.uri})

    def run(config=SMALL):
        tuned = make_finetune_variant(variant, config)
        spec, streams = prepare_finetuning(study, tuned, {"w": 1}, {}, 5, Resources(4, 0), LimitsConfig(), "run-5")
        return study, spec, streams, capsys.readouterr().out

    return run


def test_the_network_s_columns_are_positions_in_the_matrix_that_the_head_sees(prepared):
    study, spec, streams, _ = prepared()
    assert list(spec.columns) == ["scene"]
    np.testing.assert_array_equal(spec.columns["scene"], np.arange(15, 55))
    np.testing.assert_array_equal(spec.matrix, study.data.scaled)
    np.testing.assert_array_equal(spec.evaluated, study.data.val)
    assert (spec.val, spec.network, spec.refit) == (10, "ir", None)
    assert streams["run"].endswith("/study/small/unfrozen/run-5")


def test_a_step_is_shared_evenly_and_told(prepared):
    _, spec, _, out = prepared(replace(SMALL, workers=2))
    assert (spec.layout.workers, spec.layout.accumulation_steps, spec.layout.micro_batch) == (2, 1, 4)
    assert (spec.sampler.seed, spec.sampler.steps) == (5, 4)
    assert "30 train clips, 3 epochs of 4 steps; a step is 2 workers x 1 micro-batches x 4 clips, float32" in out


def test_a_batch_is_no_larger_than_the_train_split(prepared):
    assert prepared(replace(SMALL, batch=64, workers=4))[1].layout.batch == 28, "30 clips, a multiple of the workers"


def test_a_worker_needs_a_clip(prepared):
    with pytest.raises(ConfigError, match="clips"):
        prepared(replace(SMALL, workers=31))


def test_similarity_of_changing_width_is_not_fitted_anew(prepared, tmp_path):
    study, spec, _, _ = prepared()
    assert spec.refit is None
    config = SimilarityConfig(measure="dbscan", sources=("scene",))
    update_tier_index(study.root, {"similarity": TierEntry("similarity-1", identity={"config": as_json(config)})})
    with pytest.raises(ConfigError, match="dbscan"):
        prepared(replace(SMALL, refit_similarity=True))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_precision_that_is_given_stays(precision):
    config = FinetuneConfig(precision=precision)
    assert resolve_precision(config, Resources(1, 8)) is config


@pytest.mark.parametrize(
    ("gpus", "native", "expected"),
    [(0, torch.bfloat16, "bfloat16"), (0, torch.float32, "float32"), (4, torch.float32, "bfloat16")],
)
def test_auto_is_what_the_devices_compute_in(monkeypatch, gpus, native, expected):
    """A driver without a GPU of its own cannot ask those of the cluster: they are taken to have bfloat16 units."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(prepare, "fastest_precision", lambda _: native)
    assert resolve_precision(FinetuneConfig(precision="auto"), Resources(4, gpus)).precision == expected
