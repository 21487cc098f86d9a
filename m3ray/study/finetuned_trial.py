"""What is kept of an unfrozen training: the trial's row, its networks, and where the weights it began from lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from safetensors.numpy import save

from m3ray.model import StackedMLP, parameter_count
from m3ray.storage.root import Root
from m3ray.study.study import Study
from m3ray.study.trial import TrialResult, columns_of, summarised
from m3ray.study.variants import Variant
from m3ray.tiers.finetuned import PREFIX as TUNED_PREFIX
from m3ray.tiers.finetuned import network_file
from m3ray.training.stacked import Trained

NETWORKS = ("scene", "event")
# Of batch norms: no parameters; the counter is a number without a dimension, and no one reads it.
_COUNTER = "num_batches_tracked"
_STATISTICS = ("running_mean", "running_var", _COUNTER)


@dataclass(frozen=True)
class Outcome:
    """One run.

    Args:
        networks: `scene`, `event` to their state.
        head: the MLP's state.
        train_loss: (E,).
        metrics: name to (E,), on val.
        predictions: of val, then of test.
        means: network to its mean vector over the train split.
        stopped: why it ended early; empty: it did not.
        waiting: share of the steps' time spent waiting for frames.
        seconds_a_step: their median.
        refit: files of a similarity tier that was fitted anew; empty: it stayed.
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


def trial_of(study: Study, variant: Variant, seeds: tuple[int, ...], outcomes: Sequence[Outcome]) -> TrialResult:
    """The runs as a trial of the study; an epoch that a run did not reach repeats its last one."""
    columns, data = columns_of(study.data.features, variant), study.data
    epochs = max(len(found.train_loss) for found in outcomes)
    model = stacked_heads(len(columns), variant.training.hidden, seeds, [found.head for found in outcomes])
    predictions = np.stack([found.predictions for found in outcomes])
    trained = Trained(
        model,
        seeds,
        np.stack([_to_length(found.train_loss, epochs) for found in outcomes]),
        {n: np.stack([_to_length(f.metrics[n], epochs) for f in outcomes]) for n in outcomes[0].metrics},
        predictions[:, : len(data.val)],
    )
    result = summarised(variant, columns, trained, data, test=predictions[:, len(data.val) :])
    networks = [item for states in outcomes[0].networks.values() for item in states.items()]
    size = sum(value.size for name, value in networks if not name.endswith(_STATISTICS))
    result.summary["parameters"] = parameter_count(len(columns), variant.training.hidden) + size
    stopped = [found.stopped for found in outcomes if found.stopped]
    if stopped:
        result.summary["status"] = f"{len(stopped)} of {len(outcomes)} runs stopped early: {stopped[0]}"
    return result


def _to_length(values: np.ndarray, length: int) -> np.ndarray:
    return np.concatenate([values, np.repeat(values[-1:], length - len(values))])


def stacked_heads(
    inputs: int, hidden: tuple[int, ...], seeds: tuple[int, ...], heads: list[Mapping[str, np.ndarray]]
) -> StackedMLP:
    """The MLPs of several runs as one model."""
    model = StackedMLP(inputs, hidden, seeds)
    with torch.no_grad():
        for layer in range(len(model.weights)):
            for run, head in enumerate(heads):
                model.weights[layer][run] = torch.from_numpy(head[f"layers.{layer}.weight"])
                model.biases[layer][run] = torch.from_numpy(head[f"layers.{layer}.bias"])
    return model


def write_networks(root: Root, folder: tuple[str, ...], found: Outcome) -> None:
    """A run's networks and their mean vectors, beside the trial's other files."""
    for name, state in found.networks.items():
        arrays = {key: np.ascontiguousarray(value) for key, value in state.items() if not key.endswith(_COUNTER)}
        root.write_bytes(save(arrays), *folder, network_file(f"{TUNED_PREFIX}{name}"))
    means = {name: np.ascontiguousarray(values) for name, values in found.means.items()}
    root.write_bytes(save(means), *folder, "means.safetensors")
    for name, data in found.refit.items():
        root.write_bytes(data, *folder, name)
