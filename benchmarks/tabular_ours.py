"""Ours for benchmarks/tabular.py: what train.py makes of a table, its parts in order, without Ray."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from m3ray.config import TrainConfig
from m3ray.features.dataset import StudyData
from m3ray.model.mixture import MLP, Mixture
from m3ray.study.regressors import MEMBERS
from m3ray.training.candidates import make_candidates
from m3ray.training.ensemble import EnsembleFit, fit_ensemble
from m3ray.training.halving import Fit
from m3ray.training.held_out import Curves
from m3ray.training.model_selection import Selection, can_select, score_fit, select_settings
from m3ray.training.out_of_fold import FOLDS, cut_train, predict_fold
from m3ray.training.own_units import make_split
from m3ray.training.parallel import train_side_by_side
from m3ray.training.regressors import FittedRegressor, fit_regressor
from m3ray.training.stacked import TrainedRuns, count_useful_cores, train_runs

PAPER, SELECTED, BUNDLE = "MLP, paper", "MLP, selected", "bundle"
SELECTION = "selection"  # not a model: the time of choosing settings
OURS = (PAPER, SELECTED, BUNDLE)
_SMALL = 500_000  # numbers of a table for whose regressors a second core is no help
_FOLD_RUNS = 2  # runs of each fold, as the study has them


@dataclass(frozen=True)
class Fitted:
    """What one of ours predicts of val.

    Args:
        predicted: Scores, mean over the runs, (V,).
        seconds: Time that it took, all that it needs included.
        note: What it is, in a few words.
    """

    predicted: np.ndarray
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class Parts:
    """All that the bundle is made of.

    Args:
        selection: The choice of settings; None: there were too few clips.
        trained: The MLP's runs with these settings.
        mlp: What two runs predict of train clips that they did not see, (R', T).
        regressors: Name of each regressor to what was fitted.
        ensemble: Weights and map of the ensemble, and of each member alone.
        seconds: Name of each step to the time it took.
    """

    selection: Selection | None
    trained: TrainedRuns
    mlp: np.ndarray
    regressors: dict[str, FittedRegressor]
    ensemble: EnsembleFit
    seconds: dict[str, float]


def fit_ours(data: StudyData, seeds: Sequence[int], cores: int) -> dict[str, Fitted]:
    """Fit the MLP by the paper's settings and by selected ones, and the bundle.

    Args:
        data: Data of a study.
        seeds: Seed of each run of the MLP.
        cores: Cores of the CPU.
    Returns:
        Each of `OURS` to what it predicts of val; `SELECTION` has the time of choosing alone, and the weights.
    """
    start = time.perf_counter()
    paper = train_mlp(data, TrainConfig(), seeds, cores).val.mean(axis=0)
    paper_seconds = time.perf_counter() - start
    parts = fit_parts(data, seeds, cores)
    seconds, name = parts.seconds, choose_model(parts.ensemble)
    selected = seconds[SELECTION] + seconds["training"]
    chosen = "the paper's" if parts.selection is None else parts.selection.chosen
    return {
        PAPER: Fitted(paper, paper_seconds),
        SELECTED: Fitted(parts.trained.val.mean(axis=0), selected, chosen),
        BUNDLE: Fitted(predict_bundle(data, parts, name), sum(seconds.values()), describe(parts, name)),
        SELECTION: Fitted(np.full(len(data.val), np.nan), seconds[SELECTION], describe_seconds(seconds)),
    }


def fit_parts(data: StudyData, seeds: Sequence[int], cores: int) -> Parts:
    """Select settings, train the MLP and the regressors, predict train out of fold, and weigh all of them."""
    steps: dict[str, float] = {}
    start = time.perf_counter()
    columns = np.arange(data.scaled.shape[1])
    selection = select(data, columns, seeds[0], cores)
    config = TrainConfig() if selection is None else selection.training
    steps[SELECTION], start = time.perf_counter() - start, time.perf_counter()
    trained = train_mlp(data, config, seeds, cores)
    steps["training"], start = time.perf_counter() - start, time.perf_counter()
    folds = cut_train(data, seeds[0])
    mlp = predict_folds(data, config, seeds[:_FOLD_RUNS], folds, cores)
    steps["folds"], start = time.perf_counter() - start, time.perf_counter()
    truth = data.target.to_unit(data.scores[data.train]).astype(np.float64)
    rows = np.ascontiguousarray(data.scaled[data.train])
    useful = cores if rows.size > _SMALL else 1
    regressors = {name: fit_regressor(name, rows, truth, folds, None, seeds[0], useful) for name in MEMBERS}
    steps |= {name: fitted.seconds for name, fitted in regressors.items()}
    start = time.perf_counter()
    out_of_fold = {MLP: mlp, **{name: fitted.out_of_fold[None] for name, fitted in regressors.items()}}
    ensemble = fit_ensemble(out_of_fold, truth, folds, None, {MLP: len(seeds), **dict.fromkeys(regressors, 1)})
    steps["ensemble"] = time.perf_counter() - start
    return Parts(selection, trained, mlp, regressors, ensemble, steps)


def select(data: StudyData, columns: np.ndarray, seed: int, cores: int) -> Selection | None:
    """Select settings, a fit a core, as the job does with tasks; None where there are too few clips."""
    if not can_select(data):
        return None

    def score(fits: Sequence[Fit]) -> list[list[Curves]]:
        return train_side_by_side(lambda fit: score_fit(data, columns, seed, fit), fits, cores)

    return select_settings(data, columns, make_candidates(len(data.train)), seed, score)


def predict_folds(
    data: StudyData, config: TrainConfig, seeds: Sequence[int], folds: np.ndarray, cores: int
) -> np.ndarray:
    """What runs predict of each train clip, trained without its fold, (R', T); a fold a core."""
    columns = np.arange(data.scaled.shape[1])
    parts = train_side_by_side(
        lambda fold: predict_fold(data, columns, config, seeds, folds == fold), range(FOLDS), cores
    )
    predicted = np.empty((len(seeds), len(folds)))
    for fold, outputs in enumerate(parts):
        predicted[:, folds == fold] = outputs
    return predicted


def train_mlp(data: StudyData, config: TrainConfig, seeds: Sequence[int], cores: int) -> TrainedRuns:
    matrix = torch.from_numpy(np.ascontiguousarray(data.scaled))
    splits = [make_split(matrix, data, rows) for rows in (data.train, data.val)]
    useful = count_useful_cores(matrix.shape[1], config, len(seeds))
    return train_runs(splits[0], splits[1], config, seeds, cores=min(cores, useful))


def choose_model(ensemble: EnsembleFit) -> str:
    """The bundle's model by default: the ensemble where it is better out of fold than the MLP alone."""
    return "ensemble" if ensemble.is_better else MLP


def predict_bundle(data: StudyData, parts: Parts, name: str) -> np.ndarray:
    """Scores of val by the ensemble or by one member alone, each with its map, mean over runs, (V,)."""
    fitted = parts.ensemble.choose(name)
    models = {n: fit.model for n, fit in parts.regressors.items()}
    mixture = Mixture(parts.trained.model, models, fitted.weights, fitted.recalibration)
    if MLP in parts.ensemble.means:
        mixture = mixture.align_runs(np.ascontiguousarray(data.scaled[data.train]), parts.ensemble.means[MLP])
    return data.target.from_unit(mixture(np.ascontiguousarray(data.scaled[data.val])).mean(axis=0))


def describe(parts: Parts, name: str) -> str:
    """What the bundle is: the members' shares, or the MLP alone."""
    shares = parts.ensemble.choose(name).shares
    return ", ".join(f"{member} {share:.1f}" for member, share in shares.items() if share >= 0.05) or "a constant"


def describe_seconds(seconds: dict[str, float]) -> str:
    return ", ".join(f"{step} {value:.1f}" for step, value in seconds.items())
