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
_LISTS = (list, tuple, set, frozenset)
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
            column of names and one of splits; or of a `.pkl` of plain lists and dictionaries: (train, val) or (train,
            val, test), each a list of names or numbers of videos, {split: list}, {video: split}, [(video, split), ...].
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
        names: list[str] = []
        for opcode, argument, _ in pickletools.genops(data):
            names += [str(argument)] if isinstance(argument, str) else []
            # A memo index beyond the file's length would make the loader reserve memory for it.
            if opcode.name in _FORBIDDEN_OPCODES or (opcode.name.endswith("PUT") and int(argument or 0) > len(data)):
                raise SchemaError(f"{what}: {_describe_refusal(opcode.name, names)}")
        return _PlainUnpickler(io.BytesIO(data)).load()
    except SchemaError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise SchemaError(f"{what} is no readable pickle: {error}") from error


def _describe_refusal(opcode: str, names: list[str]) -> str:
    """What a pickle would run, and how to write it otherwise."""
    # What a pickle imports is the argument of GLOBAL, module and name; STACK_GLOBAL takes the two strings before it.
    imported = {"GLOBAL": names[-1:], "STACK_GLOBAL": names[-2:]}.get(opcode, [])
    called = ".".join(imported).replace(" ", ".")
    advice = "save its tolist(), or " if called.startswith(("numpy", "pandas")) else ""
    return (
        f"this pickle would run {opcode}{f' ({called})' if called else ''}; only plain lists, dictionaries, strings "
        f"and numbers are read: {advice}write the split as CSV (video,split) instead"
    )


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
        yield from ((_parse_name(name, source), str(split)) for name, split in value)
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
            yield from ((_parse_name(name, source), str(key)) for name in entry)
        else:
            raise SchemaError(f"{source}: {key} holds {type(entry).__name__}; expected a list of videos or a split")


def _are_lists(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(entry, _LISTS) for entry in value)


def _are_pairs(value: Any) -> bool:
    """Whether these are pairs of a video and its split: more than three, or each one's second value names a split."""
    if not _are_lists(value) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in value):
        return False
    return len(value) > len(SPLITS) or all(isinstance(pair[1], str) and _parse_split(pair[1].lower()) for pair in value)


def _parse_name(name: Any, source: str) -> str:
    """A video's name, or the digits of its number; of a row that holds nothing else, too."""
    if isinstance(name, list | tuple) and len(name) == 1:
        return _parse_name(name[0], source)
    if isinstance(name, bytes):
        return name.decode(errors="replace").strip()
    if isinstance(name, float) and name.is_integer():
        return str(int(name))
    if isinstance(name, str | int) and not isinstance(name, bool):
        return str(name).strip()
    raise SchemaError(f"{source}: a video is {name!r:.60}; expected its name or its number")


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
    """`train`, `dev`, or a name that holds such a word: `train_list`, `dev-set`; never that of a file."""
    if "." in text:
        return None
    for word in (text, *text.replace("-", "_").split("_")):
        if _SYNONYMS.get(word, word) in SPLITS:
            return _SYNONYMS.get(word, word)
    return None
