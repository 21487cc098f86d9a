"""Results of a finetuning: the trial's tables, its networks and their mean vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from safetensors.numpy import save

from m3ray.model import StackedMLP, parameter_count
from m3ray.storage.root import Root
from m3ray.study.study import Study
from m3ray.study.trial import TrialResult, select_columns, summarise_trial
from m3ray.study.variants import Variant
from m3ray.tiers.finetuned import FINETUNED_PREFIX, network_file_name
from m3ray.training.own_units import in_own_units
from m3ray.training.stacked import TrainedRuns

NETWORKS = ("scene", "event")
# State of batch norms that is no parameter. Nothing reads the counter, so it is not written.
_COUNTER = "num_batches_tracked"
_STATISTICS = ("running_mean", "running_var", _COUNTER)


@dataclass(frozen=True)
class FinetuneOutcome:
    """Outcome of one finetuned run of E epochs.

    Args:
        networks: Network, `scene` or `event`, to its state.
        head: State of the MLP.
        train_loss: Mean training loss of each epoch, (E,).
        metrics: Metric to its value on val after each epoch, (E,).
        predictions: Scores of val, then of test, (V + T,).
        means: Network to its mean vector over the train split, (width,).
        stopped: Why the run ended early; empty: it did not.
        waiting: Share of the steps' time spent waiting for frames, 0 to 1.
        seconds_a_step: Median time of a step, seconds.
        refit: Name to content of each file of a similarity tier that was fitted anew; empty: it stayed.
    """

    networks: Mapping[str, Mapping[str, np.ndarray]]
    head: Mapping[str, np.ndarray]
    train_loss: np.ndarray
    metrics: Mapping[str, np.ndarray]
    predictions: np.ndarray
    means: Mapping[str, np.ndarray]
    stopped: str
    waiting: float
    seconds_a_step: float
    refit: Mapping[str, bytes] = field(default_factory=dict)


def summarise_finetuning(
    study: Study, variant: Variant, seeds: tuple[int, ...], outcomes: Sequence[FinetuneOutcome]
) -> TrialResult:
    """Make a trial of the study from finetuned runs; an epoch that a run did not reach repeats its last one.

    Args:
        study: The study.
        variant: The finetuned variant.
        seeds: Seed of each run.
        outcomes: Outcome of each run.
    Returns:
        Models and tables of the trial; its parameters count the networks' too.
    """
    columns, data = select_columns(study.data.features, variant), study.data
    epochs = max(len(outcome.train_loss) for outcome in outcomes)
    model = stack_heads([outcome.head for outcome in outcomes])
    predictions = np.stack([outcome.predictions for outcome in outcomes])
    trained = TrainedRuns(
        model,
        seeds,
        np.stack([_repeat_last(outcome.train_loss, epochs) for outcome in outcomes]),
        {n: np.stack([_repeat_last(run.metrics[n], epochs) for run in outcomes]) for n in outcomes[0].metrics},
        predictions[:, : len(data.val)],
    )
    test = data.target.from_unit(predictions[:, len(data.val) :])
    result = summarise_trial(variant, columns, in_own_units(trained, data.target), data, test)
    networks = [item for states in outcomes[0].networks.values() for item in states.items()]
    size = sum(value.size for name, value in networks if not name.endswith(_STATISTICS))
    result.summary["parameters"] = parameter_count(len(columns), variant.training.hidden) + size
    stopped = [outcome.stopped for outcome in outcomes if outcome.stopped]
    if stopped:
        result.summary["status"] = f"{len(stopped)} of {len(outcomes)} runs stopped early: {stopped[0]}"
    return result


def _repeat_last(values: np.ndarray, length: int) -> np.ndarray:
    return np.concatenate([values, np.repeat(values[-1:], length - len(values))])


def stack_heads(heads: Sequence[Mapping[str, np.ndarray]]) -> StackedMLP:
    """Stack the MLPs of several runs into one model.

    Args:
        heads: State of each run's MLP, as `MLP.state_dict` names it.
    Returns:
        The stacked model.
    """
    layers = range(sum(name.endswith(".weight") for name in heads[0]))
    parts = {"weights": "weight", "biases": "bias"}
    return StackedMLP.from_state(
        {
            f"{ours}.{layer}": torch.from_numpy(np.stack([head[f"layers.{layer}.{theirs}"] for head in heads]))
            for layer in layers
            for ours, theirs in parts.items()
        }
    )


def write_networks(root: Root, folder: tuple[str, ...], outcome: FinetuneOutcome) -> None:
    """Write a run's networks, their mean vectors and a refitted similarity tier.

    Args:
        root: Root of the study.
        folder: Folder of the trial below the root.
        outcome: Outcome of the run.
    """
    for name, state in outcome.networks.items():
        arrays = {key: np.ascontiguousarray(value) for key, value in state.items() if not key.endswith(_COUNTER)}
        root.write_bytes(save(arrays), *folder, network_file_name(f"{FINETUNED_PREFIX}{name}"))
    means = {name: np.ascontiguousarray(values) for name, values in outcome.means.items()}
    root.write_bytes(save(means), *folder, "means.safetensors")
    for name, data in outcome.refit.items():
        root.write_bytes(data, *folder, name)
