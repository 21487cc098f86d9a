"""What the workers of a finetuning are given."""

from dataclasses import replace

import numpy as np
import pytest
from trained_studies import train_study

from m3ray.config import DecodeConfig, EventConfig, LimitsConfig, SimilarityConfig, as_json
from m3ray.config.finetuning import FinetuneConfig
from m3ray.config.options import FinetuneOptions
from m3ray.config.presets import finetune_gpu24x8, finetune_gpu80
from m3ray.errors import ConfigError
from m3ray.pipelines.finetuning import prepare
from m3ray.pipelines.finetuning.prepare import prepare_finetuning, resolve_checkpointing, resolve_precision
from m3ray.pipelines.finetuning.train import choose_preset
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.device_probe import DeviceFacts
from m3ray.storage.tier_index import TierEntry, update_tier_index
from m3ray.study.variants import make_finetune_variant
from m3ray.training.finetuning.memory import StepShape

CPUS = Resources(4, 0)
SMALL = FinetuneConfig(precision="float32", epochs=3, batch=8, micro_batch=4, cache="none")


@pytest.fixture
def prepared(tmp_path, monkeypatch, capsys):
    """Prepares a run on 30 train and 10 val clips, raw (15 columns) and scene (40)."""
    study, variant, _ = train_study(tmp_path)
    monkeypatch.setattr(prepare, "read_frame_settings", lambda *_: (DecodeConfig(), EventConfig(network="ir")))
    monkeypatch.setattr(prepare, "make_streams", lambda spec, uris, cache, limits, run: {"run": run.uri})

    def run(config=SMALL, resources=CPUS):
        tuned = make_finetune_variant(variant, config)
        spec, streams = prepare_finetuning(study, tuned, {"w": 1}, {}, 5, resources, LimitsConfig(), "run-5")
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


def test_a_step_is_shared_out_and_told(prepared):
    _, spec, _, out = prepared(replace(SMALL, workers=2))
    assert (spec.layout.workers, spec.layout.accumulation_steps, spec.layout.micro_batch) == (2, 1, 4)
    assert (spec.sampler.seed, spec.sampler.steps) == (5, 4)
    assert "30 train clips, 3 epochs of 4 steps; a step is 2 workers x 1 micro-batches x 4 clips, float32" in out


def test_an_uneven_share_is_told(prepared):
    _, spec, _, out = prepared(replace(SMALL, workers=3))
    assert (spec.sampler.batch, spec.sampler.places, spec.layout.capacity) == (8, 9, 9)
    assert "a step is 3 workers x 1 micro-batches x 3 clips with 1 of 9 places empty, float32" in out


@pytest.mark.parametrize("workers", [1, 4, 31])
def test_a_batch_is_no_larger_than_the_train_split_whoever_works(prepared, workers):
    spec = prepared(replace(SMALL, batch=64, workers=workers))[1]
    assert (spec.sampler.batch, spec.sampler.steps, spec.layout.workers) == (30, 1, workers)


@pytest.mark.parametrize("preset", [finetune_gpu80, finetune_gpu24x8])
@pytest.mark.parametrize("gpus", [1, 3, 7, 12, 24, 64])
def test_any_number_of_gpus_trains_the_same_steps(prepared, preset, gpus):
    """A4 of issue 20: 12 GPUs did not divide a batch of 32; 3, 7, 24 and 64 failed, too."""
    resources, options = Resources(96, gpus), FinetuneOptions(unfrozen="auto")
    for config in (choose_preset(options, resources), replace(preset(), workers=None)):
        spec = prepared(replace(config, cache="none"), resources)[1]
        assert (spec.sampler.batch, spec.sampler.steps) == (30, 1)
        assert spec.layout.workers == min(gpus, 30), "a worker has a clip at least, unless more are asked for"
        assert spec.layout.micro_batch <= config.micro_batch


def test_similarity_of_changing_width_is_not_fitted_anew(prepared, tmp_path):
    study, spec, _, _ = prepared()
    assert spec.refit is None
    config = SimilarityConfig(measure="dbscan", sources=("scene",))
    update_tier_index(study.root, {"similarity": TierEntry("similarity-1", identity={"config": as_json(config)})})
    with pytest.raises(ConfigError, match="dbscan"):
        prepared(replace(SMALL, refit_similarity=True))


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_a_precision_that_is_given_stays(precision):
    config = FinetuneConfig(precision=precision)
    assert resolve_precision(config, Resources(1, 8)) is config


@pytest.mark.parametrize("gpus", [0, 4])
@pytest.mark.parametrize(("bfloat16", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_what_all_devices_compute_in_wherever_the_driver_is(monkeypatch, gpus, bfloat16, expected):
    """What the probe found decides alone: the driver's own PyTorch is not asked."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: pytest.fail("the driver was asked"))
    resources = Resources(4, gpus, facts=DeviceFacts(bfloat16, description="a card"))
    assert resolve_precision(FinetuneConfig(precision="auto"), resources).precision == expected


def test_blocks_are_recomputed_only_where_memory_asks_for_it():
    shape, gib = StepShape(["scene"], "ip", 64, 8, 256, bfloat16=True), 1 << 30
    resources = [Resources(4, 1, facts=DeviceFacts(True, gb * gib, description="a card")) for gb in (80, 8)]
    auto = FinetuneConfig()
    assert [resolve_checkpointing(auto, shape, given).checkpointing for given in resources] == [False, True]
    assert resolve_checkpointing(auto, shape, Resources(4, 1)).checkpointing is True, "memory that nobody knows"
    for given in (True, False):
        config = replace(auto, checkpointing=given)
        assert resolve_checkpointing(config, shape, resources[0]) is config
    assert auto.outcome_settings() == replace(auto, checkpointing=False).outcome_settings(), "trials stay cached"


def test_what_is_decided_is_told(prepared):
    assert "float32, blocks recomputed" in prepared()[3]
    assert "float32, blocks kept" in prepared(replace(SMALL, checkpointing=False))[3]
