"""What scores in a bundle: the MLP's runs, a regressor, or the ensemble of them, where that is better out of fold."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from m3ray.errors import BundleError, StudyError
from m3ray.model import StackedMLP
from m3ray.model.mixture import MLP, Mixture
from m3ray.scoring.diverged import describe_dropped, drop_runs, find_finite_runs, split_seeds
from m3ray.study.regressor_results import OutOfFold
from m3ray.study.regressors import MEMBERS, Member, explain_too_few, read_member, weigh_members_of
from m3ray.study.store import is_trained, read_out_of_fold, read_trial_tensors
from m3ray.study.study import Study
from m3ray.study.trial import select_columns
from m3ray.study.variants import Variant, regressor_variants
from m3ray.training.ensemble import ENSEMBLE, EnsembleFit, make_mixture

logger = logging.getLogger(__name__)

AUTO: Literal["auto"] = "auto"
ModelName = Literal["auto", "mlp", "ensemble", "ridge", "svr", "boosting"]


@dataclass(frozen=True)
class ChosenModel:
    """What a bundle scores with.

    Args:
        name: `mlp`, `ensemble`, or the name of a regressor.
        columns: Positions of the matrix' columns that it sees, int64.
        mlp: The MLP's runs that did not diverge; None: it has none.
        mixture: Weights, regressors and the map of their sum; None: the MLP as it was trained.
        seeds: Seed of each of those runs.
        dropped: Seeds of the runs that diverged.
        summary: What it is, in a line; None: the MLP, of which nothing more is known.
        found: What was found out of fold, JSON values; None: nothing.
        left_out: Its scores of the train split by models that did not see the clip, (T,), in the unit scale; None:
            unknown.
    """

    name: str
    columns: np.ndarray
    mlp: StackedMLP | None
    mixture: Mixture | None = None
    seeds: Sequence[int] = ()
    dropped: Sequence[int] = ()
    summary: str | None = None
    found: Mapping[str, Any] | None = None
    left_out: np.ndarray | None = None

    @torch.inference_mode()
    def predict(self, scaled: np.ndarray) -> np.ndarray:
        """Predict with each run: scaled features, (N, F), to scores in the unit scale, (R, N), float64."""
        if self.mixture is not None:
            return self.mixture(scaled)
        assert self.mlp is not None
        return self.mlp(torch.from_numpy(np.ascontiguousarray(scaled))).double().numpy()


@dataclass(frozen=True)
class _Runs:
    """The MLP's runs as a study has them: those that stayed, their seeds, and what they predict out of fold."""

    columns: np.ndarray
    mlp: StackedMLP | None
    seeds: Sequence[int] = ()
    dropped: Sequence[int] = ()
    left_out: OutOfFold | None = None

    @property
    def are_known(self) -> bool:
        """Whether there are runs, and what they predict of clips that they did not see."""
        return self.mlp is not None and self.left_out is not None and len(self.left_out.finite) > 0


def choose_model(study: Study, variant: Variant, name: str, model: ModelName, fit: str) -> ChosenModel:
    """Choose what a bundle scores with, and put it on the scores' scale.

    Args:
        study: Study with the variant's trained runs, and perhaps regressors.
        variant: The variant.
        name: Name of the bundle.
        model: What is asked for; `auto`: the ensemble where it is better out of fold than the MLP, else the MLP.
        fit: How settings were chosen; with `paper`, `auto` is the MLP, and the MLP stays as it was trained.
    Returns:
        The model.
    Raises:
        BundleError: If all runs of the MLP diverged, and it is needed.
        StudyError: If the model asked for was not trained.
    """
    runs = _read_runs(study, variant, name)
    if fit == "paper" and model in (AUTO, MLP):
        return _take_mlp(runs, name, None)
    members = _read_members(study, variant)
    if model in (AUTO, MLP) and not (runs.are_known or (model == AUTO and runs.mlp is None and members)):
        return _take_mlp(runs, name, _explain_unknown(study, variant, runs))
    _check_asked(study, variant, runs, members, model)
    found = _fit(study, runs, members)
    chosen = _decide(found, runs, model)
    if found.note is not None and chosen == MLP:
        return _take_mlp(runs, name, found.describe(MLP))
    scaled = np.ascontiguousarray(study.data.scaled[study.data.train][:, runs.columns])
    regressors = {key: member.model for key, member in members.items()}
    mixture = make_mixture(found, chosen, runs.mlp, regressors, scaled)
    has_mlp, left_out = mixture.mlp is not None, found.choose(chosen).predictions
    return ChosenModel(
        chosen,
        runs.columns,
        mixture.mlp,
        mixture,
        runs.seeds if has_mlp else (),
        runs.dropped,
        _summarise(found, chosen, runs),
        found.as_json(),
        left_out if np.isfinite(left_out).all() else None,
    )


