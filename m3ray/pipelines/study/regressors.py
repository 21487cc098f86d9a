"""The models beside the MLP: a Ray task a regressor, one a fold of the MLP's own predictions, and the ensemble's."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ray
import torch

from m3ray.config.options import FitOptions
from m3ray.errors import StudyError
from m3ray.model import StackedMLP
from m3ray.pipelines.runtime.assigned_gpus import hide_gpus
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.failures import as_m3ray_error
from m3ray.pipelines.runtime.rate import duration
from m3ray.pipelines.study.layout import count_node_cores
from m3ray.pipelines.study.out_of_fold import estimate_trainings, join_folds, start_folds
from m3ray.study.regressors import MEMBERS, explain_too_few, read_member, run_ensemble, run_regressor
from m3ray.study.store import (
    is_trained,
    read_out_of_fold,
    read_trial_tensors,
    write_out_of_fold,
    write_regressor_trial,
)
from m3ray.study.study import Study
from m3ray.study.variants import ENSEMBLE, Variant, regressor_variants

logger = logging.getLogger(__name__)

_LINE_SECONDS = 10.0  # between two lines of progress
_MOST_CORES = 4  # more do little for one regressor


def needs_ensemble(options: FitOptions) -> bool:
    """Whether a job's options need the ensemble, and with it the MLP's predictions of held-out fifths.

    Args:
        options: Options with `fit`, and perhaps `model`.
    Returns:
        Whether the bundle may hold the ensemble, or an MLP that is calibrated on such predictions. With `--fit paper`
        the bundle is the MLP as it is, unless an ensemble is asked for.
    """
    model = getattr(options, "model", "auto")
    return model == ENSEMBLE or (model in ("auto", "mlp") and options.fit != "paper")


def train_beside(study: Study, full: Variant, resources: Resources, *, ensemble: bool) -> list[Variant]:
    """Train the models that stand beside a full model; what an earlier job trained is not trained again.

    Args:
        study: The study, which has trained the full model.
        full: The full model.
        resources: CPUs and GPUs of the cluster; all of this runs on CPUs.
        ensemble: Whether the ensemble is one of them.
    Returns:
        The variants, whether or not their trials went well: one that failed has no trial. None where the train split
        is too small.
    """
    too_few = explain_too_few(study.data)
    if too_few is not None:
        logger.info(f"study: {too_few}: no regressor stands beside the MLP")
        return []
    variants = [v for v in regressor_variants(full) if ensemble or v.regressor != ENSEMBLE]
    wants_folds = ensemble and read_out_of_fold(study, full) is None and is_trained(study, full)
    missing = [v for v in variants if not is_trained(study, v)]
    logger.info(f"study: {len(variants)} models beside {full.name}; {len(variants) - len(missing)} cached")
    if wants_folds:
        logger.info(f"study: {_describe_folds(study, full)}")
    single = [v for v in missing if v.regressor != ENSEMBLE]
    if single or wants_folds:
        _train(study, full, single, resources, wants_folds=wants_folds)
    for variant in variants:
        if variant.regressor == ENSEMBLE and (variant in missing or single or wants_folds):
            _run_ensemble(study, full, variant)
    return variants


def _describe_folds(study: Study, full: Variant) -> str:
    """What the folds are for, and what they cost."""
    trainings = estimate_trainings(study)
    seconds = study.root.read_json(*study.trial_folder(full), "trial.json").get("seconds")
    time_needed = "" if seconds is None else f" (about {duration(trainings * seconds)})"
    return (
        f"the ensemble's weights: each fifth of the train split is predicted by an MLP of the other four: about "
        f"{trainings:.1f} times the training of {full.name}{time_needed}, once for all"
    )


def _train(
    study: Study, full: Variant, variants: Sequence[Variant], resources: Resources, *, wants_folds: bool
) -> None:
    """Train regressors and folds side by side; a failure is a line, and what it concerns has no files."""
    shared = ray.put(study)
    cores = max(1, min(_MOST_CORES, resources.cpus // 2, count_node_cores()))
    task = fit_task.options(num_cpus=cores, max_retries=2)
    tasks: dict[ray.ObjectRef, Variant | int] = {task.remote(shared, v, cores): v for v in _sort_longest(variants)}
    if wants_folds:
        tasks |= start_folds(study, shared, full, resources)
    parts = {}
    for what, value in _wait(tasks):
        if isinstance(what, int):
            parts[what] = value
        else:
            logger.info(f"  {what.name:<22} {value}")
    folds = [what for what in tasks.values() if isinstance(what, int)]
    if folds and len(parts) == len(folds):
        write_out_of_fold(study, full, join_folds(study, parts))


def _sort_longest(variants: Sequence[Variant]) -> list[Variant]:
    order = ("svr", "boosting", "ridge", "constant")
    return sorted(variants, key=lambda v: order.index(str(v.regressor)))


def _wait(tasks: Mapping[ray.ObjectRef, Variant | int]) -> Iterator[tuple[Variant | int, Any]]:
    """What each task gave, as they end, with a line of progress now and then; one that failed is a line alone."""
    waiting, last = list(tasks), time.monotonic()
    while waiting:
        ready, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=_LINE_SECONDS / 2)
        for task in ready:
            try:
                value = ray.get(task)
            except Exception as error:
                logger.warning(f"study: {_name(tasks[task])} failed: {str(as_m3ray_error(error))[:300]}")
                continue
            yield tasks[task], value
        if waiting and time.monotonic() - last >= _LINE_SECONDS:
            last = time.monotonic()
            logger.info(f"study: {len(tasks) - len(waiting)} of {len(tasks)} regressors and folds are done")


def _name(what: Variant | int) -> str:
    return what.name if isinstance(what, Variant) else f"fold {what + 1} of the train split"


@ray.remote
def fit_task(study: Study, variant: Variant, cores: int) -> str:
    """Fit a regressor, write its trial, and describe it."""
    hide_gpus()
    torch.set_num_threads(cores)
    return fit_and_write(study, variant, cores)


def fit_and_write(study: Study, variant: Variant, cores: int) -> str:
    """Fit a regressor and write its trial.

    Args:
        study: The study.
        variant: Variant with a regressor that is not the ensemble.
        cores: Cores of the CPU to fit on.
    Returns:
        What it reached on val, in words.
    """
    result = run_regressor(variant, study.data, study.seeds, cores)
    write_regressor_trial(study, variant, result)
    return describe_summary(result.summary)


def describe_summary(summary: Mapping[str, Any]) -> str:
    """Describe what a trial reached on val.

    Args:
        summary: Row of `trials.parquet`.
    Returns:
        Rank correlation, error and time, in words.
    """
    rho, mse, seconds = (summary.get(name) for name in ("spearman", "mse", "seconds"))
    texts = ["undefined" if value is None else f"{value:.{digits}f}" for value, digits in ((rho, 4), (mse, 5))]
    return f"val spearman {texts[0]}, mse {texts[1]}" + ("" if seconds is None else f", {seconds:.1f} s")


def _run_ensemble(study: Study, full: Variant, variant: Variant) -> None:
    """Fit and write the ensemble, in a task of its own: its predictions need as much memory as the matrix."""
    try:
        described = ray.get(ensemble_task.options(num_cpus=1, max_retries=2).remote(study, full, variant))
    except Exception as error:
        logger.warning(f"study: {variant.name} failed, the table marks it: {str(as_m3ray_error(error))[:300]}")
        return
    logger.info(f"  {variant.name:<22} {described}")


@ray.remote
def ensemble_task(study: Study, full: Variant, variant: Variant) -> str:
    """Fit the ensemble, write its trial, and describe it."""
    hide_gpus()
    torch.set_num_threads(1)
    return mix_and_write(study, full, variant)


def mix_and_write(study: Study, full: Variant, variant: Variant) -> str:
    """Fit the ensemble of what a study has trained, and write its trial.

    Args:
        study: The study, with the full model, its predictions of held-out fifths, and those regressors that did not
            fail.
        full: The full model.
        variant: Variant of the ensemble.
    Returns:
        What it reached on val, in words, and what it is made of.
    Raises:
        StudyError: If one of these was not trained.
    """
    by_name = {str(v.regressor): v for v in regressor_variants(full)}
    members = {name: read_member(study, by_name[name]) for name in MEMBERS if is_trained(study, by_name[name])}
    own = read_out_of_fold(study, full)
    if own is None:
        raise StudyError(f"{full.name}: has no predictions of held-out fifths: the lines above say why")
    tensors = read_trial_tensors(study, full)
    tensors.pop("columns")
    model = StackedMLP.from_state({key: torch.tensor(value) for key, value in tensors.items()}).eval()
    seconds = study.root.read_json(*study.trial_folder(full), "trial.json").get("seconds") or 0.0
    result = run_ensemble(variant, study.data, study.seeds, model, own, members, mlp_seconds=seconds)
    write_regressor_trial(study, variant, result)
    parts = ", ".join(f"{name} {share:.2f}" for name, share in result.chosen["ensemble"]["shares"].items())
    return f"{describe_summary(result.summary)}: {parts}"
