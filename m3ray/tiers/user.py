"""A tier that a user brings: Parquet, CSV or NPZ with `clip_id` and columns of numbers or vectors."""

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
from m3ray.schema import SIMILARITY, vector
from m3ray.storage.filesystems import one_line
from m3ray.storage.root import Root
from m3ray.storage.tier_index import current_tiers, feature_folder, remember_tiers
from m3ray.tiers.user_file import READERS, read_tier_file

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")
_RESERVED = ("raw", "scene", "event", "facts", SIMILARITY, "torchvision")
_NUMBERED = re.compile(r"(.*?)[_-]?(\d+)")
MOST_MISSING = 0.05


@dataclass(frozen=True)
class Brought:
    """A user's tier.

    Args:
        name: of the tier.
        ids: clips, (N,).
        columns: name to (N,) or, for a vector, (N, width); float32.
        scaled: whether training z-scores it.
        source: the file.
        notes: what of it was passed over, in words.
    """

    name: str
    ids: tuple[str, ...]
    columns: Mapping[str, np.ndarray]
    scaled: bool
    source: str
    notes: tuple[str, ...] = ()

    def table(self) -> pa.Table:
        """As Parquet keeps a tier: vectors as fixed-size lists."""
        arrays: dict[str, pa.Array] = {"clip_id": pa.array(self.ids, pa.string())}
        for name, values in self.columns.items():
            flat = pa.array(np.ascontiguousarray(values).ravel())
            wide = values.ndim == 2
            arrays[name] = pa.FixedSizeListArray.from_arrays(flat, type=vector(values.shape[1])) if wide else flat
        return pa.table(arrays)

    def identity(self) -> dict[str, Any]:
        """What a model that saw it must see again: the same columns, scaled alike."""
        columns = {name: values.shape[1] if values.ndim == 2 else 1 for name, values in self.columns.items()}
        return {"tier": self.name, "brought": True, "columns": columns, "scaled": self.scaled}


def parse_tiers(options: Sequence[str]) -> dict[str, str]:
    """`NAME=FILE` options as name to file.

    Raises:
        ConfigError: another form, a name that is taken or used twice.
    """
    found: dict[str, str] = {}
    for option in options:
        name, separator, file = option.partition("=")
        if not separator or not file or not _NAME.fullmatch(name):
            raise ConfigError(f"--tier {option!r}: expected NAME=FILE, the name of letters, digits, _ . and -")
        if name in _RESERVED:
            raise ConfigError(f"--tier {option!r}: {name} is m3ray's own; choose another name")
        if name in found:
            raise ConfigError(f"--tier {name} is given twice: {found[name]} and {file}")
        found[name] = file
    return found


def read_tier(name: str, file: str, *, scaled: bool = True) -> Brought:
    """Reads a tier.

    Raises:
        SchemaError: no such file, no `clip_id`, an id twice, a column that is not numeric.
        FeatureError: a value is NaN or infinite; column and clip are named.
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
    found = read_tier_file(data, file, ending)
    _check_ids(found.ids, file)
    numbers = _vectors({column: _numbers(values, column, file) for column, values in found.columns.items()})
    if not numbers:
        raise SchemaError(f"{file} has clip_id alone; a tier needs a column of numbers")
    for column, values in numbers.items():
        _check_values(values, column, found.ids, file)
    return Brought(name, found.ids, numbers, scaled, file, found.notes)


def bring(root: Root, tier: Brought, wanted: Sequence[str], *, allow_missing: bool = False) -> str:
    """Puts a tier's rows of the catalogue's clips under the root and makes it the current one of its name.

    Args:
        wanted: the catalogue's clips.
    Returns:
        What was found, in words.
    Raises:
        FeatureError: it lacks more than 5 % of them and that is not allowed, or all.
    """
    known, catalogue = set(tier.ids), set(wanted)
    missing = [name for name in wanted if name not in known]
    said = (
        f"tier {tier.name}: {len(catalogue) - len(missing)} of {len(catalogue)} clips, {len(missing)} missing"
        f"{f' ({missing[0]}, ...)' if missing else ''}, {len(known - catalogue)} not in the catalogue, "
        f"from {tier.source}{''.join(f'; {note}' for note in tier.notes)}"
    )
    if len(missing) == len(catalogue):
        raise FeatureError(f"{said}: no clip_id of it is in the catalogue ({wanted[0]}); it has {tier.ids[0]}")
    if len(missing) > MOST_MISSING * len(catalogue) and not allow_missing:
        raise FeatureError(f"{said}: more than {MOST_MISSING:.0%} are missing; add them, or --allow-missing")
    keep = [k for k, name in enumerate(tier.ids) if name in catalogue]
    table = tier.table().take(pa.array(keep)).sort_by("clip_id")
    digest = hashlib.sha256()
    for column in table.columns:
        for chunk in column.chunks:
            digest.update(b"".join(memoryview(b) for b in chunk.buffers() if b is not None))
    identity = tier.identity()
    folder = feature_folder(tier.name, fingerprint(identity, digest.hexdigest()))
    if not root.exists(*folder):
        root.write_shard(table, folder, {"identity": identity, "scaled": tier.scaled, "source": tier.source})
    entry = {"folder": folder[1], "untrained": False, "brought": True, "scaled": tier.scaled, "identity": identity}
    remember_tiers(root, {tier.name: entry})
    return said


def brought_tiers(root: Root) -> list[str]:
    """The names of the tiers that a user brought to a root."""
    return [name for name, entry in current_tiers(root).items() if entry.get("brought")]


def _check_ids(ids: Sequence[str], file: str) -> None:
    seen: dict[str, int] = {}
    for row, name in enumerate(ids, start=1):
        if seen.setdefault(name, row) != row:
            raise SchemaError(f"{file}: clip_id {name!r} stands in row {seen[name]} and in row {row}: one row a clip")
    if not ids:
        raise SchemaError(f"{file} has no row")


def _numbers(values: Any, column: str, file: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub" or array.ndim not in (1, 2):
        raise SchemaError(f"{file}: column {column} is {array.dtype}, expected numbers: drop it or encode it")
    return array.astype(np.float32)


def _vectors(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Numbered columns (`svd_0`, `svd_1`, ...) as the vector that they are; others as they came."""
    groups: dict[str, list[tuple[int, str]]] = {}
    for name, values in columns.items():
        match = _NUMBERED.fullmatch(name)
        if match and values.ndim == 1:
            groups.setdefault(match[1], []).append((int(match[2]), name))
    found: dict[str, np.ndarray] = {}
    taken: set[str] = set()
    for prefix, members in groups.items():
        order = sorted(members)
        consecutive = [k for k, _ in order] == list(range(order[0][0], order[0][0] + len(order)))
        name = prefix or "vector"
        if len(order) > 1 and consecutive and name not in columns:
            found[name] = np.stack([columns[member] for _, member in order], axis=1)
            taken |= {member for _, member in order}
    return {name: values for name, values in columns.items() if name not in taken} | found


def _check_values(values: np.ndarray, column: str, ids: Sequence[str], file: str) -> None:
    bad = ~np.isfinite(values).all(axis=1) if values.ndim == 2 else ~np.isfinite(values)
    if bad.any():
        first = ids[int(np.flatnonzero(bad)[0])]
        raise FeatureError(f"{file}: {column} of clip {first} and {int(bad.sum()) - 1} more is NaN or infinite")
