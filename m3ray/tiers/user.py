"""User-provided tiers: features from a Parquet, CSV or NPZ file with `clip_id` and columns of numbers or vectors."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from m3ray.config import fingerprint
from m3ray.errors import ConfigError, FeatureError, SchemaError
from m3ray.schema import CAPTIONS, METADATA_TABLE, PRETRAINED, SIMILARITY, vector
from m3ray.storage.filesystems import one_line
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, feature_folder, read_tier_index, update_tier_index
from m3ray.tiers.user_file import READERS, read_tier_file

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")
_RESERVED = ("raw", "scene", "event", CAPTIONS, METADATA_TABLE, SIMILARITY, "torchvision", *PRETRAINED)
_NUMBERED = re.compile(r"(.*?)[_-]?(\d+)")
MAX_MISSING_SHARE = 0.05


@dataclass(frozen=True)
class UserTier:
    """A user-provided tier.

    Args:
        name: name of the tier.
        ids: ids of its clips, each once, (N,).
        columns: column name to its values, float32, (N,) or for a vector (N, width).
        scaled: whether training z-scores it.
        source: path or URI of the file that it was read from.
        notes: sentences for the user on what of the file was left out.
    """

    name: str
    ids: tuple[str, ...]
    columns: Mapping[str, np.ndarray]
    scaled: bool
    source: str
    notes: tuple[str, ...] = ()

    def table(self) -> pa.Table:
        """The tier as Parquet stores it: `clip_id`, numbers, and vectors as fixed-size lists."""
        arrays: dict[str, pa.Array] = {"clip_id": pa.array(self.ids, pa.string())}
        for name, values in self.columns.items():
            flat = pa.array(np.ascontiguousarray(values).ravel())
            is_vector = values.ndim == 2
            arrays[name] = pa.FixedSizeListArray.from_arrays(flat, type=vector(values.shape[1])) if is_vector else flat
        return pa.table(arrays)

    def identity(self) -> dict[str, Any]:
        """What a model that was trained on it relies on: the same columns, scaled alike."""
        columns = {name: values.shape[1] if values.ndim == 2 else 1 for name, values in self.columns.items()}
        return {"tier": self.name, "brought": True, "columns": columns, "scaled": self.scaled}


def parse_tier_options(options: Sequence[str]) -> dict[str, str]:
    """Parse the values of `--tier`.

    Args:
        options: values such as `text=features.parquet`.
    Returns:
        Tier name to its file.
    Raises:
        ConfigError: If a value has another form, or a name is reserved or given twice.
    """
    files: dict[str, str] = {}
    for option in options:
        name, separator, file = option.partition("=")
        if not separator or not file or not _NAME.fullmatch(name):
            raise ConfigError(f"--tier {option!r}: expected NAME=FILE, the name of letters, digits, _ . and -")
        if name in _RESERVED:
            raise ConfigError(f"--tier {option!r}: {name} is m3ray's own; choose another name")
        if name in files:
            raise ConfigError(f"--tier {name} is given twice: {files[name]} and {file}")
        files[name] = file
    return files


def read_user_tier(name: str, file: str, *, scaled: bool = True) -> UserTier:
    """Read and check a user-provided tier.

    Args:
        name: name of the tier.
        file: path or URI of a `.parquet`, `.csv` or `.npz` file.
        scaled: whether training is to z-score it.
    Raises:
        SchemaError: If there is no such file, no `clip_id`, an id twice, or a column that is not numeric.
        FeatureError: If a value is NaN or infinite; the message names its column and clip.
    """
    folder, _, base = file.rpartition("/")
    root, ending = Root(folder or "."), base.rsplit(".", 1)[-1].lower()
    if ending not in READERS:
        raise SchemaError(f"--tier {name}={file}: expected a file ending in .{', .'.join(READERS)}")
    try:
        data = root.read_bytes(base) if root.exists(base) else None
    except OSError as error:
        raise SchemaError(f"--tier {name}={file} cannot be read: {one_line(error)}") from error
    if data is None:
        raise SchemaError(f"--tier {name}={file}: no such file")
    content = read_tier_file(data, file, ending)
    _check_ids(content.ids, file)
    columns = _join_vectors({column: _as_float32(values, column, file) for column, values in content.columns.items()})
    if not columns:
        raise SchemaError(f"{file} has clip_id alone; a tier needs a column of numbers")
    for column, values in columns.items():
        _check_values(values, column, content.ids, file)
    return UserTier(name, content.ids, columns, scaled, file, content.notes)


def store_user_tier(root: Root, tier: UserTier, wanted: Sequence[str], *, allow_missing: bool = False) -> str:
    """Store a tier's rows of the catalogue's clips in a root, as the root's current tier of this name.

    Args:
        root: root to store them in.
        tier: the tier.
        wanted: ids of the catalogue's clips.
        allow_missing: whether the tier may lack more than 5 % of them.
    Returns:
        A sentence for the user: how many clips it has, lacks, and has beyond the catalogue.
    Raises:
        FeatureError: If it lacks all of the clips, or more than 5 % and that is not allowed.
    """
    ids, catalogue = set(tier.ids), set(wanted)
    missing = [name for name in wanted if name not in ids]
    summary = (
        f"tier {tier.name}: {len(catalogue) - len(missing)} of {len(catalogue)} clips, {len(missing)} missing"
        f"{f' ({missing[0]}, ...)' if missing else ''}, {len(ids - catalogue)} not in the catalogue, "
        f"from {tier.source}{''.join(f'; {note}' for note in tier.notes)}"
    )
    if len(missing) == len(catalogue):
        raise FeatureError(f"{summary}: no clip_id of it is in the catalogue ({wanted[0]}); it has {tier.ids[0]}")
    if len(missing) > MAX_MISSING_SHARE * len(catalogue) and not allow_missing:
        raise FeatureError(f"{summary}: more than {MAX_MISSING_SHARE:.0%} are missing; add them, or --allow-missing")
    rows = [k for k, name in enumerate(tier.ids) if name in catalogue]
    table = tier.table().take(pa.array(rows)).sort_by("clip_id")
    identity = tier.identity()
    folder = feature_folder(tier.name, fingerprint(identity, _content_digest(table)))
    if not root.exists(*folder):
        root.write_shard(table, folder, {"identity": identity, "scaled": tier.scaled, "source": tier.source})
    entry = TierEntry(folder[1], identity=identity, user_provided=True, scaled=tier.scaled)
    update_tier_index(root, {tier.name: entry})
    return summary


def _content_digest(table: pa.Table) -> str:
    """The hash of a table's values: other numbers make another folder."""
    digest = hashlib.sha256()
    for column in table.columns:
        for chunk in column.chunks:
            digest.update(b"".join(memoryview(b) for b in chunk.buffers() if b is not None))
    return digest.hexdigest()


