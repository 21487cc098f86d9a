"""What the MLP predicts of train clips that it did not train on: a Ray task a fold."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import ray
import torch

from m3ray.pipelines.runtime.assigned_gpus import hide_gpus
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.study.layout import count_node_cores
from m3ray.scoring.calibration import fix_epochs
from m3ray.study.regressor_results import OutOfFold
from m3ray.study.study import Study
from m3ray.study.trial import select_columns
from m3ray.study.variants import Variant
from m3ray.training.out_of_fold import FOLDS, cut_train, predict_fold
from m3ray.training.stacked import count_useful_cores

MOST_RUNS = 2
"""Runs of each fold: the weights of an ensemble need no more, and each costs as much as one of the bundle's."""

FoldPredictions = tuple[np.ndarray, float]  # outputs for the clips left out, (R', n), and the seconds they took


def choose_seeds(study: Study) -> tuple[int, ...]:
    """Choose the seeds of the runs that are trained in each fold.

    Args:
        study: The study.
    Returns:
        Its first two, or its only one.
    """
    return study.seeds[:MOST_RUNS]


def estimate_trainings(study: Study) -> float:
    """Estimate how many trainings of the full model the folds cost.

    Args:
        study: The study.
    Returns:
        Their number: each fold trains some of the runs on four fifths of the clips.
    """
    return FOLDS * (1 - 1 / FOLDS) * len(choose_seeds(study)) / len(study.seeds)


def start_folds(study: Study, shared: ray.ObjectRef, full: Variant, resources: Resources) -> dict[ray.ObjectRef, int]:
    """Start a task a fold, on CPUs alone.

    Args:
        study: The study, which has trained the variant.
        shared: The same study in the object store.
        full: The variant, an MLP: all of its settings stay; an epoch that val chose is the same in each fold.
        resources: CPUs and GPUs of the cluster.
    Returns:
        Task to its fold.
    """
    fixed = fix_epochs(study, full)
    useful = count_useful_cores(
        len(select_columns(study.data.features, full)), fixed.training, len(choose_seeds(study))
    )
    cores = choose_cores(useful, resources.cpus, count_node_cores())
    task = predict_fold_task.options(num_cpus=cores, max_retries=2)
    folds = np.unique(cut_train(study.data, seed=study.seeds[0])).tolist()
    return {task.remote(shared, fixed, fold, cores): fold for fold in folds}


def choose_cores(useful: int, cpus: int, most: int) -> int:
    """Choose the cores of each fold's task, so that all are done soonest.

    Args:
        useful: Cores that the training of a fold can use.
        cpus: Cores of the cluster.
        most: Cores of its smallest node, more than which no task may ask for.
    Returns:
        The number; of several as good, the smallest.
    """

    def rounds(cores: int) -> float:
        at_once = max(1, cpus // cores)
        return -(-FOLDS // at_once) / min(cores, useful)

    return min(range(1, max(1, min(useful, cpus, most)) + 1), key=rounds)


@ray.remote
def predict_fold_task(study: Study, variant: Variant, fold: int, cores: int) -> FoldPredictions:
    """Train on all folds but one, and predict that one."""
    hide_gpus()
    torch.set_num_threads(1)
    return predict_in_fold(study, variant, fold, cores)


def predict_in_fold(study: Study, variant: Variant, fold: int, cores: int) -> FoldPredictions:
    """Train a variant's first runs on all folds of the train split but one, and predict that one.

    Args:
        study: The study.
        variant: The variant, with the number of epochs that it is to have.
        fold: The fold that is left out.
        cores: Cores of the CPU to train on.
    Returns:
        Outputs in the unit scale, (R', n), and the seconds they took.
    """
    start = time.perf_counter()
    left_out = cut_train(study.data, seed=study.seeds[0]) == fold
    columns = select_columns(study.data.features, variant)
    outputs = predict_fold(study.data, columns, variant.training, choose_seeds(study), left_out, cores)
    return outputs, time.perf_counter() - start


def join_folds(study: Study, parts: Mapping[int, FoldPredictions]) -> OutOfFold:
    """Put the folds' predictions together.

    Args:
        study: The study.
        parts: Fold to what was predicted of it; all folds.
    Returns:
        The predictions of the whole train split.
    """
    folds = cut_train(study.data, seed=study.seeds[0])
    predictions = np.full((len(choose_seeds(study)), len(folds)), np.nan)
    for fold, (outputs, _) in parts.items():
        predictions[:, folds == fold] = outputs
    return OutOfFold(predictions, folds, _add_seconds(list(parts.values())))


def _add_seconds(parts: Sequence[FoldPredictions]) -> float:
    return float(sum(seconds for _, seconds in parts))
