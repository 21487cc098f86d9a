"""What a study is made on: the joined matrix of a root's tiers, built once and shared by its trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from m3ray.config import fingerprint
from m3ray.console import say
from m3ray.datasets.catalogue import read_catalogue
from m3ray.errors import FeatureError
from m3ray.features.dataset import StudyData
from m3ray.features.matrix import MOST_DROPPED, joined, tier_block
from m3ray.schema import CONTENT, SIMILARITY
from m3ray.storage.root import Root
from m3ray.storage.tier_index import changed_since_fit, contents_of, current_tiers, note_fit, rejected_ids, tier_table
from m3ray.tiers.factory import computed
from m3ray.tiers.finetuned import PREFIX as TUNED_PREFIX


@dataclass(frozen=True)
class Loaded:
    """The joined features and scores, and what they came from.

    Args:
        folders: tier to its feature folder.
        key: changes when the clips, their contents, splits or scores do.
    """

    data: StudyData
    folders: Mapping[str, str]
    key: str


def load_data(root: Root, tiers: Sequence[str], *, allow_missing: bool = False) -> Loaded:
    """The joined matrix of the root's current tiers.

    Args:
        root: holds them.
        tiers: their names.
        allow_missing: whether more than 5 % of the scored clips may lack a tier.
    Raises:
        StudyError: too few scored clips, or a tier that the root lacks.
        FeatureError: more than 5 % of the scored clips lack a tier and were not rejected.
    """
    catalogue = read_catalogue(root)
    frame = catalogue.select(["clip_id", "split", "score"]).to_pandas()
    current = current_tiers(root)
    tables = {tier: _tier(root, tier, current) for tier in tiers}
    features, _dropped = joined(tables, frame["clip_id"].tolist())
    scored = set(frame.loc[frame["score"].notna(), "clip_id"])
    _check_dropped(scored, scored - set(features.clip_ids), set(rejected_ids(root).to_pylist()), allow_missing)
    rows = frame.set_index("clip_id").loc[list(features.clip_ids)]
    data = StudyData.make(features, rows["score"].to_numpy(float), rows["split"].tolist())
    folders = {tier: current[tier]["folder"] for tier in tiers}
    contents = _contents(root, folders.values(), features.clip_ids)
    return Loaded(data, folders, fingerprint(rows.reset_index().values.tolist(), *contents))


def _contents(root: Root, folders: Iterable[str], ids: Sequence[str]) -> list[list[tuple[str, str]]]:
    """What the clips' features were computed from, and a word where that has changed; empty in roots of before."""
    known = contents_of(root, folders)
    found = [(name, known[name]) for name in ids if name in known]
    if not found:
        return []
    now = pa.table({"clip_id": [name for name, _ in found], CONTENT: [content for _, content in found]})
    changed = changed_since_fit(root, "study", now)
    if changed:
        say(f"study: {changed} clips changed since it last saw them: what was trained on them is trained anew")
    note_fit(root, "study", now)
    return [found]


def study_tiers(root: Root) -> list[str]:
    """Every tier that a study on the root may see: computed ones, similarity, and other measures of it."""
    current = current_tiers(root)
    own = (tier for tier, entry in current.items() if entry.get("brought"))
    studied = [tier for tier in computed(current) if not tier.startswith(TUNED_PREFIX)]
    return [*studied, *own, *(tier for tier in current if tier.partition(":")[0] == SIMILARITY)]


def _tier(root: Root, tier: str, current: Mapping[str, Any]) -> tuple[Any, np.ndarray, list[str]]:
    table = tier_table(root, tier)
    metadata = root.shard_metadata("features", current[tier]["folder"])
    brought = current[tier] if current[tier].get("brought") else None
    one_hot, names = metadata.get("one_hot", False), metadata.get("columns")
    block, values = tier_block(tier, table, one_hot=one_hot, names=names, brought=brought)
    return block, values, table["clip_id"].to_pylist()


def _check_dropped(scored: set[str], dropped: set[str], rejected: set[str], allow_missing: bool) -> None:
    """Rejected clips were told of when they were rejected; those that merely lack a tier are a mistake of the data."""
    if dropped:
        say(
            f"study: {len(dropped)} of {len(scored)} scored clips lack a tier and are left out, "
            f"{len(dropped & rejected)} of them rejected"
        )
    lacking = sorted(dropped - rejected)
    if len(lacking) > MOST_DROPPED * len(scored) and not allow_missing:
        raise FeatureError(
            f"{len(lacking)} of {len(scored)} scored clips, {lacking[0]} among them, lack a tier without having been "
            f"rejected, more than {MOST_DROPPED:.0%}: extract the tier for them, or go on with --allow-missing"
        )
