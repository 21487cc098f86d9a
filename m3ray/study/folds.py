"""Repeated splits: the scored clips outside test cut into K folds, each once val while the others train.

Clips of one group, or of one video, are always in one fold. The matrix is scaled anew with each split's train rows, and
the similarity tiers are fitted anew on them; HOG's PCA and captions' SVD, which no score went into, stay the root's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch

from m3ray.config import SimilarityConfig, fingerprint
from m3ray.errors import ConfigError, StudyError
from m3ray.features.dataset import Scaling, StudyData, weigh_by_responses
from m3ray.features.matrix import Features
from m3ray.features.target import Target
from m3ray.similarity import Projection
from m3ray.similarity.fitted import FittedSimilarity, label_matrix, project
from m3ray.study.fold_results import FoldResult
from m3ray.study.pretrained import run_pretrained
from m3ray.study.regressors import explain_too_few, run_regressor
from m3ray.study.trial import run_trial
from m3ray.study.variants import Variant

CODE_VERSION = 1
OUTSIDE = -1  # fold of a row that is in none
_STRATA = 10  # parts of the scores' range, of which every fold gets its share
_FEWEST = 2  # clips that a rank correlation needs

Projected = dict[str, tuple[Projection, np.ndarray]]


def check_folds(folds: int, clips: int | None = None, groups: int | None = None) -> None:
    """Check a number of folds, as far as the clips are known.

    Args:
        folds: Number of folds; 0: none are made.
        clips: Number of scored clips outside test; None: not known yet.
        groups: Number of groups of such clips that stay together; None: not known yet.
    Raises:
        ConfigError: If there cannot be so many folds.
    """
    if folds == 0:
        return
    if folds < 2:
        raise ConfigError(f"--folds {folds}: expected 0 (the root's own split alone), or at least 2")
    if clips is not None and clips < _FEWEST * folds:
        raise ConfigError(
            f"--folds {folds}: {clips} scored clips outside test make folds of fewer than {_FEWEST}: "
            f"{_advise(clips // _FEWEST)}"
        )
    if groups is not None and groups < folds:
        raise ConfigError(
            f"--folds {folds}: the {clips} scored clips outside test are of {groups} groups, and a group is never "
            f"parted: {_advise(groups)}"
        )


def _advise(most: int) -> str:
    return f"choose at most {most}" if most > 1 else "leave --folds out, or add clips"


def draw_folds(scores: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Draw the fold of each clip, so that the folds have like scores and sizes, and no group is parted.

    Groups are dealt out, the largest first and equal ones in random order, each to the fold that has fewest clips with
    scores like its own, tenths of the scores counting as alike; of several such folds to the smallest. No fold is
    left with fewer than two clips where groups allow it; where they do not, such a split is undefined (`train_fold`).

    Args:
        scores: Score of each clip, (M,).
        groups: Number of each clip's group, (M,), int64 from 0.
        folds: Number of folds.
        seed: Seed of the draw.
    Returns:
        Fold of each clip, (M,), int64.
    Raises:
        ConfigError: If there are too few clips or groups for so many folds.
    """
    sizes = np.bincount(groups)
    check_folds(folds, len(scores), len(sizes))
    generator = np.random.default_rng(seed)
    held = _count_strata(scores, groups, folds)
    dealt, of_groups = np.zeros((folds, held.shape[1])), np.empty(len(sizes), np.int64)
    for place, group in enumerate(np.lexsort((generator.random(len(sizes)), -sizes))):
        likes, filled = dealt @ held[group], dealt.sum(axis=1)
        lacking = np.maximum(_FEWEST - filled, 0)
        # Once no more groups are left than clips are lacking somewhere, they go there and nowhere else.
        is_full = (lacking == 0) & (lacking.sum() >= len(sizes) - place)
        chosen = np.lexsort((generator.random(folds), filled, likes, is_full))[0]
        of_groups[group] = chosen
        dealt[chosen] += held[group]
    return of_groups[groups]


