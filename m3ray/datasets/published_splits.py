"""Files that published splits come in: text lists, CSV, and pickles of plain values."""

from __future__ import annotations

import io
import pickle
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from m3ray.datasets.pickle_checks import check_plain
from m3ray.errors import SchemaError
from m3ray.schema import SPLITS
from m3ray.storage.csv_reading import read_csv_text
from m3ray.storage.root import Root

_SYNONYMS = {"training": "train", "dev": "val", "valid": "val", "validation": "val", "testing": "test"}
_LISTS = (list, tuple, set, frozenset)
_MAX_PICKLE_BYTES = 64 * 1024**2


def read_splits(source: str) -> dict[str, str]:
    """Read which video is in which split.

    Args:
        source: path of a folder of text lists (`train.txt`, one video a line) or of one such list; of a CSV file with a
            column of names and one of splits; or of a `.pkl` of plain lists and dictionaries: (train, val) or (train,
            val, test), each a list of names or numbers of videos, {split: list}, {video: split}, [(video, split), ...].
    Returns:
        Name of each video to its split.
    Raises:
        SchemaError: If there is no such file, a split is unknown, a video stands in two, none stands in any, or a
            pickle holds more than plain values.
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
        SchemaError: If it is damaged, too large, or names something to import or to call, or holds a list
            that holds itself or repeats without bound.
    """
    if len(data) > _MAX_PICKLE_BYTES:
        raise SchemaError(f"{what}: {len(data)} bytes, limit {_MAX_PICKLE_BYTES}")
    try:
        check_plain(data, what)
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
    """{split: [video, ...]}, {video: split}, [(video, split), ...], or two or three lists: train, val, test."""
    if isinstance(value, Mapping):
        yield from _from_mapping(value, source)
    elif _are_pairs(value):
        yield from ((_parse_name(name, source), _show(split)) for name, split in value)
    elif _are_lists(value) and len(value) in (2, 3):
        # The authors of VideoMem give a pair of lists, in this order.
        for split, videos in zip(SPLITS, value, strict=False):
            yield from ((_parse_name(name, source), split) for name in videos)
    else:
        count = f" of {len(value)} entries" if isinstance(value, _LISTS) else ""
        raise SchemaError(
            f"{source} holds a {type(value).__name__}{count}; expected (train, val) or (train, val, test), each a list "
            "of videos, {split: videos}, {video: split}, or [(video, split), ...]"
        )


def _from_mapping(value: Mapping[Any, Any], source: str) -> Iterator[tuple[str, str]]:
    for key, entry in value.items():
        if isinstance(entry, str):
            yield _parse_name(key, source), entry
        elif isinstance(entry, _LISTS):
            yield from ((_parse_name(name, source), _show(key)) for name in entry)
        else:
            raise SchemaError(
                f"{source}: {_show(key):.60} holds {type(entry).__name__}; expected a list of videos or a split"
            )


def _show(value: Any) -> str:
    """A text as it is, and anything else briefly: its whole text may be longer than memory."""
    return value if isinstance(value, str) else reprlib.repr(value)


def _are_lists(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(entry, _LISTS) for entry in value)


def _are_pairs(value: Any) -> bool:
    """Whether these are pairs of a video and its split: more than three, or each second value is a split's word."""
    if not _are_lists(value) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in value):
        return False
    return len(value) > len(SPLITS) or all(_is_word(pair[1]) for pair in value)


def _is_word(value: Any) -> bool:
    """Whether it is just `train` or `dev`: a longer text that holds such a word may be a video's name."""
    return isinstance(value, str) and value.strip().lower() in (*SPLITS, *_SYNONYMS)


def _parse_name(name: Any, source: str) -> str:
    """A video's name, or the digits of its number; of a row that holds nothing else, too."""
    while isinstance(name, list | tuple) and len(name) == 1:
        name = name[0]
    if isinstance(name, bytes):
        return name.decode(errors="replace").strip()
    if isinstance(name, float) and name.is_integer():
        return str(int(name))
    if isinstance(name, str | int) and not isinstance(name, bool):
        return str(name).strip()
    raise SchemaError(f"{source}: a video is {reprlib.repr(name)}; expected its name or its number")


def _collect(pairs: Iterable[tuple[str, str]], source: str) -> dict[str, str]:
    splits: dict[str, str] = {}
    for name, text in pairs:
        split = _parse_split(text.strip().lower())
        if split is None:
            raise SchemaError(f"{source}: {name} is in split {text!r}, none of {', '.join((*SPLITS, *_SYNONYMS))}")
        if splits.setdefault(name, split) != split:
            raise SchemaError(f"{source}: {name} is in {splits[name]} and in {split}: a leak; name it once")
    if not splits:
        raise SchemaError(f"{source} names no video; expected some in train and in val")
    return splits


def _parse_split(text: str) -> str | None:
    """`train`, `dev`, or a name that holds such a word: `train_list`, `dev-set`; never that of a file."""
    if "." in text:
        return None
    for word in (text, *text.replace("-", "_").split("_")):
        if _SYNONYMS.get(word, word) in SPLITS:
            return _SYNONYMS.get(word, word)
    return None
