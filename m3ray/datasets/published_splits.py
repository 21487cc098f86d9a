"""Files that published splits come in: text lists, CSV, and pickles of plain values."""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from m3ray.errors import SchemaError
from m3ray.schema import SPLITS
from m3ray.storage.csv_reading import read_csv_text
from m3ray.storage.root import Root

_SYNONYMS = {"training": "train", "dev": "val", "valid": "val", "validation": "val", "testing": "test"}
_MAX_PICKLE_BYTES = 64 * 1024**2
# Opcodes that import or call something, or reach outside the file; no plain value needs them.
_FORBIDDEN_OPCODES = frozenset(
    [
        "GLOBAL",
        "STACK_GLOBAL",
        "REDUCE",
        "BUILD",
        "INST",
        "OBJ",
        "NEWOBJ",
        "NEWOBJ_EX",
        "EXT1",
        "EXT2",
        "EXT4",
        "PERSID",
        "BINPERSID",
        "NEXT_BUFFER",
        "READONLY_BUFFER",
    ]
)


def read_splits(source: str) -> dict[str, str]:
    """Read which video is in which split.

    Args:
        source: path of a folder of text lists (`train.txt`, one video a line) or of one such list; of a CSV file with a
            column of names and one of splits; or of a `.pkl` of plain lists and dictionaries.
    Returns:
        Name of each video to its split.
    Raises:
        SchemaError: If there is no such file, a split is unknown, a video stands in two, or a pickle holds more than
            plain values.
    """
    folder, _, name = source.rstrip("/").rpartition("/")
    root = Root(folder or ".")
    if not root.exists(name):
        raise SchemaError(f"--splits {source}: no such file or folder")
    if name.lower().endswith(".csv"):
        return _collect(_from_csv(root, name), source)
    if name.lower().endswith((".pkl", ".pickle")):
        return _collect(_from_plain(load_plain_pickle(root.read_bytes(name), source), source), source)
    if name.lower().endswith(".txt"):
        return _collect(_from_lists(root, [name]), source)
    lists = Root(source).list_names(suffix=".txt")
    if not lists:
        raise SchemaError(f"--splits {source}: expected a .csv, a .pkl, or a folder with train.txt, val.txt")
    return _collect(_from_lists(Root(source), lists), source)


def load_plain_pickle(data: bytes, what: str) -> Any:
    """Load a pickle of lists, dictionaries, strings and numbers; one that would build anything else is not loaded.

    Args:
        data: bytes of the pickle.
        what: name of the file, for the message.
    Returns:
        The value.
    Raises:
        SchemaError: If it is damaged, too large, or names something to import or to call.
    """
    if len(data) > _MAX_PICKLE_BYTES:
        raise SchemaError(f"{what}: {len(data)} bytes, limit {_MAX_PICKLE_BYTES}")
    try:
        for opcode, argument, _ in pickletools.genops(data):
            # A memo index beyond the file's length would make the loader reserve memory for it.
            if opcode.name in _FORBIDDEN_OPCODES or (opcode.name.endswith("PUT") and int(argument or 0) > len(data)):
                raise SchemaError(
                    f"{what}: this pickle would run {opcode.name}; only plain lists, dictionaries, strings and numbers "
                    "are read: write the split as CSV (video,split) instead"
                )
        return _PlainUnpickler(io.BytesIO(data)).load()
    except SchemaError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise SchemaError(f"{what} is no readable pickle: {error}") from error


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise SchemaError(f"this pickle names {module}.{name}: only plain values are read")


def _from_csv(root: Root, name: str) -> Iterator[tuple[str, str]]:
    table = read_csv_text(root.read_bytes(name), root.display(name)).table
    columns = [column.lower() for column in table.column_names]
    names = [k for k, column in enumerate(columns) if column in ("video", "clip_id", "filename", "name", "video_id")]
    if "split" not in columns or not names:
        raise SchemaError(f"{root.display(name)} has {', '.join(columns)}; expected video and split")
    videos, splits = (table.column(k).to_pylist() for k in (names[0], columns.index("split")))
    yield from ((video.strip(), split) for video, split in zip(videos, splits, strict=True))


def _from_lists(root: Root, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        split = name.rsplit(".", 1)[0]
        for line in _read_lines(root, name):
            if line.strip():
                yield line.strip(), split


def _read_lines(root: Root, name: str) -> list[str]:
    try:
        return root.read_bytes(name).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SchemaError(f"{root.display(name)} cannot be read: it is no UTF-8 text: save it as UTF-8") from error


def _from_plain(value: Any, source: str) -> Iterator[tuple[str, str]]:
    """{split: [video, ...]} or {video: split} or [(video, split), ...]."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if isinstance(entry, str):
                yield str(key), entry
            elif isinstance(entry, list | tuple | set):
                yield from ((str(name), str(key)) for name in entry)
            else:
                raise SchemaError(f"{source}: {key} holds {type(entry).__name__}; expected a list of videos or a split")
    elif isinstance(value, list) and all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in value):
        yield from ((str(name), str(split)) for name, split in value)
    else:
        raise SchemaError(f"{source} holds {type(value).__name__}; expected {{split: videos}} or {{video: split}}")


def _collect(pairs: Iterable[tuple[str, str]], source: str) -> dict[str, str]:
    splits: dict[str, str] = {}
    for name, text in pairs:
        split = _parse_split(text.strip().lower())
        if split is None:
            raise SchemaError(f"{source}: {name} is in split {text!r}, none of {', '.join((*SPLITS, *_SYNONYMS))}")
        if splits.setdefault(name, split) != split:
            raise SchemaError(f"{source}: {name} is in {splits[name]} and in {split}: a leak; name it once")
    return splits


def _parse_split(text: str) -> str | None:
    """`train`, `dev`, or a name that begins so: `train_list`, `dev-set`."""
    for word in (text, *text.replace("-", "_").split("_")):
        if _SYNONYMS.get(word, word) in SPLITS:
            return _SYNONYMS.get(word, word)
    return None