def _read_runs(study: Study, variant: Variant, name: str) -> _Runs:
    """The MLP's runs without those that diverged."""
    if not is_trained(study, variant):
        return _Runs(select_columns(study.data.features, variant), None)
    tensors = read_trial_tensors(study, variant)
    columns, data = tensors.pop("columns"), study.data
    model = StackedMLP.from_state({key: torch.tensor(value) for key, value in tensors.items()}).eval()
    kept = find_finite_runs(model, data.scaled[np.concatenate([data.train, data.val])][:, columns])
    seeds, dropped = split_seeds(study.seeds, kept)
    if dropped:
        logger.warning(f"bundle: {name}: {describe_dropped(dropped)}")
    mlp = drop_runs(model, kept, name).eval() if kept.any() else None
    return _Runs(columns, mlp, seeds, dropped, read_out_of_fold(study, variant))


def _read_members(study: Study, variant: Variant) -> dict[str, Member]:
    """The regressors that the study has trained beside the variant."""
    beside = {row.regressor: row for row in regressor_variants(variant) if row.regressor in MEMBERS}
    return {str(name): read_member(study, row) for name, row in beside.items() if is_trained(study, row)}


def _take_mlp(runs: _Runs, name: str, reason: str | None) -> ChosenModel:
    """The MLP as it was trained."""
    if runs.mlp is None:
        count = len(runs.dropped)
        what = "its run" if count == 1 else f"all {count} runs"
        raise BundleError(
            f"{name}: {what} diverged (weights or scores that are not finite): nothing can be scored; "
            "train again with a lower learning rate, or look for features that are not finite"
        )
    if reason is not None:
        logger.info(f"bundle: {name}: {reason}")
    return ChosenModel(MLP, runs.columns, runs.mlp, seeds=runs.seeds, dropped=runs.dropped, summary=reason)


def _explain_unknown(study: Study, variant: Variant, runs: _Runs) -> str:
    """Why nothing is known of the MLP out of fold."""
    if runs.left_out is not None:
        return "the MLP as it was trained: every run diverged in some fold of the train split"
    if too_few := explain_too_few(study.data):
        return f"the MLP as it was trained: {too_few}"
    return f"the MLP as it was trained: the study {study.name} has no out-of-fold predictions of {variant.name}"


def _check_asked(study: Study, variant: Variant, runs: _Runs, members: Mapping[str, Member], model: ModelName) -> None:
    """StudyError where the study lacks the model that is asked for."""
    if model in MEMBERS and model not in members:
        why = explain_too_few(study.data) or "its trial failed, or was not run: the log says why"
        raise StudyError(f"--model {model}: study {study.name} has no {model} beside {variant.name}: {why}")
    if model == ENSEMBLE and not (members and (runs.are_known or runs.mlp is None)):
        why = explain_too_few(study.data) or "train it again with --model ensemble"
        raise StudyError(f"--model ensemble: study {study.name} lacks out-of-fold predictions: {why}")


def _fit(study: Study, runs: _Runs, members: Mapping[str, Member]) -> EnsembleFit:
    """Fit weights and maps of all that is known out of fold."""
    predictions = {name: member.out_of_fold.predictions for name, member in members.items()}
    folds = next((member.out_of_fold.folds for member in members.values()), np.empty(0))
    if runs.mlp is not None and runs.left_out is not None and len(runs.left_out.finite):
        predictions, folds = {MLP: runs.left_out.finite, **predictions}, runs.left_out.folds
    return weigh_members_of(study.data, predictions, folds, len(runs.seeds))


def _decide(found: EnsembleFit, runs: _Runs, model: ModelName) -> str:
    if model != AUTO:
        return model
    return ENSEMBLE if found.is_better or runs.mlp is None else MLP


def _summarise(found: EnsembleFit, chosen: str, runs: _Runs) -> str:
    line = found.describe(chosen)
    if runs.mlp is None and runs.dropped:
        line += f"; all {len(runs.dropped)} runs of the MLP diverged"
    return line
