"""What is kept of an unfrozen training: the trial's row, its networks, and where the weights it began from lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from safetensors.numpy import save

from m3ray.data.rooms import current_tiers
from m3ray.data.store import Root
from m3ray.errors import ConfigError
from m3ray.model import StackedMLP, parameter_count
from m3ray.pipelines.loading import Study
from m3ray.study.trial import TrialResult, columns_of, summarised
from m3ray.study.variants import Variant
from m3ray.tiers.network import WeightSource
from m3ray.tiers.tuned import PREFIX as TUNED_PREFIX
from m3ray.training.scorer import network_file
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


def weights_of(root: Root, tiers: tuple[str, ...], given: Mapping[str, WeightSource]) -> dict[str, WeightSource]:
    """Where the weights lie that the root's features were made with.

    Args:
        root: its features.
        tiers: that the model sees.
        given: sources that the job knows.
    Raises:
        ConfigError: a file that nothing here names any more.
    """
    current, found = current_tiers(root), {}
    for tier in (name for name in NETWORKS if name in tiers):
        known = current[tier]["identity"]["weights"]
        if "untrained_seed" in known:
            found[tier] = WeightSource(seed=known["untrained_seed"])
            continue
        candidates = [source for name, source in (*given.items(), *_of_bundles(root)) if name == tier]
        matching = [source for source in candidates if source.sha256 == known["sha256"]]
        if not matching:
            raise ConfigError(
                f"--unfrozen: no bundle of {root.uri} names the weights that its {tier} features were made with "
                f"(SHA-256 {known['sha256'][:16]}): run jobs/reproduce.py or jobs/train.py with their --weights"
            )
        found[tier] = matching[0]
    return found


def _of_bundles(root: Root) -> list[tuple[str, WeightSource]]:
    facts = [
        root.read_json("models", n, "bundle.json")
        for n in root.names("models")
        if root.exists("models", n, "bundle.json")
    ]
    return [(tier, WeightSource(**entry)) for known in facts for tier, entry in known["sources"].items()]
