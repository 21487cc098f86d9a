"""A finetuning's outcome as a trial of the study, and its files."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import planted
from safetensors.numpy import load

from m3ray.config import TrainConfig
from m3ray.config.presets import finetune_small
from m3ray.features.load import StudyFeatures
from m3ray.features.target import Target
from m3ray.model import MLP
from m3ray.model.metrics import METRICS
from m3ray.storage.root import Root
from m3ray.study.finetuned_trial import FinetuneOutcome, stack_heads, summarise_finetuning, write_networks
from m3ray.study.study import Study
from m3ray.study.variants import Variant

VARIANT = Variant(
    "M3-S, unfrozen", ("raw",), training=TrainConfig(hidden=(4,)), full="M3-S", finetuning=finetune_small()
)


def make_head(seed):
    torch.manual_seed(seed)
    return MLP(3, (4,))


def make_outcome(seed, epochs, data, **changes):
    rng = np.random.default_rng(seed)
    outcome = FinetuneOutcome(
        networks={"scene": {"conv.weight": np.ones((2, 3), np.float32), "norm.num_batches_tracked": np.array(3)}},
        head={name: value.numpy() for name, value in make_head(seed).state_dict().items()},
        train_loss=np.arange(epochs, 0, -1) / 10,
        metrics={name: np.arange(epochs) / 10 for name in METRICS},
        predictions=rng.random(len(data.val) + len(data.test)),
        means={"scene": np.full(2, 0.5, np.float32)},
        stopped="",
        waiting=0.1,
        seconds_a_step=0.2,
    )
    return replace(outcome, **changes)


@pytest.fixture
def study(tmp_path):
    data = planted(60)
    data = replace(data, val=data.val[::2], test=data.val[1::2])
    return Study(Root(str(tmp_path)), "ablation", StudyFeatures(data, {}, "key"), (0, 1))


def test_stacked_heads_score_as_each_head_does():
    heads, x = [make_head(seed).double() for seed in range(3)], torch.rand(5, 3, dtype=torch.float64)
    stacked = stack_heads([{n: v.numpy() for n, v in head.state_dict().items()} for head in heads])
    with torch.no_grad():
        torch.testing.assert_close(stacked(x), torch.stack([head(x) for head in heads]))


def test_a_run_that_stopped_early_repeats_its_last_epoch(study):
    outcomes = [make_outcome(0, 3, study.data), make_outcome(1, 1, study.data, stopped="the loss is nan at step 9")]
    result = summarise_finetuning(study, VARIANT, (0, 1), outcomes)
    np.testing.assert_allclose(result.trained.train_loss, [[0.3, 0.2, 0.1], [0.1, 0.1, 0.1]])
    assert result.summary["status"] == "1 of 2 runs stopped early: the loss is nan at step 9"
    assert result.summary["spearman"] == pytest.approx((0.2 + 0.0) / 2)


def test_predictions_are_of_val_then_of_test(study):
    outcomes = [make_outcome(seed, 1, study.data) for seed in (0, 1)]
    result = summarise_finetuning(study, VARIANT, (0, 1), outcomes)
    val, test = (np.stack([part(o.predictions) for o in outcomes]) for part in (lambda p: p[:6], lambda p: p[6:]))
    np.testing.assert_array_equal(result.trained.val, val)
    assert result.summary["test_mse"] == pytest.approx(METRICS["mse"](test, study.data.scores[study.data.test]).mean())


def test_the_networks_weights_count_and_their_statistics_do_not(study):
    networks = {
        "scene": {"conv.weight": np.ones((2, 3)), "norm.running_mean": np.ones(2), "norm.running_var": np.ones(2)}
    }
    result = summarise_finetuning(study, VARIANT, (0,), [make_outcome(0, 1, study.data, networks=networks)])
    assert result.summary["parameters"] == (3 * 4 + 4 + 4 + 1) + 6


def test_a_trial_s_folder_gets_networks_means_and_a_refit(study, tmp_path):
    outcome = make_outcome(0, 1, study.data, refit={"refit.json": b"{}"})
    write_networks(study.root, ("part",), outcome)
    assert sorted(path.name for path in (tmp_path / "part").iterdir()) == [
        "means.safetensors",
        "refit.json",
        "tuned-scene.safetensors",
    ]
    weights = load((tmp_path / "part" / "tuned-scene.safetensors").read_bytes())
    assert set(weights) == {"conv.weight"}, "nobody reads the batch norms' counter"
    np.testing.assert_array_equal(load((tmp_path / "part" / "means.safetensors").read_bytes())["scene"], [0.5, 0.5])


def test_networks_that_learn_a_mapped_target_report_in_its_units(study):
    data = replace(study.data, scores=4 * study.data.scores - 1, target=Target("d_prime", -1.0, 3.0))
    outcome = make_outcome(0, 1, data)
    mapped = replace(study, loaded=replace(study.loaded, data=data))
    result = summarise_finetuning(mapped, VARIANT, (0,), [outcome])
    np.testing.assert_allclose(result.predictions["score"], 4 * outcome.predictions[: len(data.val)] - 1)
    test = 4 * outcome.predictions[len(data.val) :] - 1
    assert result.summary["test_mse"] == pytest.approx(np.mean((test - data.scores[data.test]) ** 2))