def _count_strata(scores: np.ndarray, groups: np.ndarray, folds: int) -> np.ndarray:
    """Clips of each group in each part of the scores' range, (groups, parts)."""
    parts = max(1, min(_STRATA, len(scores) // folds))
    ranks = np.argsort(np.argsort(scores, kind="stable"), kind="stable")
    counts = np.zeros((groups.max() + 1, parts))
    np.add.at(counts, (groups, ranks * parts // len(scores)), 1)
    return counts


@dataclass(frozen=True)
class SimilaritySource:
    """What a similarity tier was fitted with, to be fitted again.

    Args:
        config: Settings of its measure.
        tiers: Vector tiers that it compares.
    """

    config: SimilarityConfig
    tiers: tuple[str, ...]


@dataclass(frozen=True)
class Splits:
    """A study's data in K splits.

    Args:
        data: The study's data; what it holds as `scaled` is not.
        fold_of: Fold of each row, (N,), int64; `OUTSIDE` for rows of the test split or without a score.
        count: Number of folds, K.
        labels: Labels of each row.
        similarity: Similarity tier to what it is fitted with.
    """

    data: StudyData
    fold_of: np.ndarray
    count: int
    labels: tuple[tuple[str, ...], ...] = ()
    similarity: Mapping[str, SimilaritySource] = field(default_factory=dict)

    @classmethod
    def draw(
        cls,
        data: StudyData,
        groups: np.ndarray,
        folds: int,
        seed: int,
        labels: Sequence[Sequence[str]],
        similarity: Mapping[str, SimilaritySource],
    ) -> Self:
        """Draw the folds of a study's train and val clips.

        Args:
            data: The study's data.
            groups: Number of each row's group, (N,), int64.
            folds: Number of folds.
            seed: Seed of the draw.
            labels: Labels of each row.
            similarity: Similarity tier to what it is fitted with.
        Returns:
            The splits.
        Raises:
            ConfigError: If there are too few clips or groups for so many folds.
        """
        rows = np.sort(np.concatenate([data.train, data.val]))
        own = np.unique(groups[rows], return_inverse=True)[1]
        fold_of = np.full(len(data.scores), OUTSIDE, np.int64)
        fold_of[rows] = draw_folds(data.scores[rows], own, folds, seed)
        # Each split scales anew: the matrix need not be sent to the tasks twice.
        data = replace(data, scaled=data.features.values)
        return cls(data, fold_of, folds, tuple(map(tuple, labels)), similarity)

    @cached_property
    def key(self) -> str:
        """Hash of what a split's results depend on beside the study's own data."""
        return fingerprint(CODE_VERSION, self.fold_of.tolist(), self.labels if self.similarity else ())

    def rows(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of a split.

        Args:
            fold: The fold that is val.
        Returns:
            Rows of train and of val, int64.
        """
        inside = self.fold_of != OUTSIDE
        return np.flatnonzero(inside & (self.fold_of != fold)), np.flatnonzero(self.fold_of == fold)

    def project(self, fold: int, source: SimilaritySource) -> Projected:
        """Fit the projections that a similarity tier begins with on a split's train rows.

        Args:
            fold: The fold that is val.
            source: What the tier is fitted with.
        Returns:
            Vector tier to its projection and all rows, projected, float64, (N, components).
        Raises:
            StudyError: If there are too few clips.
        """
        train, _ = self.rows(fold)
        features = self.data.features
        vectors = {tier: features.values[:, features.columns_of(tier)].astype(np.float64) for tier in source.tiers}
        fitted = project(source.config, {tier: values[train] for tier, values in vectors.items()})
        return {tier: (projection, projection.transform(vectors[tier])) for tier, (projection, _) in fitted.items()}

    def refit(self, fold: int, source: SimilaritySource, projected: Projected) -> np.ndarray:
        """Fit a similarity tier on a split's train rows and apply it: train rows leave themselves out.

        Args:
            fold: The fold that is val.
            source: What the tier is fitted with.
            projected: What `project` returned.
        Returns:
            The tier's columns, (N, d), float32; not a number outside train and val.
        Raises:
            StudyError: If it cannot be fitted on these clips.
        """
        train, val = self.rows(fold)
        labels, names = label_matrix([self.labels[row] for row in train])
        # Arrays of an object store are read-only; scikit-learn's t-SNE wants its own.
        parts = {tier: (projection, np.array(rows[train])) for tier, (projection, rows) in projected.items()}
        fitted = FittedSimilarity.fit_projected(source.config, parts, labels if names else None, names)
        of_train = fitted.transform_train()
        columns = np.full((len(self.fold_of), of_train.shape[1]), np.nan, np.float32)
        columns[train] = of_train
        # The rows are projected already.
        measured = [measure.transform(projected[tier][1][val]) for tier, (_, measure) in fitted.parts.items()]
        columns[val] = np.concatenate(measured, axis=1)
        return columns

    def select(self, fold: int, tiers: Sequence[str], refitted: Mapping[str, np.ndarray]) -> StudyData:
        """Select the data of a split.

        Args:
            fold: The fold that is val.
            tiers: Tiers of the matrix.
            refitted: Similarity tier to the columns that take its place, (N, d).
        Returns:
            The data, scaled with the split's train rows; test is empty.
        Raises:
            StudyError: If the split lacks clips or has equal scores, or the study lacks a tier.
        """
        train, val = self.rows(fold)
        _check_scores(self.data.scores, train, val)
        features = replace_tiers(self.data.features, tiers, refitted)
        scaling = Scaling.fit(features, train)
        responses, weighs = self.data.responses, self.data.weights is not None
        return replace(
            self.data,
            features=features,
            scaled=scaling(features.values),
            train=train,
            val=val,
            test=np.empty(0, np.int64),
            scaling=scaling,
            target=Target.fit(self.data.target.name, self.data.scores[train]),
            weights=weigh_by_responses(responses, train) if weighs and responses is not None else None,
        )


def _check_scores(scores: np.ndarray, train: np.ndarray, val: np.ndarray) -> None:
    for split, rows in (("train", train), ("val", val)):
        if len(rows) < _FEWEST:
            raise StudyError(f"{len(rows)} {split} clips: a rank correlation needs {_FEWEST}")
        if np.ptp(scores[rows]) == 0:
            raise StudyError(f"all {len(rows)} {split} scores are {scores[rows[0]]:g}: rank correlation is undefined")


def replace_tiers(features: Features, tiers: Sequence[str], columns: Mapping[str, np.ndarray]) -> Features:
    """Take tiers out of a matrix, some of them with other columns.

    Args:
        features: The matrix.
        tiers: Tiers to take.
        columns: Tier to the columns that take its place, (N, d).
    Returns:
        The matrix of those tiers, in this order.
    Raises:
        StudyError: If the matrix lacks a tier.
    """
    blocks = {block.tier: block for block in features.blocks}
    missing = [tier for tier in tiers if tier not in blocks]
    if missing:
        raise StudyError(f"no features of tier {', '.join(missing)}")
    parts = [columns[t] if t in columns else features.values[:, features.columns_of(t)] for t in tiers]
    kept = [
        replace(blocks[tier], names=tuple(f"{tier}_{k}" for k in range(part.shape[1])))
        if tier in columns
        else blocks[tier]
        for tier, part in zip(tiers, parts, strict=True)
    ]
    return Features(features.clip_ids, np.concatenate(parts, axis=1), tuple(kept))


def train_fold(
    variant: Variant,
    splits: Splits,
    fold: int,
    refitted: Mapping[str, np.ndarray],
    seeds: Sequence[int],
    device: torch.device,
) -> FoldResult:
    """Train a variant's runs in one split.

    Args:
        variant: The variant.
        splits: The splits.
        fold: The fold that is val.
        refitted: Similarity tier that the variant sees to its columns in this split, (N, d).
        seeds: Seed of each run.
        device: Device to train on.
    Returns:
        What it reached; undefined, with the reason, where the split cannot be trained or a run has no correlation.
    """
    train, val = splits.rows(fold)
    result = FoldResult(variant.name, fold, len(train), len(val))
    try:
        data = splits.select(fold, variant.tiers, refitted)
        if variant.pretrained is not None:
            return _fill_result(result, run_pretrained(variant, data, seeds).summary)
        if variant.regressor is not None:
            return _fit_in_fold(result, variant, data, seeds)
        trained = run_trial(variant, data, seeds, device, cores=1).trained
    except StudyError as error:
        return replace(result, reason=str(error))
    reported = np.arange(len(seeds)), trained.reported_epochs - 1
    rho, mse = (trained.metrics[name][reported] for name in ("spearman", "mse"))
    undefined = int((~np.isfinite(rho)).sum())
    if undefined:
        return replace(result, reason=f"{undefined} of {len(rho)} runs diverged or are constant")
    return replace(result, spearman=float(rho.mean()), mse=float(mse.mean()))


def _fit_in_fold(result: FoldResult, variant: Variant, data: StudyData, seeds: Sequence[int]) -> FoldResult:
    """Fit a regressor in one split: a constant has an error, and no rank correlation."""
    too_few = explain_too_few(data)
    if too_few is not None:
        return replace(result, reason=too_few)
    return _fill_result(result, run_regressor(variant, data, seeds).summary)


def _fill_result(result: FoldResult, summary: Mapping[str, Any]) -> FoldResult:
    """A split's result with what one model reached in it."""
    rho, mse = (None if summary[name] is None else float(summary[name] or 0.0) for name in ("spearman", "mse"))
    reason = None if rho is not None else "rank correlation is undefined: it predicts one score for all clips"
    return replace(result, spearman=rho, mse=mse, reason=reason)
