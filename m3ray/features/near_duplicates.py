"""Search for near duplicates among the clips of a root: the same content, and vectors that are all but the same.

The raw tier's numbers of the picture tell copies from clips that merely look alike better than an untrained network,
and better than a network that was trained to predict memorability. What other trained networks see has to
agree, by a lower threshold.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config import fingerprint
from m3ray.datasets.clip_contents import clip_stamps
from m3ray.datasets.duplicates import DUPLICATES_FILE, DUPLICATES_SCHEMA, read_duplicates
from m3ray.datasets.groups import join_numbers
from m3ray.datasets.same_content import number_contents
from m3ray.schema import CAPTIONS, HOG_COMPONENTS, METADATA_TABLE, PRETRAINED, RAW, SIMILARITY
from m3ray.similarity.close_vectors import CloseVectors, find_close_vectors
from m3ray.storage.dataset_folders import ChangeCheck
from m3ray.storage.parquet_tables import METADATA_KEY
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, read_tier_index
from m3ray.storage.vector_columns import column_values, is_vector
from m3ray.tiers.finetuned import FINETUNED_PREFIX

logger = logging.getLogger(__name__)

CODE_VERSION = 1
MAX_COMPARED = 200_000
"""Clips whose vectors are compared without being asked to: the time grows with the square of their number."""
_MAX_HELD_BYTES = 2 << 30  # vectors beyond that lie in a temporary file
_FEWEST_NUMBERS = 8  # fewer are no vector that tells pictures apart
_PICTURE = tuple(name for name in RAW.names if name not in ("clip_id", "size_bytes"))
_AGREEMENT = 0.8  # lowest cosine of near duplicates in a network's vectors, beside the raw tier's
_RAW = "raw"


@dataclass(frozen=True)
class _Vectors:
    """Where the vectors of a tier are: one column of its shards, or several side by side.

    Args:
        folder: Path parts of its folder below the root.
        columns: Names of the columns.
        width: Numbers in a vector.
    """

    folder: tuple[str, str]
    columns: tuple[str, ...]
    width: int


def update_duplicates(
    root: Root, catalogue: pa.Table, threshold: float, by: ChangeCheck = "fast", *, asked_for: bool = False
) -> pa.Table:
    """Find the near duplicates of a catalogue, unless they are those that its root has, and write them.

    Args:
        root: Root with the features.
        catalogue: Its catalogue.
        threshold: Lowest cosine of clips that are near duplicates.
        by: What identifies a video in this root.
        asked_for: Whether vectors are compared however many clips there are.
    Returns:
        A row a clip that has any, as `DUPLICATES_SCHEMA`, by group; it is `artifacts/duplicates.parquet`.
    """
    sources = _list_vectors(root)
    if catalogue.num_rows > MAX_COMPARED and sources and not asked_for:
        logger.info(
            f"duplicates: the vectors of {catalogue.num_rows:,} clips are not compared, {MAX_COMPARED:,} are the most "
            "that are without being asked to: --group duplicates compares them (twice as many take four times as long)"
        )
        sources = {}
    key = _make_key(root, catalogue, threshold, by, sources)
    if root.exists(*DUPLICATES_FILE) and root.read_metadata(*DUPLICATES_FILE).get("key") == key:
        return read_duplicates(root)
    found = _find_duplicates(root, catalogue, threshold, by, sources)
    metadata = json.dumps({"key": key, "threshold": threshold, "tiers": list(sources)})
    root.write_table(found.replace_schema_metadata({METADATA_KEY: metadata}), *DUPLICATES_FILE)
    return found


def _list_vectors(root: Root) -> dict[str, _Vectors]:
    """The vectors that are compared: the raw tier's, then trained networks'; else those that the user has given."""
    index = read_tier_index(root)
    found = {t: _find_vectors(root, t, entry) for t, entry in index.items() if _is_comparable(t, entry)}
    known = {tier: vectors for tier, vectors in found.items() if vectors is not None}
    computed = {tier: vectors for tier, vectors in known.items() if not index[tier].user_provided}
    return dict(sorted((computed or known).items(), key=lambda item: item[0] != _RAW))


def _is_comparable(tier: str, entry: TierEntry) -> bool:
    if tier == _RAW:
        return True
    # Untrained networks see all clips alike, and a pretrained scorer what it needs for its score.
    # So do captions: many clips are described alike.
    is_told_apart = tier not in (METADATA_TABLE, CAPTIONS, *PRETRAINED) and not entry.untrained
    return is_told_apart and SIMILARITY not in tier and not tier.startswith(FINETUNED_PREFIX)


def _find_vectors(root: Root, tier: str, entry: TierEntry) -> _Vectors | None:
    """The widest vector of a tier, of the raw tier all numbers of the picture; None where it has none."""
    names = root.list_names(*entry.path, suffix=".parquet")
    schema = root.read_schema(*entry.path, names[0]) if names else pa.schema([])
    wide = [
        _Vectors(entry.path, (column.name,), column.type.list_size)
        for column in schema
        if pa.types.is_fixed_size_list(column.type) and is_vector(column.type)
    ]
    if tier == _RAW and set(_PICTURE) <= set(schema.names):
        return _Vectors(entry.path, _PICTURE, len(_PICTURE) - 1 + HOG_COMPONENTS)
    best = max(wide, key=lambda vectors: vectors.width, default=None)
    return best if best is not None and best.width >= _FEWEST_NUMBERS else None


def _make_key(
    root: Root, catalogue: pa.Table, threshold: float, by: ChangeCheck, sources: Mapping[str, _Vectors]
) -> str:
    """Hash of what the near duplicates depend on."""
    digest = hashlib.sha256()
    for texts in (catalogue["clip_id"], clip_stamps(root, catalogue)):
        digest.update("\n".join(text or "" for text in texts.to_pylist()).encode())
    index = read_tier_index(root)
    folders = sorted({*(s.folder for s in sources.values()), *([index[_RAW].path] if _RAW in index else [])})
    shards = [[*folder, root.list_sizes(*folder, suffix=".parquet")] for folder in folders]
    return fingerprint(CODE_VERSION, threshold, by, digest.hexdigest(), list(sources), shards)


def _find_duplicates(
    root: Root, catalogue: pa.Table, threshold: float, by: ChangeCheck, sources: Mapping[str, _Vectors]
) -> pa.Table:
    ids = catalogue["clip_id"].cast(pa.string()).combine_chunks()
    content = join_numbers(number_contents(catalogue, by), _number_pictures(root, ids))
    rows, close = _find_close(root, ids, threshold, sources)
    if close.cut:
        chains = "1 chain of clips" if close.cut == 1 else f"{close.cut} chains of clips"
        logger.info(f"duplicates: {chains}, each like the next but not like the others, was taken apart")
    alone = np.arange(len(ids))
    groups = alone.copy()
    groups[rows] = rows[close.groups]
    return _make_table(ids, content, join_numbers(content, groups), rows, close)


def _number_pictures(root: Root, ids: pa.Array) -> np.ndarray:
    """Numbers that clips share whose raw features are equal to the last bit: the same pictures in another container."""
    numbers, index = np.arange(len(ids)), read_tier_index(root)
    table = root.read_shards(*index[_RAW].path, columns=["clip_id", *_PICTURE]) if _RAW in index else None
    if table is None:
        return numbers
    rows = pc.index_in(table["clip_id"].cast(pa.string()), value_set=ids)
    table = table.filter(pc.is_valid(rows))
    bits = np.ascontiguousarray(_stack(table, _PICTURE)).view(np.uint32)
    first, inverse = np.unique(bits, axis=0, return_index=True, return_inverse=True)[1:]
    known = rows.drop_null().to_numpy()
    numbers[known] = known[first[inverse.reshape(-1)]]
    return numbers


def _find_close(
    root: Root, ids: pa.Array, threshold: float, sources: Mapping[str, _Vectors]
) -> tuple[np.ndarray, CloseVectors]:
    """Rows of the clips that have all vectors, and which of them are close."""
    if not sources:
        return np.empty(0, np.int64), find_close_vectors([], threshold)
    with _hold_vectors(root, ids, list(sources.values())) as (rows, matrices):
        agreement = min(_AGREEMENT, threshold) if _RAW in sources else None
        return rows, find_close_vectors(matrices, threshold, agreement)


@contextmanager
def _hold_vectors(
    root: Root, ids: pa.Array, sources: Sequence[_Vectors]
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Rows of the clips that have all vectors, and these, (n, D) of each tier; very many lie in temporary files."""
    on_disk = 4 * len(ids) * sum(source.width for source in sources) > _MAX_HELD_BYTES
    with tempfile.TemporaryDirectory() as folder:
        complete, matrices = np.ones(len(ids), bool), []
        for number, source in enumerate(sources):
            shape = (len(ids), source.width)
            file = Path(folder, f"{number}.f32")
            matrix = np.memmap(file, np.float32, "w+", shape=shape) if on_disk else np.zeros(shape, np.float32)
            complete &= _fill(root, ids, source, matrix)
            matrices.append(matrix)
        rows = np.flatnonzero(complete)
        is_whole = len(rows) == len(ids)
        yield rows, matrices if is_whole else [_move_up(matrix, rows) for matrix in matrices]
        del matrices


