"""Choice of a variant's training settings, once for the tiers of a root: a Ray task a stack of candidates."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import ray
import torch

from m3ray.config import TrainConfig, as_json, from_json
from m3ray.config.options import FitOptions
from m3ray.errors import ConfigError, DamagedFileError
from m3ray.features.dataset import StudyData
from m3ray.features.load import StudyFeatures
from m3ray.pipelines.runtime.assigned_gpus import hide_gpus
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.schema import CAPTIONS, SIMILARITY
from m3ray.storage.root import Root
from m3ray.study.study import Study
from m3ray.study.trial import select_columns
from m3ray.study.variants import Variant
from m3ray.tiers.user import user_tiers
from m3ray.training.candidates import Scope, make_candidates
from m3ray.training.config_file import load_training, was_chosen_on_val
from m3ray.training.halving import BUDGET, RUNGS, Fit, Rung
from m3ray.training.held_out import Curves
from m3ray.training.model_selection import Selection, can_select, score_fit, select_settings
from m3ray.training.settings_file import (
    FOLDER,
    ChosenSettings,
    describe_choice,
    identify_selection,
    list_candidates,
    read_choice,
)

logger = logging.getLogger(__name__)

SETTINGS_FILE = "settings.json"
# Rows of a study are many: each races on one cut alone.
_ROW_RUNGS = RUNGS[:3]


def choose_training(
    root: Root, loaded: StudyFeatures, variant: Variant, options: FitOptions, resources: Resources
) -> TrainConfig:
    """Choose a variant's training settings: a file's, its own, or those that suit its tiers best.

    Args:
        root: Root with the features; what is selected is kept on it.
        loaded: Joined features and scores of the study.
        variant: The variant, with the settings of its preset.
        options: Options with `fit`: `paper`, `select`, `each`, or `auto`, which selects for user-provided tiers alone;
            and perhaps with `config`, a file of settings, and `loss`, which the choice is then among.
        resources: CPUs and GPUs of the cluster.
    Returns:
        The settings.
    """
    if (config := getattr(options, "config", None)) is not None:
        return load_training(config)
    if not _is_selected(root, variant, options):
        return variant.training
    if not can_select(loaded.data):
        logger.info(f"settings: {_describe_train(loaded.data)} too few to choose settings on: the paper's are taken")
        return variant.training
    return select_once(root, loaded.data, variant, options, resources).training


def _is_selected(root: Root, variant: Variant, options: FitOptions) -> bool:
    """Whether the settings are to be selected: on request, or for captions and tiers of the user's own."""
    # Similarity of user-provided vectors is as small and weak as they are.
    others = {tier for tier in variant.tiers if tier.partition(":")[0] != SIMILARITY}
    weak = bool(others) and others <= {*user_tiers(root), CAPTIONS} and getattr(options, "config", None) is None
    fit = getattr(options, "fit", "auto")  # a search has no such option
    return fit in ("select", "each") or (fit == "auto" and weak)


@dataclass(frozen=True)
class _Task:
    """What is selected among on which data, and the file that it is kept in."""

    columns: np.ndarray
    candidates: Mapping[str, TrainConfig]
    path: tuple[str, ...]


def _plan_selection(data: StudyData, variant: Variant, options: FitOptions) -> _Task:
    """Plan a selection; neither the order of tiers nor the loss of a preset makes it another one."""
    columns = select_columns(data.features, replace(variant, tiers=tuple(sorted(variant.tiers))))
    scope = Scope.around(variant.training, getattr(options, "loss", None))
    candidates = make_candidates(len(data.train), scope)
    return _Task(columns, candidates, (*FOLDER, f"{identify_selection(data, columns, candidates)}.json"))


def select_once(
    root: Root, data: StudyData, variant: Variant, options: FitOptions, resources: Resources
) -> ChosenSettings:
    """Select a variant's settings, or read what an earlier job on the root selected from the same data.

    Args:
        root: Root that keeps the choice.
        data: Features and scores of the study.
        variant: The variant, with the settings of its preset.
        options: Options with perhaps `loss`.
        resources: CPUs and GPUs of the cluster.
    Returns:
        The settings.
    """
    task = _plan_selection(data, variant, options)
    kept = _read_kept(root, task.path)
    if kept is not None:
        logger.info(f"settings: settings as chosen before ({root.display(*task.path)}): {_describe(kept)}")
        return kept
    selection = _select(data, task.columns, task.candidates, resources)
    logger.info(list_candidates(selection))
    content = describe_choice(selection, variant.tiers, _name_job(options))
    root.write_json(content, *task.path)
    chosen = read_choice(content, task.path[-1])
    logger.info(
        f"settings: settings chosen in {selection.seconds:.0f} s, kept for this root's jobs in "
        f"{root.display(*task.path)}: {_describe(chosen)}"
    )
    if chosen.beats_preset is False:
        logger.warning(f"settings: {_NO_GAIN}")
    return chosen


_NO_GAIN = "the chosen settings are not better than the paper's on held-out clips by more than one standard error"


