"""The warnings on the page: of the study, of the root's bundles, and of the clips that one has scored."""

from __future__ import annotations

import pandas as pd
from safetensors.numpy import load

from m3ray.errors import BundleError
from m3ray.reports.clip_section import PREDICTIONS
from m3ray.reports.page_content import Page
from m3ray.reports.study_files import STUDY
from m3ray.scoring.bundle_metadata import BUNDLE_FILE, INTERVALS_FILE, read_manifest
from m3ray.storage.root import Root
from m3ray.study.caution_sources import read_selection_cautions, read_study_cautions
from m3ray.study.cautions import caution_new_scores, caution_scores


def add_cautions(root: Root, page: Page) -> None:
    """Put on the page what its numbers are to be read with.

    Args:
        root: root that the report is about.
        page: page to fill.
    """
    page.cautions += read_cautions(root)


def read_cautions(root: Root) -> list[str]:
    """Read what the numbers of a root are to be read with.

    Args:
        root: root that the report is about.
    Returns:
        Sentences of its study, of its bundles, and of the clips that one has scored.
    """
    study = []
    if root.exists(*STUDY, "trials.parquet"):
        study = read_study_cautions(root, STUDY) + read_selection_cautions(root, STUDY)
    # A bundle of the study's own full model gives the same scores, and would be warned of twice.
    said = {_drop_name(sentence) for sentence in study}
    further = [sentence for name in root.list_names("models") for sentence in _read_bundle(root, name)]
    return [*study, *(sentence for sentence in further if _drop_name(sentence) not in said), *_read_scored(root)]


def _drop_name(sentence: str) -> str:
    return sentence.partition(": ")[2]


def _read_bundle(root: Root, name: str) -> list[str]:
    """What is to be said of a bundle's scores of the clips that its intervals are calibrated on."""
    if not all(root.exists("models", name, file) for file in (BUNDLE_FILE, INTERVALS_FILE)):
        return []
    try:
        where = read_manifest(root.subroot("models", name)).metadata.calibrated_on or "val"
    except BundleError:
        return []  # the section on coverage says why
    calibration = load(root.read_bytes("models", name, INTERVALS_FILE)).get("calibration")
    return [] if calibration is None else caution_scores(f"bundle {name}", *calibration, where=where)


def _read_scored(root: Root) -> list[str]:
    if not root.exists(PREDICTIONS):
        return []
    frame: pd.DataFrame = root.read_table(PREDICTIONS, columns=["score", "low", "high"]).to_pandas()
    name = root.read_metadata(PREDICTIONS).get("bundle")
    columns = (frame[column].to_numpy(float) for column in ("score", "low", "high"))
    return caution_new_scores(f"{PREDICTIONS}{f', scored by {name}' if name else ''}", *columns)