def _fill(root: Root, ids: pa.Array, source: _Vectors, matrix: np.ndarray) -> np.ndarray:
    """Read the vectors of a tier into the rows of a matrix, a shard at a time; which rows have one."""
    filled = np.zeros(len(ids), bool)
    for name in root.list_names(*source.folder, suffix=".parquet"):
        table = root.read_table(*source.folder, name, columns=["clip_id", *source.columns])
        rows = pc.index_in(table["clip_id"].cast(pa.string()), value_set=ids)
        values = _stack(table.filter(pc.is_valid(rows)), source.columns)
        known = rows.drop_null().to_numpy()
        finite = np.isfinite(values).all(axis=1)
        matrix[known[finite]], filled[known[finite]] = values[finite], True
    return filled


def _stack(table: pa.Table, columns: Sequence[str]) -> np.ndarray:
    """Columns side by side, (rows, D), float32."""
    values = [column_values(table[name]).astype(np.float32).reshape(len(table), -1) for name in columns]
    return np.concatenate(values, axis=1)


def _move_up(matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The rows alone, in place: those before are overwritten."""
    for start in range(0, len(rows), 4096):
        part = rows[start : start + 4096]
        matrix[start : start + len(part)] = matrix[part]
    return matrix[: len(rows)]


def _make_table(
    ids: pa.Array, content: np.ndarray, groups: np.ndarray, rows: np.ndarray, close: CloseVectors
) -> pa.Table:
    """A row a clip that is in a group with another one."""
    similarity, nearest = np.zeros(len(ids), np.float32), np.full(len(ids), -1)
    similarity[rows], nearest[rows] = close.similarity, np.where(close.nearest < 0, -1, rows[close.nearest])
    is_copy = np.bincount(content)[content] > 1
    similarity[is_copy], nearest[is_copy] = 1, _find_copies(content)[is_copy]
    chosen = np.flatnonzero(np.bincount(groups)[groups] > 1)
    # Groups are numbered by their first clip in the catalogue.
    _, first, inverse = np.unique(groups[chosen], return_index=True, return_inverse=True)
    numbers = np.argsort(np.argsort(first))[inverse]
    order = np.lexsort((chosen, numbers))
    chosen, numbers = chosen[order], numbers[order]
    return pa.table(
        {
            "clip_id": ids.take(pa.array(chosen)),
            "group": numbers,
            "kind": pa.array(np.where(is_copy[chosen], "content", "vectors")),
            "similarity": similarity[chosen],
            "nearest": ids.take(pa.array(np.maximum(nearest[chosen], 0), mask=nearest[chosen] < 0)),
        },
        schema=DUPLICATES_SCHEMA,
    )


def _find_copies(content: np.ndarray) -> np.ndarray:
    """Another row of the same number: the next one, for the last of a number the first."""
    order = np.argsort(content, kind="stable")
    ordered = content[order]
    starts = np.searchsorted(ordered, ordered, side="left")
    is_last = np.append(ordered[1:] != ordered[:-1], True)
    following = np.where(is_last, order[starts], np.roll(order, -1))
    copies = np.empty_like(order)
    copies[order] = following
    return copies
