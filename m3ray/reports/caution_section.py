"""The warnings on the page: of the study, of the root's bundles, and of the clips that one has scored."""

from __future__ import annotations

import pandas as pd
from safetensors.numpy import load

from m3ray.errors import BundleError
from m3ray.reports.caution_marks import place_marks
from m3ray.reports.clip_section import PREDICTIONS
from m3ray.reports.page_content import Page
from m3ray.reports.study_files import STUDY
from m3ray.scoring.bundle_metadata import BUNDLE_FILE, INTERVALS_FILE, read_manifest
from m3ray.storage.root import Root
from m3ray.study.caution_sources import find_study_cautions, read_selection_cautions
from m3ray.study.cautions import Caution, caution_new_scores, find_score_cautions


def add_cautions(root: Root, page: Page) -> None:
    """Put on the page what its numbers are to be read with: as a list, and as marks beside these numbers.

    Args:
        root: root that the report is about.
        page: page to fill.
    """
    cautions = find_cautions(root)
    page.cautions += [caution.text for caution in cautions]
    page.marks = place_marks(cautions, untrained=page.untrained)


def read_cautions(root: Root) -> list[str]:
    """Read what the numbers of a root are to be read with.

    Args:
        root: root that the report is about.
    Returns:
        Sentences of its study, of its bundles, and of the clips that one has scored.
    """
    return [caution.text for caution in find_cautions(root)]


def find_cautions(root: Root) -> list[Caution]:
    """Find what the numbers of a root are to be read with, and what each warning is about.

    Args:
        root: root that the report is about.
    Returns:
        Cautions of its study, of its bundles, and of the clips that one has scored.
    """
    study: list[Caution] = []
    if root.exists(*STUDY, "trials.parquet"):
        study = find_study_cautions(root, STUDY)
        study += [Caution(text, "selection") for text in read_selection_cautions(root, STUDY)]
    # A bundle of the study's own full model gives the same scores, and would be warned of twice.
    said = {_drop_name(caution.text) for caution in study}
    further = [text for name in root.list_names("models") for text in _read_bundle(root, name)]
    new = [*(text for text in further if _drop_name(text) not in said), *_read_scored(root)]
    return [*study, *(Caution(text, "new scores") for text in new)]


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
    found = [] if calibration is None else find_score_cautions(f"bundle {name}", *calibration, where=where)
    return [caution.text for caution in found]


def _read_scored(root: Root) -> list[str]:
    if not root.exists(PREDICTIONS):
        return []
    frame: pd.DataFrame = root.read_table(PREDICTIONS, columns=["score", "low", "high"]).to_pandas()
    name = root.read_metadata(PREDICTIONS).get("bundle")
    columns = (frame[column].to_numpy(float) for column in ("score", "low", "high"))
    return caution_new_scores(f"{PREDICTIONS}{f', scored by {name}' if name else ''}", *columns)
