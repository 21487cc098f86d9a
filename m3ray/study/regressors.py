"""Trials of what stands beside the MLP on the same features: regressors, a constant, and the ensemble of them all.

A regressor is fitted once, with the first seed: its predictions are repeated for each seed of the study, so that a
difference to the MLP is paired with every run of it, and the interval counts how the MLP's runs vary. The ensemble is
one for each run of the MLP.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from safetensors.numpy import load

from m3ray.errors import StudyError
from m3ray.features.dataset import StudyData
from m3ray.model import StackedMLP, parameter_count
from m3ray.model.mixture import MLP, Mixture
from m3ray.model.regressors import Regressor, load_regressor
from m3ray.study.regressor_results import OutOfFold, RegressorResult, summarise_regressor
from m3ray.study.store import is_trained, read_out_of_fold
from m3ray.study.study import Study
from m3ray.study.trial import select_columns, select_truth
from m3ray.study.variants import ENSEMBLE, REGRESSORS_TABLE, Variant
from m3ray.training.ensemble import FEWEST, EnsembleFit, fit_ensemble, make_mixture
from m3ray.training.out_of_fold import cut_train
from m3ray.training.regressors import fit_regressor

MEMBERS = ("ridge", "svr", "boosting")
"""Regressors of the ensemble: what a constant would add to it is in its recalibration."""


@dataclass(frozen=True)
class Member:
    """A fitted regressor, as its trial left it.

    Args:
        model: The regressor.
        out_of_fold: Its predictions of the train split.
        seconds: What its trial took.
    """

    model: Regressor
    out_of_fold: OutOfFold
    seconds: float = 0.0


def read_member(study: Study, variant: Variant) -> Member:
    """Read a fitted regressor.

    Args:
        study: The study.
        variant: A regressor that it has trained.
    Returns:
        The regressor, and what it predicts of clips that it did not see.
    Raises:
        StudyError: If it was not trained.
    """
    kept = read_out_of_fold(study, variant) if is_trained(study, variant) else None
    if kept is None:
        raise StudyError(f"{variant.name}: was not trained: run jobs/ablate.py --tables {REGRESSORS_TABLE}")
    root, folder = study.root, study.trial_folder(variant)
    tensors = load(root.read_bytes(*folder, "regressor.safetensors"))
    model = load_regressor(root.read_json(*folder, "regressor.json"), tensors)
    return Member(model, kept, float(root.read_json(*folder, "trial.json").get("seconds") or 0.0))


def explain_too_few(data: StudyData) -> str | None:
    """Explain why nothing can be held out of a train split.

    Args:
        data: Data of the study.
    Returns:
        What is too few; None where it can be cut into folds.
    """
    if len(data.train) < FEWEST:
        return f"{len(data.train)} train clips are too few to hold some out: at least {FEWEST} are needed"
    if data.groups is not None and len(np.unique(data.groups[data.train])) < 2:
        return f"the {len(data.train)} train clips are all of one group: none can be held out"
    return None


def run_regressor(variant: Variant, data: StudyData, seeds: Sequence[int], cores: int = 1) -> RegressorResult:
    """Fit a regressor on the train split and evaluate it on val and test.

    Args:
        variant: Variant with a regressor that is not the ensemble.
        data: Matrix of all tiers, scores and splits.
        seeds: Seed of each run of the study; the first is the regressor's.
        cores: Cores of the CPU to fit on.
    Returns:
        Model and tables of the trial.
    Raises:
        StudyError: If the variant has no regressor, or the study lacks a tier.
    """
    start = time.perf_counter()
    if variant.regressor is None:
        raise StudyError(f"{variant.name}: has no regressor: train it as an MLP")
    columns, folds = select_columns(data.features, variant), cut_train(data, seeds[0])
    scores, weights = select_truth(data, data.train)
    fitted = fit_regressor(
        variant.regressor,
        np.ascontiguousarray(data.scaled[data.train][:, columns]),
        data.target.to_unit(scores).astype(np.float64),
        folds,
        weights,
        seed=seeds[0],
        cores=cores,
    )
    once = {
        split: _in_own_units(fitted.model(np.ascontiguousarray(data.scaled[rows][:, columns]))[None], data)
        for split, rows in (("val", data.val), ("test", data.test))
        if len(rows)
    }
    out_of_fold = OutOfFold(np.asarray(fitted.out_of_fold, np.float64)[None], folds, fitted.seconds)
    result = summarise_regressor(variant, data, seeds, columns, once["val"], once.get("test", np.empty((1, 0))))
    if "reason" in fitted.chosen:
        result.summary["status"] = f"a constant: {fitted.chosen['reason']}"
    result.summary["parameters"] = fitted.model.parameters
    result.summary["seconds"] = time.perf_counter() - start
    return replace(
        result,
        settings=fitted.model.settings(),
        tensors=fitted.model.tensors(),
        chosen=fitted.chosen,
        out_of_fold=out_of_fold,
    )


def _in_own_units(outputs: np.ndarray, data: StudyData) -> np.ndarray:
    """Outputs in the target's units, within the MLP's own range, as a bundle gives them."""
    return data.target.from_unit(np.clip(outputs, 0, 1))


def run_ensemble(
    variant: Variant,
    data: StudyData,
    seeds: Sequence[int],
    mlp: StackedMLP,
    own: OutOfFold,
    members: Mapping[str, Member],
    mlp_seconds: float = 0.0,
) -> RegressorResult:
    """Weigh the MLP and the regressors by what each predicts of clips that it did not see, and evaluate the mixture.

    Args:
        variant: Variant of the ensemble.
        data: Matrix of all tiers, scores and splits.
        seeds: Seed of each run of the MLP; the mixture's run r has the MLP's run r.
        mlp: The MLP's runs, R.
        own: Their predictions of the train split.
        members: Name of a regressor to its fitted model.
        mlp_seconds: What the MLP's training took.
    Returns:
        Tables of the trial.
    Raises:
        StudyError: If no weights can be fitted, as where the MLP diverged in every fold, or the study lacks a tier.
    """
    start = time.perf_counter()
    columns = select_columns(data.features, variant)
    mixture, fit = fit_mixture(data, columns, mlp, own, members)
    val, test = (
        _in_own_units(mixture(np.ascontiguousarray(data.scaled[rows][:, columns])), data)
        if len(rows)
        else np.empty((len(seeds), 0))
        for rows in (data.val, data.test)
    )
    result = summarise_regressor(variant, data, seeds, columns, val, test)
    if mixture.recalibration.is_constant:
        result.summary["status"] = "no better out of fold than one score for all clips"
    sizes = {name: member.model.parameters for name, member in members.items()}
    sizes[MLP] = parameter_count(len(columns), variant.training.hidden)
    result.summary["parameters"] = sum(sizes[name] for name in mixture.members)
    parts = sum(member.seconds for member in members.values()) + own.seconds + mlp_seconds
    result.summary["seconds"] = parts + time.perf_counter() - start
    return replace(result, settings=mixture.settings(), chosen=fit.as_json())


def weigh_members_of(
    data: StudyData, predictions: Mapping[str, np.ndarray], folds: np.ndarray, runs: int
) -> EnsembleFit:
    """Fit the weights of an ensemble's members on what they predict of the train split out of fold.

    Args:
        data: Data of the study, T train clips.
        predictions: Name of each member to its predictions in the unit scale, (R', T).
        folds: Fold of each train clip, (T,).
        runs: Number of runs that the MLP has.
    Returns:
        The weights, and what was found of them.
    """
    scores, weights = select_truth(data, data.train)
    truth = data.target.to_unit(scores.astype(np.float64))
    groups = None if data.groups is None else data.groups[data.train]
    return fit_ensemble(predictions, truth, folds, weights, {MLP: runs}, groups)


def fit_mixture(
    data: StudyData,
    columns: np.ndarray,
    mlp: StackedMLP,
    own: OutOfFold,
    members: Mapping[str, Member],
) -> tuple[Mixture, EnsembleFit]:
    """Fit the weights of a mixture on what its members predict of clips that they did not see.

    Args:
        data: Data of the study.
        columns: Positions of the columns that all members see.
        mlp: The MLP's runs.
        own: Their predictions of the train split.
        members: Name of a regressor to its fitted model.
    Returns:
        The mixture, its runs aligned, and how it was fitted.
    Raises:
        StudyError: If no weights can be fitted, as where the MLP diverged in every fold.
    """
    predictions = {MLP: own.predictions, **{name: member.out_of_fold.predictions for name, member in members.items()}}
    fit = weigh_members_of(data, predictions, own.folds, len(mlp.weights[0]))
    if fit.note is not None:
        raise StudyError(f"the ensemble: {fit.note}")
    scaled = np.ascontiguousarray(data.scaled[data.train][:, columns])
    return make_mixture(fit, ENSEMBLE, mlp, {name: member.model for name, member in members.items()}, scaled), fit
