"""What a bundle records of the data that it was made of, for its model card: counts and names, and no clip."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config import as_json
from m3ray.datasets.duplicates import DUPLICATES_FILE, describe_duplicates, find_sides, read_duplicates
from m3ray.features.dataset import StudyData
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root
from m3ray.storage.root_record import read_record
from m3ray.study.ceiling import measure_study_ceilings
from m3ray.study.study import Study

_JUDGED = ("val", "test")


def record_data(study: Study) -> dict[str, Any]:
    """Collect what a model card tells of a study's data.

    Args:
        study: Study that a bundle is made of.
    Returns:
        JSON values: kind of data set, numbers of clips, how splits came about, viewers a clip, near duplicates, and
        ceilings of val and test. None, or no entry, for what is unknown.
    """
    data, catalogue = study.data, read_catalogue(study.root)
    ceilings = measure_study_ceilings(data, catalogue)
    return {
        **_describe_source(study.root),
        "clips": catalogue.num_rows,
        **{name: len(getattr(data, name)) for name in ("train", "val", "test")},
        "responses": _count_viewers(data),
        **_find_duplicates(study.root, catalogue, data),
        "ceiling": {name: as_json(ceilings.of(name)) for name in _JUDGED if name in ceilings.sets},
        "ceiling_basis": ceilings.basis,
    }


def _describe_source(root: Root) -> dict[str, Any]:
    """Kind of data set and how splits were drawn, without the path that it was read from."""
    record = read_record(root)
    if record is None:
        return {"dataset": None}
    settings: Mapping[str, Any] = record.settings
    splits = settings.get("splits")
    split = {"seed": settings.get("seed"), "group": settings.get("group"), "file": splits and PurePath(splits).name}
    return {"dataset": record.dataset, "split": {name: value for name, value in split.items() if value is not None}}


def _count_viewers(data: StudyData) -> dict[str, float] | None:
    """Fewest, median and most viewers of a clip with a score, and how many clips' viewers are known."""
    if data.responses is None:
        return None
    counts = data.responses[np.concatenate([data.train, data.val, data.test])]
    known = counts[np.isfinite(counts)]
    if not len(known):
        return None
    low, median, high = np.quantile(known, (0, 0.5, 1)).tolist()
    return {"clips": len(known), "fewest": low, "median": median, "most": high}


def _find_duplicates(root: Root, catalogue: pa.Table, data: StudyData) -> dict[str, Any]:
    """A line on near duplicates among the clips with a score, and how many clips of val and test have one in train."""
    if not root.exists(*DUPLICATES_FILE):
        return {"near_duplicates": None}
    ids = [data.features.clip_ids[row] for row in np.concatenate([data.train, data.val, data.test])]
    clips = catalogue.select(["clip_id", "split"])
    scored = clips.filter(pc.is_in(clips["clip_id"].cast(pa.string()), value_set=pa.array(ids, pa.string())))
    sides = find_sides(read_duplicates(root), scored)
    return {"near_duplicates": describe_duplicates(sides).removeprefix("duplicates: "), "seen_duplicates": sides.seen}
