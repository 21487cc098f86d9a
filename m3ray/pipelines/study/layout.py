"""How many cores, and what part of a GPU, each trial of a study gets, so that none idles, at the study's end either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ray

from m3ray.errors import StudyError
from m3ray.features.dataset import StudyData
from m3ray.model import parameter_count
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.study.trial import select_columns
from m3ray.study.variants import Variant
from m3ray.training.stacked import count_useful_cores


def lay_out_cores(useful: Mapping[str, int], cores: int, most: int) -> dict[str, int]:
    """Give each trial cores, and an order in which no core waits for long.

    Trials run one a core while there are as many as cores. Of those that can use several, as many as are left in the
    last round, which would not fill the cores, share them instead.

    Args:
        useful: trials, the longest first, each with the number of cores that it can use.
        cores: cores of the cluster.
        most: cores of its smallest node, more than which no trial may ask for.
    Returns:
        Trial to its cores, in the order to start them in: those that share the last round come last.
    """
    wide = [name for name, number in useful.items() if number > 1]
    left = len(wide) % cores
    last = wide[len(wide) - left :]
    shared = cores // left if left else 1
    first = {name: 1 for name in useful if name not in last}
    return first | {name: max(1, min(useful[name], shared, most)) for name in last}


def lay_out_study(
    data: StudyData, variants: Sequence[Variant], runs: int, resources: Resources
) -> dict[str, dict[str, float]]:
    """Give each variant of a study its resources.

    Args:
        data: data of the study.
        variants: the variants to train.
        runs: runs of each.
        resources: CPUs and GPUs of the cluster.
    Returns:
        Variant to its resources, as Tune takes them, in the order to start them in.
    """
    inputs = {variant.name: _count_inputs(data, variant) for variant in variants}
    longest = _sort_longest(variants, inputs)
    if resources.gpus:
        fraction = _gpu_fraction(data, variants, len(variants), runs, resources)
        return {variant.name: {"cpu": 1, "gpu": fraction} for variant in longest}
    useful = {v.name: count_useful_cores(inputs[v.name], v.training, runs) for v in longest}
    cores = lay_out_cores(useful, resources.cpus, count_node_cores())
    return {name: {"cpu": number} for name, number in cores.items()}


def lay_out_folds(
    data: StudyData, variants: Sequence[Variant], folds: int, runs: int, resources: Resources
) -> dict[str, dict[str, float]]:
    """Give each training of a variant in one of several splits its resources.

    There are many, so each gets one core.

    Args:
        data: data of the study.
        variants: the variants to train.
        folds: number of splits.
        runs: runs of each.
        resources: CPUs and GPUs of the cluster.
    Returns:
        Variant to the resources of each of its trainings, as Ray takes them, in the order to start them in.
    """
    inputs = {variant.name: _count_inputs(data, variant) for variant in variants}
    share = {"num_cpus": 1.0}
    if resources.gpus and variants:
        share["num_gpus"] = _gpu_fraction(data, variants, folds * len(variants), runs, resources)
    return {variant.name: share for variant in _sort_longest(variants, inputs)}


def _sort_longest(variants: Sequence[Variant], inputs: Mapping[str, int]) -> list[Variant]:
    """Variants by the time that their training takes, the longest first."""
    return sorted(variants, key=lambda v: -parameter_count(inputs[v.name], v.training.hidden) * v.training.epochs)


def _gpu_fraction(
    data: StudyData, variants: Sequence[Variant], trainings: int, runs: int, resources: Resources
) -> float:
    """Part of a GPU that each of so many trainings gets."""
    rows = len(data.scores)
    needed = max(estimate_gpu_bytes(rows, _count_inputs(data, v), v.training.hidden, runs) for v in variants)
    return 1 / count_trials_on_gpu(resources, trainings, needed)


def _count_inputs(data: StudyData, variant: Variant) -> int:
    """Number of a variant's features; 1 where the study lacks some: its trial will fail, and the table say why."""
    try:
        return len(select_columns(data.features, variant))
    except StudyError:
        return 1


_CONTEXT = 1 << 30  # bytes of CUDA's context, its libraries and PyTorch's cache, of each process on a GPU
_MOST_ON_GPU = 8  # more processes on one GPU take turns instead of computing at once
_TRIALS_UNKNOWN = 4  # on a GPU whose memory nobody looked up


def estimate_gpu_bytes(rows: int, inputs: int, hidden: Sequence[int], runs: int) -> int:
    """Estimate the memory of a trial on a GPU.

    Args:
        rows: clips of the study.
        inputs: features of the variant.
        hidden: widths of its hidden layers.
        runs: runs that are stacked.
    Returns:
        Bytes: weights, gradients, moments; the matrix twice; its layers when all clips are predicted; the context.
    """
    widths = sum(hidden) + inputs
    return _CONTEXT + 4 * (4 * runs * parameter_count(inputs, hidden) + 2 * rows * inputs + 2 * runs * rows * widths)


def count_trials_on_gpu(resources: Resources, trials: int, needed: int) -> int:
    """Number of trials that share a GPU: as many as there are for it, as its memory holds and as CPUs feed.

    Args:
        resources: CPUs and GPUs of the cluster, of which there is at least one.
        trials: number of trials.
        needed: bytes of a trial on a GPU.
    Returns:
        1 to 8.
    """
    held = int(0.9 * resources.gpu_memory / needed) if resources.gpu_memory else _TRIALS_UNKNOWN
    for_each = -(-trials // resources.gpus)
    return max(1, min(held, for_each, resources.cpus // resources.gpus, _MOST_ON_GPU))


def count_node_cores() -> int:
    """Number of CPUs of the smallest node that has any; 1 where there is no cluster."""
    nodes = ray.nodes() if ray.is_initialized() else []
    return min(
        (int(n["Resources"]["CPU"]) for n in nodes if n["Alive"] and n["Resources"].get("CPU", 0) >= 1), default=1
    )
