"""The warnings of a study as its root holds it: the same sentences for the log and for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from m3ray.datasets.duplicates import caution_duplicates, find_sides, read_duplicates
from m3ray.features.target_columns import read_responses
from m3ray.schema import SIMILARITY
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root
from m3ray.storage.tier_index import read_tier_index
from m3ray.study.cautions import (
    Caution,
    caution_baselines,
    caution_clips,
    caution_clusters,
    caution_pretrained,
    caution_selection,
    find_score_cautions,
)
from m3ray.study.ceiling import read_ceilings
from m3ray.study.table_list import TableList, read_table_list
from m3ray.training.candidates import is_preset
from m3ray.training.settings_file import FOLDER

WEIGHTS_NOTE = "weights"


def read_study_cautions(root: Root, folder: tuple[str, str]) -> list[str]:
    """Read what a reader of a study is to be warned of.

    Args:
        root: Root that holds the study.
        folder: The study's folder below the root.
    Returns:
        Sentences: of the full model's scores on val, of val, of the clusters that it sees, of simpler models.
    """
    return [caution.text for caution in find_study_cautions(root, folder)]


def find_study_cautions(root: Root, folder: tuple[str, str]) -> list[Caution]:
    """Find what `read_study_cautions` warns of, and what each is about.

    Args:
        root: Root that holds the study.
        folder: The study's folder below the root.
    Returns:
        The cautions, in the same order.
    """
    tables = read_table_list(root, folder)
    full = tables.measures.full
    trials = root.read_table(*folder, "trials.parquet").to_pandas()
    predictions = root.read_table(*folder, "predictions.parquet").to_pandas()
    own = predictions[predictions["variant"] == full]
    row = trials.set_index("variant").loc[full]
    mse = None if pd.isna(row["mse"]) else float(row["mse"])
    weights = read_val_weights(root, folder, own) if is_weighted(tables) else None
    truth, scores = own["truth"].to_numpy(float), own["score"].to_numpy(float)
    config = root.read_json(*folder, "config.json")
    return [
        *find_score_cautions(full, scores, truth, weights, mse=mse),
        *(Caution(text, "clips") for text in caution_clips(len(own))),
        *(Caution(text, "duplicates") for text in read_duplicate_cautions(root)),
        *find_cluster_cautions(root),
        *(Caution(text, "baselines") for text in caution_baselines(trials, full, _list_rows(config, "regressor"))),
        *(Caution(text, "pretrained") for text in caution_pretrained(trials, full, _list_rows(config, "pretrained"))),
    ]


def read_selection_cautions(root: Root, folder: tuple[str, str]) -> list[str]:
    """Read whether choosing the full model's settings gained anything; the job that chose them has said it in its log.

    Args:
        root: Root that holds the study.
        folder: The study's folder below the root.
    Returns:
        One sentence or none; none where its settings were not chosen on this root, or are the preset's.
    """
    full, config = read_table_list(root, folder).measures.full, root.read_json(*folder, "config.json")
    training = next(variant["training"] for variant in config["variants"] if variant["name"] == full)
    for name in root.list_names(*FOLDER):
        choice = root.read_json(*FOLDER, name)
        gain = choice.get("gain_over_preset")
        if choice.get("training") == training and gain is not None and not is_preset(choice["chosen"]):
            return caution_selection(choice["chosen"], gain["score"], gain["standard_error"])
    return []


def _list_rows(config: Mapping[str, Any], kind: str) -> Sequence[str]:
    """Names of the variants that are of a kind, `regressor` or `pretrained`."""
    return [variant["name"] for variant in config["variants"] if variant.get(kind)]


def is_weighted(tables: TableList) -> bool:
    """Tell whether a study's metrics weigh clips by their viewers.

    Args:
        tables: The list of its tables.
    Returns:
        Whether they do.
    """
    return WEIGHTS_NOTE in tables.notes


def read_val_weights(root: Root, folder: tuple[str, str], predictions: pd.DataFrame) -> np.ndarray | None:
    """Read what val clips weigh in a study that weighs clips by their viewers.

    Args:
        root: Root that holds the study.
        folder: The study's folder below the root.
        predictions: Rows of its `predictions.parquet`, (V,).
    Returns:
        The number of viewers of each, (V,), their mean where it is unknown; None where the catalogue has none.
    """
    counts = read_responses(read_catalogue(root), predictions["clip_id"].tolist(), read_ceilings(root, folder).target)
    if counts is None or not np.isfinite(counts).any():
        return None
    return np.where(np.isfinite(counts), counts, np.nanmean(counts))


def read_duplicate_cautions(root: Root) -> list[str]:
    """Read how many clips that metrics are measured on have a near duplicate in train.

    Args:
        root: Root with a catalogue.
    Returns:
        One sentence or none; none where nothing was looked for, as in a root of an older version.
    """
    duplicates = read_duplicates(root)
    if not duplicates.num_rows:
        return []
    clips = read_catalogue(root, ["clip_id", "split", "score"])
    return caution_duplicates(find_sides(duplicates, clips.filter(pc.is_valid(clips["score"]))))


def read_cluster_cautions(root: Root) -> list[str]:
    """Read what is to be said of the DBSCAN measure that a root's models see.

    Args:
        root: Root that may hold a fitted one.
    Returns:
        A sentence for each vector tier whose clips are nearly all in one group.
    """
    return [caution.text for caution in find_cluster_cautions(root)]


def find_cluster_cautions(root: Root) -> list[Caution]:
    """Find what `read_cluster_cautions` warns of, and of which vector tier.

    Args:
        root: Root that may hold a fitted DBSCAN measure.
    Returns:
        A caution for each vector tier whose clips are nearly all in one group.
    """
    entry = read_tier_index(root).get(SIMILARITY)
    if entry is None or entry.config.get("measure") != "dbscan":
        return []
    file = ("artifacts", f"{entry.folder}.json")
    parts = root.read_json(*file)["tiers"] if root.exists(*file) else {}
    return [
        Caution(text, "clusters", tier) for tier, part in parts.items() for text in _caution_part(tier, part["learned"])
    ]


def _caution_part(tier: str, learned: Mapping[str, Any]) -> list[str]:
    """The sentence of a vector tier; an earlier m3ray did not keep the shares."""
    share = learned.get("largest_share_")
    return [] if share is None else caution_clusters(tier, share, learned["noise_share_"], learned.get("eps_"))