def _read_kept(root: Root, path: tuple[str, ...]) -> ChosenSettings | None:
    """What an earlier job selected; None where there is nothing, or nothing that can be read."""
    if not root.exists(*path):
        return None
    try:
        return read_choice(root.read_json(*path), root.display(*path))
    except (ConfigError, DamagedFileError) as error:
        logger.warning(f"settings: {error}: settings are chosen anew")
        return None


def _select(
    data: StudyData,
    columns: np.ndarray,
    candidates: Mapping[str, TrainConfig],
    resources: Resources,
    rungs: Sequence[Rung] = RUNGS,
) -> Selection:
    logger.info(
        f"settings: choosing among {len(candidates)} settings on held-out fifths of {len(data.train)} train clips "
        f"({resources.cpus} CPUs), for at most {BUDGET:g} times what training the paper's model takes, or some seconds"
    )
    return select_settings(data, columns, candidates, score=_score_on_cluster(data, columns), rungs=rungs)


def _score_on_cluster(data: StudyData, columns: np.ndarray) -> Callable[[Sequence[Fit]], list[list[Curves]]]:
    shared = ray.put(data)
    return lambda fits: ray.get([_score_task.options(num_cpus=1).remote(shared, columns, fit) for fit in fits])


def _describe(chosen: ChosenSettings) -> str:
    return f"{chosen.name}, {chosen.training.epochs} epochs"


def _name_job(options: FitOptions) -> str:
    return type(options).__name__.removesuffix("Options").lower()


def describe_selection(root: Root, data: StudyData, full: Variant, options: FitOptions) -> dict[str, str]:
    """Describe whose training settings the rows of a study have, for below its tables.

    Args:
        root: Root with the features.
        data: Data of the study.
        full: The full model, with the settings of its preset.
        options: Options with `fit`, and perhaps with `config`.
    Returns:
        `settings` to a sentence; nothing where every row has the preset's.
    """
    if (config := getattr(options, "config", None)) is not None:
        return {"settings": _describe_file(config, full.name)}
    if not _is_selected(root, full, options) or not can_select(data):
        return {}
    if options.fit == "each":
        return {"settings": "Settings were selected for each row on its own, among the same candidates."}
    shared = (
        f"Settings were selected for {full.name} and are shared by every row: a row that needs others may "
        "look worse than it could be. Rows of raw features alone or of one measure alone keep the preset's."
    )
    path = _plan_selection(data, full, options).path
    kept = _read_kept(root, path)
    if kept is None:
        return {"settings": shared}
    doubt = f" Note that {_NO_GAIN}." if kept.beats_preset is False else ""
    return {"settings": f"{shared} They are {_describe(kept)} ({'/'.join(path)}).{doubt}"}


def _describe_file(config: str, full: str) -> str:
    name = config.rpartition("/")[2]
    on_val = " They were chosen on val, so values on val are optimistic." if was_chosen_on_val(config) else ""
    return f"Settings of {full} and of the rows that share them are those of {name} (--config).{on_val}"


def select_each(study: Study, variants: Sequence[Variant], resources: Resources) -> list[Variant]:
    """Select the settings of each variant of a study; what an earlier job selected is not selected again.

    Args:
        study: The study.
        variants: Its variants; of two of one name the later one counts.
        resources: CPUs and GPUs of the cluster.
    Returns:
        The variants with their settings, once each; as they are where the train split is too small.
    """
    unique = list({variant.name: variant for variant in variants}.values())
    if not can_select(study.data):
        logger.info(f"study: {_describe_train(study.data)} too few to choose settings on: the paper's are taken")
        return unique
    kept = {v.name for v in unique if study.root.exists(*study.trial_folder(v), SETTINGS_FILE)}
    logger.info(f"study: choosing settings for each of {len(unique)} rows, {len(kept)} cached ({resources.cpus} CPUs)")
    for variant in unique:
        if variant.name not in kept:
            _keep_best(study, variant, resources)
    return [replace(v, training=_read_selected(study, v)) for v in unique]


def _keep_best(study: Study, variant: Variant, resources: Resources) -> None:
    """Keep what is selected for a variant in the folder that it would have with its own settings."""
    columns = select_columns(study.data.features, variant)
    candidates = make_candidates(len(study.data.train), Scope.around(variant.training, None))
    selection = _select(study.data, columns, candidates, resources, _ROW_RUNGS)
    chosen = selection.candidates[selection.chosen]
    logger.info(
        f"  {variant.name:<34} {chosen.name}, {chosen.epochs} epochs: held-out spearman "
        f"{chosen.measure('spearman'):.4f}, MSE {chosen.measure('mse'):.4f} of the variance"
    )
    study.root.write_json(as_json(selection.training), *study.trial_folder(variant), SETTINGS_FILE)


def _read_selected(study: Study, variant: Variant) -> TrainConfig:
    return from_json(TrainConfig, study.root.read_json(*study.trial_folder(variant), SETTINGS_FILE))


def _describe_train(data: StudyData) -> str:
    groups = "" if data.groups is None else f" of {len(np.unique(data.groups[data.train]))} groups"
    return f"{len(data.train)} train clips{groups} are"


@ray.remote
def _score_task(data: StudyData, columns: np.ndarray, fit: Fit) -> list[Curves]:
    hide_gpus()
    torch.set_num_threads(1)
    return score_fit(data, columns, 0, fit)
