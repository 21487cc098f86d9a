"""What a study predicts: its own target, and Table 6, each further one by the main models."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from m3ray.errors import StudyError
from m3ray.features.dataset import StudyData
from m3ray.features.load import StudyFeatures, load_data, load_target
from m3ray.features.target_columns import TARGETS_TABLE, choose_target, list_crossed_targets
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.study.ablation import train_missing
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root
from m3ray.storage.root_record import group_column
from m3ray.study.study import Study
from m3ray.study.targets import collect_targets, select_models, write_made_of
from m3ray.study.variants import Variant

logger = logging.getLogger(__name__)


class DataOptions(Protocol):
    """Options that say what a study is made on."""

    @property
    def allow_missing(self) -> bool:
        """Whether more than 5 % of the scored clips may lack a tier."""

    @property
    def target(self) -> str | None:
        """What is predicted; None: what the root was made for."""

    @property
    def weigh(self) -> str:
        """`responses`, where clips weigh as many viewers as they have."""


def load_study_data(root: Root, tiers: Sequence[str], options: DataOptions) -> StudyFeatures:
    """Read the data of a study as a job's options want them.

    Args:
        root: Root that holds the features.
        tiers: Names of the tiers.
        options: The target, what clips weigh, and whether clips may lack a tier.
    Returns:
        The features, scores and weights, and the groups that the root was made with.
    Raises:
        ConfigError: If the catalogue lacks a column.
        StudyError, FeatureError: If too few clips have scores or features.
    """
    return load_data(
        root,
        tiers,
        allow_missing=options.allow_missing,
        target=choose_target(root, options.target),
        weigh="responses" if options.weigh == "responses" else "none",
        group=group_column(root),
    )


def describe_weights(data: StudyData) -> dict[str, str]:
    """Describe what clips weigh, for below a study's tables.

    Args:
        data: Data of the study.
    Returns:
        `weights` to a sentence; nothing where all clips weigh the same.
    """
    if data.weights is None:
        return {}
    return {
        "weights": "In the loss and in every metric a clip weighs as many viewers as it had (--weigh responses); the "
        "ceiling counts every clip once."
    }


def run_targets(
    study: Study, tiers: Sequence[str], rows: Sequence[Variant], tables: Sequence[int], resources: Resources
) -> bool:
    """Train the main models on each target that the data have, and write Table 6.

    Args:
        study: The study, trained on its own target.
        tiers: Tiers of the root.
        rows: The rows of Table 3 as the study trains them, and others.
        tables: Numbers of the tables that were asked for: 6, or all of the paper's, which it stands beside.
        resources: CPUs and GPUs of the cluster.
    Returns:
        Whether there is a Table 6.
    Raises:
        ConfigError: If it was asked for, and the data have nothing else to predict.
    """
    catalogue, root = read_catalogue(study.root), study.root
    targets = list_crossed_targets(catalogue, study.data.target.name, tables, root.uri)
    if not targets:
        return False
    models = select_models(tiers, rows)
    studies = {}
    for target in targets:
        try:
            own = study if target == study.data.target.name else _retarget(study, target)
        except StudyError as error:
            logger.info(f"study: Table {TARGETS_TABLE} leaves {target} out: {error}")
            continue
        studies[target] = own
    train_missing(list(studies.values()), models, resources)
    collect_targets(studies, models)
    write_made_of(study, models)
    return True


def _retarget(study: Study, target: str) -> Study:
    return replace(study, loaded=load_target(study.root, study.loaded, target))
