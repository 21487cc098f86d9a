"""Making a bundle of a variant that a study has trained."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import version

import numpy as np

from m3ray.config import TierConfigs, as_json
from m3ray.features.captions import name_artifacts
from m3ray.features.dataset import Scaling, StudyData
from m3ray.features.matrix import Block, Features
from m3ray.features.target import Target
from m3ray.model.mixture import MLP
from m3ray.schema import CAPTIONS
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.bundle_metadata import BundleMetadata, select_sources
from m3ray.scoring.calibration import VAL, Calibration, needs_folds, predict_train_by_folds
from m3ray.scoring.data_facts import record_data
from m3ray.scoring.decay import DecayModel, fit_decay
from m3ray.scoring.model_choice import AUTO, ChosenModel, ModelName, choose_model
from m3ray.scoring.reference.reference_file import ReferenceFile
from m3ray.scoring.reference.train_reference import make_reference
from m3ray.scoring.train_clips import TRAIN_CLIPS_FILE, record_clips
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, read_tier_index
from m3ray.storage.versions import Environment, read_environments, software_versions
from m3ray.study.study import Study
from m3ray.study.variants import Variant
from m3ray.tiers.network import WeightSource
from m3ray.training.out_of_fold import FOLDS

logger = logging.getLogger(__name__)

PACKAGES = ("ray", "pyarrow")


def list_versions() -> dict[str, str]:
    """List the versions of what numbers depend on, FFmpeg's libraries among them, and of what carries them.

    Returns:
        Name of each package or library to its version.
    """
    return {**software_versions(), **{name: version(name) for name in PACKAGES}}


def make_bundle(  # noqa: PLR0913 - two of them are for the model alone
    study: Study,
    variant: Variant,
    configs: TierConfigs,
    sources: Mapping[str, WeightSource],
    name: str,
    job: str,
    *,
    chosen_on_val: bool = False,
    model: ModelName = AUTO,
    fit: str = "auto",
) -> Bundle:
    """Make the bundle of a variant that a study has trained.

    Args:
        study: Study with the variant's trained runs.
        variant: The variant.
        configs: Settings of the computed tiers.
        sources: Name of each tier that has a network to where its weights come from.
        name: Name of the bundle.
        job: Name of the job that makes it, which is recorded.
        chosen_on_val: Whether the variant's settings were chosen on val. Errors on val are then smaller than on new
            clips, and the intervals are calibrated on the train split instead, each fold scored by models of the
            others.
        model: What scores: the MLP, a regressor beside it, or the ensemble; `auto`: the ensemble where it is better out
            of fold than the MLP, else the MLP.
        fit: How settings were chosen; with `paper`, `auto` is the MLP, and the MLP stays as it was trained. Else it is
            put on the scores' scale by what it predicts out of fold, where the study has that.
    Returns:
        The bundle, not written yet, without the runs that diverged.
    Raises:
        BundleError: If all runs diverged, and nothing else can score.
        StudyError: If the model asked for was not trained.
    """
    chosen, data = choose_model(study, variant, name, model, fit), study.data
    columns, on_val = chosen.columns, _score_val(chosen, data)
    calibration = _calibrate(study, variant, chosen, on_val, chosen_on_val=chosen_on_val)
    decay, metadata = _fit_decay(study, columns), _make_metadata(study, variant, configs, sources, job)
    return Bundle(
        name=name,
        model=chosen.mlp,
        blocks=select_blocks(data.features, columns),
        scaling=Scaling(data.scaling.mean[columns], data.scaling.deviation[columns]),
        baseline=data.scaled[data.train][:, columns].mean(axis=0).astype(np.float32),
        residuals=calibration.residuals,
        metadata=_add_model(metadata, chosen, calibration, decay, on_val, data),
        files=_read_artefacts(study.root, variant) | _record_clips(study, columns),
        intervals=calibration.fit(),
        calibration=np.stack([calibration.scores, calibration.truth]).astype(np.float32),
        calibration_spread=calibration.spread,
        decay_weights=None if decay is None else decay.weights,
        mixture=chosen.mixture,
        reference=_make_reference(study, chosen),
    )


def _make_reference(study: Study, chosen: ChosenModel) -> ReferenceFile:
    """The train clips that new ones are compared with, as what scores sees them."""
    data, columns = study.data, chosen.columns
    is_used = chosen.mixture is None or MLP in chosen.mixture.members
    reference = make_reference(
        [data.features.clip_ids[row] for row in data.train],
        data.scaled[data.train][:, columns],
        select_blocks(data.features, columns),
        data.scores[data.train],
        chosen.mlp if is_used else None,
    )
    return ReferenceFile(reference.to_bytes())


def _add_model(
    metadata: BundleMetadata,
    chosen: ChosenModel,
    calibration: Calibration,
    decay: DecayModel | None,
    on_val: Calibration,
    data: StudyData,
) -> BundleMetadata:
    """The metadata with what scores, and what was found of it."""
    return replace(
        metadata,
        seeds=list(chosen.seeds),
        dropped_runs=list(chosen.dropped),
        calibrated_on=calibration.source,
        decay=None if decay is None else decay.as_json(),
        trained_on={**(metadata.trained_on or {}), **on_val.measure(_weights_of_val(data))},
        data={**(metadata.data or {}), **_measure_test(chosen, data)},
        model=chosen.name,
        model_summary=chosen.summary,
        out_of_fold=chosen.found,
        mixture=None if chosen.mixture is None else chosen.mixture.settings(),
    )


def select_blocks(features: Features, columns: np.ndarray) -> tuple[Block, ...]:
    """Select the blocks of the columns that a variant sees.

    Args:
        features: All features of a study, F columns.
        columns: Positions of the variant's columns, (V,), int64.
    Returns:
        The blocks with the names of those columns alone, V in all, in the order in which the variant sees them: it may
        be another one than that of the matrix.
    """
    named = [(block, name) for block in features.blocks for name in block.names]
    seen = itertools.groupby((named[column] for column in columns.tolist()), key=lambda entry: entry[0])
    return tuple(Block(block.tier, tuple(name for _, name in group), block.scaled) for block, group in seen)


def _weights_of_val(data: StudyData) -> np.ndarray | None:
    return None if data.weights is None else data.weights[data.val]


def _score_val(chosen: ChosenModel, data: StudyData) -> Calibration:
    """Scores of val, in the target's units."""
    unit = chosen.predict(np.ascontiguousarray(data.scaled[data.val][:, chosen.columns]))
    runs = data.target.from_unit(unit)
    spread = runs.std(axis=0, ddof=1).astype(np.float32) if len(runs) > 1 else None
    return Calibration(runs.mean(axis=0), data.scores[data.val].astype(np.float64), VAL, spread)


