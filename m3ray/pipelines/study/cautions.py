"""Warnings in a job's log: what its results are to be read with, each once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import pandas as pd

from m3ray.schema import SIMILARITY
from m3ray.scoring.bundle import Bundle
from m3ray.study.caution_sources import read_cluster_cautions, read_duplicate_cautions, read_study_cautions
from m3ray.study.cautions import caution_baselines, caution_clips, find_score_cautions
from m3ray.study.study import Study
from m3ray.study.variants import Variant

logger = logging.getLogger(__name__)


def log_study_cautions(study: Study) -> None:
    """Log what the tables of a study are to be read with.

    Args:
        study: The study, whose tables have been written.
    """
    _log(read_study_cautions(study.root, study.folder))


def log_training_cautions(study: Study, rows: Sequence[Variant], trials: pd.DataFrame) -> None:
    """Log what the one model of a study without tables is to be read with, beside what its bundle is.

    Args:
        study: The study.
        rows: The model, and those beside it.
        trials: The study's `trials.parquet`.
    """
    clusters = read_cluster_cautions(study.root) if SIMILARITY in study.data.features.tiers else []
    beside = [row.name for row in rows if row.regressor is not None]
    of_val = [*caution_clips(len(study.data.val)), *read_duplicate_cautions(study.root)]
    _log([*of_val, *clusters, *caution_baselines(trials, rows[0].name, beside)])


def log_bundle_cautions(bundle: Bundle) -> None:
    """Log what a bundle's scores are to be read with.

    Args:
        bundle: The bundle; an older one does not have the clips that it was calibrated on.
    """
    if bundle.calibration is not None:
        where = bundle.metadata.calibrated_on or "val"
        found = find_score_cautions(f"bundle {bundle.name}", *bundle.calibration, where=where)
        _log([caution.text for caution in found])


def _log(sentences: Iterable[str]) -> None:
    for sentence in sentences:
        logger.warning(sentence)