def user_tiers(root: Root) -> list[str]:
    """The names of a root's user-provided tiers.

    Args:
        root: root to look into.
    """
    return [name for name, entry in read_tier_index(root).items() if entry.user_provided]


def _check_ids(ids: Sequence[str], file: str) -> None:
    first_rows: dict[str, int] = {}
    for row, name in enumerate(ids, start=1):
        first = first_rows.setdefault(name, row)
        if first != row:
            raise SchemaError(f"{file}: clip_id {name!r} stands in row {first} and in row {row}: one row a clip")
    if not ids:
        raise SchemaError(f"{file} has no row")


def _as_float32(values: Any, column: str, file: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub" or array.ndim not in (1, 2):
        raise SchemaError(f"{file}: column {column} is {array.dtype}, expected numbers: drop it or encode it")
    return array.astype(np.float32)


def _join_vectors(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Join columns that are numbered one after the other (`svd_0`, `svd_1`, ...) to a vector; leave others alone."""
    groups: dict[str, list[tuple[int, str]]] = {}
    for name, values in columns.items():
        match = _NUMBERED.fullmatch(name)
        if match and values.ndim == 1:
            groups.setdefault(match[1], []).append((int(match[2]), name))
    vectors: dict[str, np.ndarray] = {}
    members: set[str] = set()
    for prefix, group in groups.items():
        numbers, names = zip(*sorted(group), strict=True)
        is_consecutive = list(numbers) == list(range(numbers[0], numbers[0] + len(numbers)))
        vector_name = prefix or "vector"
        if len(names) > 1 and is_consecutive and vector_name not in columns:
            vectors[vector_name] = np.stack([columns[name] for name in names], axis=1)
            members |= set(names)
    return {name: values for name, values in columns.items() if name not in members} | vectors


def _check_values(values: np.ndarray, column: str, ids: Sequence[str], file: str) -> None:
    bad = ~np.isfinite(values).all(axis=1) if values.ndim == 2 else ~np.isfinite(values)
    if bad.any():
        first = ids[int(np.flatnonzero(bad)[0])]
        raise FeatureError(f"{file}: {column} of clip {first} and {int(bad.sum()) - 1} more is NaN or infinite")