def _measure_test(chosen: ChosenModel, data: StudyData) -> dict[str, dict[str, float | None]]:
    """What is known of the test clips' scores, which chose nothing; empty where there is none."""
    if not len(data.test):
        return {}
    runs = data.target.from_unit(chosen.predict(np.ascontiguousarray(data.scaled[data.test][:, chosen.columns])))
    scored = Calibration(runs.mean(axis=0), data.scores[data.test].astype(np.float64), "test")
    found = scored.measure(None if data.weights is None else data.weights[data.test])
    return {"on_test": {name.removeprefix("val_"): value for name, value in found.items()}}


def _calibrate(
    study: Study, variant: Variant, chosen: ChosenModel, on_val: Calibration, *, chosen_on_val: bool
) -> Calibration:
    """The clips to calibrate intervals on: val, or by folds the train split where val chose something of the MLP."""
    if chosen.mlp is None or not needs_folds(study, variant, chosen_on_val=chosen_on_val):
        return on_val
    logger.info(
        "bundle: settings, or the epoch, were chosen on val: its intervals are calibrated on the train split, each "
        f"fifth scored by models of the other four ({len(study.seeds)} runs a fifth)"
    )
    if chosen.left_out is None:
        return predict_train_by_folds(study, variant)
    truth = study.data.scores[study.data.train].astype(np.float64)
    return Calibration(study.data.target.from_unit(chosen.left_out), truth, f"train, {FOLDS} folds")


def _make_metadata(
    study: Study, variant: Variant, configs: TierConfigs, sources: Mapping[str, WeightSource], job: str
) -> BundleMetadata:
    index = read_tier_index(study.root)
    tiers = {tier: index[tier] for tier in variant.tiers}
    scores = study.data.scores[study.data.train]
    metadata = BundleMetadata(
        untrained=any(entry.untrained for entry in tiers.values()),
        tiers=tiers,
        configs=configs,
        sources={tier: as_json(source) for tier, source in sources.items()},
        variant=as_json(variant),
        target=None if study.data.target == Target() else asdict(study.data.target),
        trained_on={
            "train_clips": len(study.data.train),
            "val_clips": len(study.data.val),
            "mean_score": float(scores.mean()),
            "lowest_score": float(scores.min()),
            "highest_score": float(scores.max()),
        },
        versions=list_versions(),
        environments=_read_tier_environments(study.root, tiers),
        made_by=job,
        data=record_data(study),
    )
    return replace(metadata, sources=select_sources(metadata, variant.tiers))


def _read_tier_environments(root: Root, tiers: Mapping[str, TierEntry]) -> dict[str, list[Environment | None]]:
    """The software that each computed tier's features were computed with, as their shards say."""
    own = {tier: entry.folder for tier, entry in tiers.items() if not entry.user_provided}
    return {tier: read_environments(root, "features", folder) for tier, folder in own.items() if folder}


def _fit_decay(study: Study, columns: np.ndarray) -> DecayModel | None:
    """Decay rates of the train split; None where few clips have one, or the target is no share of viewers."""
    catalogue, data = read_catalogue(study.root), study.data
    if "alpha" not in catalogue.column_names or not data.target.is_share:
        return None
    rates = dict(zip(catalogue["clip_id"].to_pylist(), catalogue["alpha"].to_pylist(), strict=True))
    alpha = np.array([rates.get(data.features.clip_ids[row]) for row in data.train], np.float64)
    return fit_decay(data.scaled[data.train][:, columns], data.scores[data.train], alpha)


def _record_clips(study: Study, columns: np.ndarray) -> dict[str, bytes]:
    blocks = select_blocks(study.data.features, columns)
    return {TRAIN_CLIPS_FILE: record_clips(study.root, study.data, columns, blocks)}


def _read_artefacts(root: Root, variant: Variant) -> dict[str, bytes]:
    """Name to content of what the variant's tiers were fitted with."""
    files: dict[str, bytes] = {}
    if "raw" in variant.tiers:
        files |= {name: root.read_bytes("artifacts", name) for name in ("hog_pca.safetensors", "hog_pca.json")}
    index = read_tier_index(root)
    if CAPTIONS in variant.tiers and not index[CAPTIONS].user_provided:
        files |= {name: root.read_bytes(*path) for name, path in name_artifacts(index[CAPTIONS]).items()}
    if "similarity" in variant.tiers:
        folder = index["similarity"].folder
        for ending in ("safetensors", "json"):
            files[f"similarity.{ending}"] = root.read_bytes("artifacts", f"{folder}.{ending}")
    return files
