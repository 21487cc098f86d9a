"""Pretrained scorers as rows of a study: what a network says that was trained elsewhere, on other data.

Its output is the prediction, or what a line or a monotone step function makes of it that was fitted on the train split
alone. It is one model for every seed: its predictions are repeated, so that its difference to the full model is paired
with every run of that.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from m3ray.errors import StudyError
from m3ray.features.dataset import StudyData
from m3ray.features.matrix import Features
from m3ray.study.regressor_results import RegressorResult, summarise_regressor
from m3ray.study.store import is_trained, write_regressor_trial
from m3ray.study.study import Study
from m3ray.study.trial import select_truth
from m3ray.study.variants import Calibration, Variant, pretrained_variant
from m3ray.tiers.pretrained.facts import SCORERS, find_scorer


def add_pretrained(study: Study, full: Variant, scorers: Sequence[str], calibration: Calibration) -> list[Variant]:
    """Evaluate pretrained scorers beside a study's full model; what an earlier job evaluated is kept.

    Args:
        study: The study, whose matrix holds the scorers' tiers.
        full: The full model.
        scorers: Names of the scorers.
        calibration: How their outputs are mapped to the scores.
    Returns:
        A variant a scorer; its trial is written.
    """
    variants = [pretrained_variant(full, find_scorer(name), calibration) for name in scorers]
    for variant in variants:
        if not is_trained(study, variant):
            write_regressor_trial(study, variant, run_pretrained(variant, study.data, study.seeds))
    return variants


def run_pretrained(variant: Variant, data: StudyData, seeds: Sequence[int]) -> RegressorResult:
    """Evaluate a pretrained scorer on val and test.

    Args:
        variant: Variant of a pretrained scorer.
        data: Matrix, which holds the scorer's tier, scores and splits.
        seeds: Seed of each run of the study.
    Returns:
        Tables of the trial.
    Raises:
        StudyError: If the variant has no such scorer, or the study lacks its tier.
    """
    start = time.perf_counter()
    if variant.pretrained is None:
        raise StudyError(f"{variant.name}: is no pretrained scorer: train it")
    column = find_output(data.features, variant.pretrained)
    outputs = data.features.values[:, column].astype(np.float64)
    scores, weights = select_truth(data, data.train)
    scale = fit_scale(variant.calibration, outputs[data.train], scores.astype(np.float64), weights)
    val, test = (_bound(scale(outputs[rows]), variant.calibration, data)[None] for rows in (data.val, data.test))
    result = summarise_regressor(variant, data, seeds, np.array([column]), val, test)
    result.summary["parameters"] = None  # its own were not fitted here
    result.summary["seconds"] = time.perf_counter() - start
    settings = {"pretrained": variant.pretrained, "calibration": variant.calibration}
    return replace(result, settings=settings, tensors=scale.tensors(), chosen={"split": "train", **scale.describe()})


def find_output(features: Features, scorer: str) -> int:
    """Find the column of a pretrained scorer's output, among its spread and its hidden vector.

    Args:
        features: The study's matrix.
        scorer: Name of the scorer, which is that of its tier and of the column.
    Returns:
        Position among the matrix' columns.
    Raises:
        StudyError: If the matrix has no such tier or column.
    """
    block = next((block for block in features.blocks if block.tier == scorer), None)
    if block is None or scorer not in block.names:
        raise StudyError(f"no output of {scorer} among the features: run jobs/extract.py --tiers {scorer}")
    return int(features.columns_of(scorer)[block.names.index(scorer)])


@dataclass(frozen=True)
class Scale:
    """A map from a scorer's output to the scores, linear between knots and constant beyond the outer ones.

    Args:
        outputs: Outputs at the knots, rising, (K,); none: outputs stay as they are.
        scores: Scores at the knots, (K,).
        line: Intercept and slope of a line in their place; None: there is none.
    """

    outputs: np.ndarray
    scores: np.ndarray
    line: tuple[float, float] | None = None

    def __call__(self, outputs: np.ndarray) -> np.ndarray:
        """Map outputs, (n,) to (n,)."""
        if self.line is not None:
            return self.line[0] + self.line[1] * outputs
        return np.interp(outputs, self.outputs, self.scores) if len(self.outputs) else outputs

    def tensors(self) -> dict[str, np.ndarray]:
        """The knots as arrays; none of a line."""
        return {"outputs": self.outputs, "scores": self.scores} if len(self.outputs) else {}

    def describe(self) -> dict[str, Any]:
        """What was fitted, JSON values."""
        if self.line is not None:
            return {"intercept": self.line[0], "slope": self.line[1]}
        return {"knots": len(self.outputs)} if len(self.outputs) else {}


_AS_IT_IS = np.empty(0)


def fit_scale(calibration: Calibration, outputs: np.ndarray, scores: np.ndarray, weights: np.ndarray | None) -> Scale:
    """Fit the map from a scorer's output to the scores; it never turns their order round.

    Args:
        calibration: `none`: outputs stay as they are; `linear`: the line of least squares, flat where it would fall;
            `isotonic`: the rising step function of least squares.
        outputs: Outputs on the train split, (T,).
        scores: Scores of the train split, (T,).
        weights: Weight of each clip, (T,); None: all alike.
    Returns:
        The map.
    """
    if calibration == "none":
        return Scale(_AS_IT_IS, _AS_IT_IS)
    if calibration == "isotonic":
        from sklearn.isotonic import IsotonicRegression  # late: few jobs fit one, and all that report import this

        fitted = IsotonicRegression(out_of_bounds="clip").fit(outputs, scores, sample_weight=weights)
        return Scale(np.asarray(fitted.X_thresholds_, float), np.asarray(fitted.y_thresholds_, float))
    shares = np.full(len(outputs), 1 / len(outputs)) if weights is None else weights / weights.sum(dtype=float)
    centre, mean = float(shares @ outputs), float(shares @ scores)
    variance = float(shares @ (outputs - centre) ** 2)
    slope = max(0.0, float(shares @ ((outputs - centre) * (scores - mean))) / variance) if variance > 0 else 0.0
    return Scale(_AS_IT_IS, _AS_IT_IS, (mean - slope * centre, slope))


def _bound(predictions: np.ndarray, calibration: Calibration, data: StudyData) -> np.ndarray:
    """Predictions within the values that the target can have; an output that was not mapped is on its own scale."""
    return predictions if calibration == "none" else np.clip(predictions, *data.target.bounds)


def describe_pretrained(variants: Iterable[Mapping[str, Any]]) -> list[str]:
    """Describe the pretrained scorers among a study's variants, for below its table.

    Args:
        variants: The variants, as the study's `config.json` holds them.
    Returns:
        A sentence or two for each.
    """
    rows = [(v["name"], find_scorer(v["pretrained"]), v.get("calibration", "none")) for v in variants if _is_row(v)]
    return [
        f"{name}: {scorer.title} was trained elsewhere, on {scorer.trained_on} (what it has of these is no measure of "
        f"it), and sees single frames without their motion; {_describe_scale(calibration)} It is one model, so it has "
        f"no sd; its difference to the full model is paired with each run of that. {scorer.source}. Licence: "
        f"{scorer.licence}."
        for name, scorer, calibration in rows
    ]


def _is_row(variant: Mapping[str, Any]) -> bool:
    return variant.get("pretrained") in SCORERS


def _describe_scale(calibration: str) -> str:
    if calibration == "none":
        return (
            "nothing of it was fitted here, and it predicts on a scale of its own: compare rho, not MSE "
            "(--calibrate linear or isotonic maps it to the scores, by the train split)."
        )
    how = {"linear": "a line", "isotonic": "a rising step function"}[calibration]
    return f"{how}, fitted on the train split alone, maps its output to the scores."
