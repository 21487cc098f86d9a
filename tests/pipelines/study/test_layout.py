"""Cores and parts of GPUs of a study's trials."""

from dataclasses import replace

import pytest
import ray
from trained_studies import train_study

from m3ray.config import TrainConfig
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.device_probe import DeviceFacts
from m3ray.pipelines.study import layout
from m3ray.pipelines.study.layout import (
    count_node_cores,
    count_trials_on_gpu,
    estimate_gpu_bytes,
    lay_out_cores,
    lay_out_folds,
    lay_out_study,
)

GIB = 1 << 30


def test_one_variant_gets_every_core_that_it_can_use():
    assert lay_out_cores({"a": 16}, 2, 2) == {"a": 2}
    assert lay_out_cores({"a": 16}, 64, 64) == {"a": 16}
    assert lay_out_cores({"a": 1}, 64, 64) == {"a": 1}


def test_no_trial_asks_for_more_than_a_node_has():
    assert lay_out_cores({"a": 16, "b": 16}, 64, 8) == {"a": 8, "b": 8}


def test_fewer_variants_than_cores_share_them():
    assert lay_out_cores({"a": 16, "b": 16, "c": 16}, 8, 8) == {"a": 2, "b": 2, "c": 2}


def test_at_the_tail_trials_share_what_would_idle_and_come_last():
    """Five on two cores: two rounds of two, then one on both; small ones, which can use one alone, go before it."""
    useful = {"a": 16, "b": 16, "c": 16, "d": 16, "e": 16, "small": 1}
    laid = lay_out_cores(useful, 2, 2)
    assert laid == {"a": 1, "b": 1, "c": 1, "d": 1, "small": 1, "e": 2}
    assert list(laid) == ["a", "b", "c", "d", "small", "e"]


def test_full_rounds_give_each_trial_one_core():
    assert lay_out_cores({"a": 16, "b": 16}, 2, 2) == {"a": 1, "b": 1}


def test_the_longest_variants_start_first(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "count_node_cores", lambda: 4)
    study, variant, _ = train_study(tmp_path)
    large = replace(variant, name="large", training=TrainConfig(hidden=(8000,)))  # 55 x 8,000 weights: out of cache
    laid = lay_out_study(study.data, [variant, large], 2, Resources(4, 0))
    assert laid == {variant.name: {"cpu": 1}, "large": {"cpu": 4}}


def test_a_variant_that_cannot_be_trained_is_left_to_its_trial_to_tell(tmp_path):
    study, variant, _ = train_study(tmp_path)
    bad = replace(variant, name="bad", tiers=("missing",))
    assert lay_out_study(study.data, [variant, bad], 2, Resources(2, 0))["bad"] == {"cpu": 1}


def facts(memory):
    return DeviceFacts(bfloat16=True, gpu_memory=memory)


@pytest.mark.parametrize(
    ("memory", "trials", "cpus", "expected"),
    [(24 * GIB, 38, 32, 8), (24 * GIB, 3, 32, 2), (24 * GIB, 38, 8, 4), (6 * GIB, 38, 32, 2), (GIB, 38, 32, 1)],
)
def test_trials_share_a_gpu_as_memory_variants_and_cpus_allow(memory, trials, cpus, expected):
    """Two GPUs, 2 GiB a trial: nine tenths of 6 GiB hold two; three trials are two for a GPU; 8 CPUs feed four."""
    assert count_trials_on_gpu(Resources(cpus, 2, facts=facts(memory)), trials, 2 * GIB) == expected


def test_four_share_a_gpu_that_nobody_asked():
    assert count_trials_on_gpu(Resources(16, 2), 38, GIB) == 4


def test_memory_on_a_gpu_grows_with_runs_and_rows():
    """M3-S, 4 runs, 8,500 clips: 4 x 4 x 4 bytes x 1,894,529 + 2 x 4 x 8,500 x 3,635 + 8 x 4 x 8,500 x 4,211."""
    assert estimate_gpu_bytes(8500, 3635, (512, 64), 4) == GIB + 64 * 1_894_529 + 8 * 8500 * 3635 + 32 * 8500 * 4211


def test_variants_on_a_gpu_ask_for_a_part_of_it(tmp_path):
    study, variant, _ = train_study(tmp_path)
    laid = lay_out_study(study.data, [variant], 2, Resources(8, 1, facts=facts(24 * GIB)))
    assert laid == {variant.name: {"cpu": 1, "gpu": 1.0}}


def test_the_smallest_node_with_cpus_counts(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    nodes = [({"CPU": 16.0}, True), ({"CPU": 4.0}, True), ({"GPU": 1.0}, True), ({"CPU": 2.0}, False)]
    monkeypatch.setattr(ray, "nodes", lambda: [{"Resources": r, "Alive": alive} for r, alive in nodes])
    assert count_node_cores() == 4
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    assert count_node_cores() == 1


def test_trainings_in_splits_get_a_core_each_the_longest_first(tmp_path):
    study, variant, _ = train_study(tmp_path)
    large = replace(variant, name="large", training=TrainConfig(hidden=(80,)))
    laid = lay_out_folds(study.data, [variant, large], 5, 2, Resources(4, 0))
    assert list(laid.items()) == [("large", {"num_cpus": 1.0}), (variant.name, {"num_cpus": 1.0})]
    assert lay_out_folds(study.data, [], 5, 2, Resources(4, 1)) == {}


def test_trainings_in_splits_share_a_gpu_as_trials_do(tmp_path):
    """One variant in five splits is five trainings; 24 GiB hold more of a GiB each, and 8 CPUs feed all of them."""
    study, variant, _ = train_study(tmp_path)
    laid = lay_out_folds(study.data, [variant], 5, 2, Resources(8, 1, facts=facts(24 * GIB)))
    assert laid == {variant.name: {"num_cpus": 1.0, "num_gpus": 1 / 5}}
