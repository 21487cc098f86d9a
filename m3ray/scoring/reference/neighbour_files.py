"""`neighbours.parquet` beside a file of scores: what the clips that one looks at are compared to.

Of up to 2,000 clips it has all; of more the 500 most and the 500 least memorable, and those that are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.features.matrix import Features
from m3ray.scoring.open_bundle import AnyBundle
from m3ray.scoring.reference.neighbours import add_inside, explain_no_reference, find_neighbours
from m3ray.storage.ownership import name_neighbours_file
from m3ray.storage.parquet_tables import METADATA_KEY
from m3ray.storage.root import Root

if TYPE_CHECKING:
    import pandas as pd

MOST_CLIPS = 2_000
ENDS = 500
SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("space", pa.string()),
        ("rank", pa.int32()),
        ("neighbour", pa.string()),
        ("distance", pa.float32()),
        ("true_score", pa.float32()),
    ]
)


class NeighbourCollector:
    """Gathers, part by part of the clips that are scored, how far inside they lie and what they are compared to.

    Args:
        bundle: The bundle that scores.
        asked: Ids of clips that are looked at whatever their score.
    """

    def __init__(self, bundle: AnyBundle, asked: Collection[str] = ()) -> None:
        self.bundle, self.asked = bundle, frozenset(asked)
        self.reason = explain_no_reference(bundle)
        """Why there is nothing to compare with; None: there is."""
        self._ids: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []
        self._tables: list[pa.Table] = []

    def add(self, features: Features, scores: pd.DataFrame) -> pd.DataFrame:
        """Compare the next clips.

        Args:
            features: Their features as the bundle sees them.
            scores: Their scores, a row a clip in the same order.
        Returns:
            The scores with the column `inside`; as they are where there is nothing to compare with.
        """
        if self.reason is not None:
            return scores
        values = scores["score"].to_numpy()
        self._ids.append(np.array(features.clip_ids, object))
        self._scores.append(values)
        rows = self._choose(self._ids[-1], values)
        chosen = Features(tuple(features.clip_ids[row] for row in rows), features.values[rows], features.blocks)
        table = find_neighbours(self.bundle, chosen).table
        self._tables.append(pa.Table.from_pandas(table, schema=SCHEMA, preserve_index=False))
        return add_inside(scores, self.bundle, features)

    def table(self) -> pa.Table | None:
        """The neighbours of the clips that are looked at; None where there are none."""
        if not self._tables:
            return None
        ids, table = np.concatenate(self._ids), pa.concat_tables(self._tables)
        rows = self._choose(ids, np.concatenate(self._scores))
        return table.filter(pc.is_in(table["clip_id"], value_set=pa.array(ids[rows], pa.string())))

    def _choose(self, ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Rows of the clips that are looked at: all of few, else those at both ends and those asked for."""
        if len(ids) <= MOST_CLIPS:
            return np.arange(len(ids))
        order = np.argsort(scores, kind="stable")
        asked = [row for row, name in enumerate(ids) if name in self.asked] if self.asked else []
        return np.unique(np.concatenate([order[:ENDS], order[-ENDS:], np.array(asked, np.int64)]))


def write_neighbours(root: Root, predictions: tuple[str, ...], table: pa.Table | None, origin: dict[str, Any]) -> None:
    """Write the neighbours beside the scores; without any, those of earlier scores go.

    Args:
        root: Root of the scores.
        predictions: Path parts of their file.
        table: The neighbours; None: there is nothing to compare with.
        origin: What made the scores, which the file of neighbours keeps too.
    """
    path = name_neighbours_file(predictions)
    if table is None:
        if root.exists(*path):
            root.delete(*path)
        return
    root.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(origin)}), *path)
