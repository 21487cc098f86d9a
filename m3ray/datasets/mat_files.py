"""MATLAB files (version 5 to 7), unpacked and checked before SciPy reads them: others could exhaust or crash it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from m3ray.errors import SchemaError

_HEADER = 128
_TAG = 8
_MATRIX, _COMPRESSED = 14, 15
# SciPy reads what lies within one another by recursion, and ends the process beyond some thousands of levels.
_MAX_DEPTH = 64
_MAX_BYTES = 1024**3
_HDF5 = b"\x89HDF\r\n\x1a\n"


def read_mat_structs(
    data: bytes, what: str, name: str, fields: Sequence[str], *, max_bytes: int = _MAX_BYTES
) -> list[dict[str, Any]]:
    """Read an array of structures from a MATLAB file.

    Args:
        data: bytes of the file.
        what: name of the file, for the message.
        name: name of the variable.
        fields: names of the fields that every structure must have.
        max_bytes: most bytes that the file may unpack to.
    Returns:
        Each structure's fields as Python has them: a text for an array of characters, a number for an array of one, a
        dictionary for one structure, else the array as it is.
    Raises:
        SchemaError: If it is no such file, is damaged or of MATLAB's version 7.3, or lacks the variable or a field.
    """
    from scipy.io import loadmat

    flat = unpack_mat(data, what, max_bytes=max_bytes)
    try:
        values = loadmat(io.BytesIO(flat), variable_names=[name]).get(name)
    except Exception as error:  # a damaged file raises nearly anything
        raise SchemaError(f"{what} is no readable MATLAB file: {' '.join(str(error).split())}") from error
    held = getattr(getattr(values, "dtype", None), "names", None)
    if values is None or held is None:
        raise SchemaError(f"{what} holds no array of structures called {name}: give the file as it was published")
    lacking = [field for field in fields if field not in held]
    if lacking:
        raise SchemaError(f"{what}: {name} lacks {', '.join(lacking)}; it has {', '.join(held)}")
    return [{field: _plain(entry[field]) for field in fields} for entry in values.ravel()]


def _plain(value: Any) -> Any:
    """A value without the arrays of one that MATLAB has around everything."""
    if isinstance(value, np.ndarray) and value.dtype.names and value.size == 1:
        entry = value.ravel()[0]
        return {field: _plain(entry[field]) for field in value.dtype.names}
    if isinstance(value, np.ndarray) and value.size == 1:
        return _plain(value.ravel()[0])
    if isinstance(value, np.ndarray) and value.size == 0 and value.dtype.kind == "U":
        return ""
    return value.item() if isinstance(value, np.generic) else value


def unpack_mat(data: bytes, what: str, *, max_bytes: int = _MAX_BYTES) -> bytes:
    """Unpack a MATLAB file, and check that its arrays lie within one another a few levels deep at most.

    Args:
        data: bytes of the file.
        what: name of the file, for the message.
        max_bytes: most bytes that it may unpack to.
    Returns:
        The same file without compression.
    Raises:
        SchemaError: If it is no such file, is damaged, or of MATLAB's version 7.3 (HDF5).
    """
    if data[:10] == b"MATLAB 7.3" or _HDF5 in (data[:8], data[512:520]):
        raise SchemaError(
            f"{what} is of MATLAB's version 7.3 (HDF5), which is not read: in MATLAB, load it and "
            "save(FILE, 'allImages', '-v7')"
        )
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise SchemaError(f"{what} is no MATLAB file of version 5 to 7: download it anew (a page in its place?)")
    parts, total = [data[:_HEADER]], 0
    for kind, start, end in _elements(data, _HEADER, len(data), order, what):
        part = data[start - _TAG : end]
        if kind not in (_MATRIX, _COMPRESSED):
            raise SchemaError(f"{what} is damaged: it holds something else than arrays: download it anew")
        if kind == _COMPRESSED:
            part = _inflate(data[start:end], max_bytes - total, what)
        total += len(part)
        if total > max_bytes:
            raise SchemaError(f"{what} unpacks to more than {max_bytes} bytes, the limit")
        _check_depth(part, order, what)
        parts.append(part)
    return b"".join(parts)


def _inflate(packed: bytes, limit: int, what: str) -> bytes:
    stream = zlib.decompressobj()
    try:
        part = stream.decompress(packed, max(1, limit + 1))
    except zlib.error as error:
        raise SchemaError(f"{what} is damaged: {error}: download it anew") from error
    if not stream.eof and len(part) <= limit:
        raise SchemaError(f"{what} is damaged: it ends too early: download it anew")
    return part


def _check_depth(part: bytes, order: str, what: str) -> None:
    """Raise SchemaError where arrays lie too deep within one another, or beyond the end of what holds them."""
    levels = [_elements(part, 0, len(part), order, what)]
    while levels:
        found = next(levels[-1], None)
        if found is None:
            levels.pop()
        elif found[0] == _MATRIX:
            if len(levels) > _MAX_DEPTH:
                raise SchemaError(f"{what}: arrays lie more than {_MAX_DEPTH} levels deep; no published file is such")
            levels.append(_elements(part, found[1], found[2], order, what))


def _elements(data: bytes, start: int, end: int, order: str, what: str) -> Iterator[tuple[int, int, int]]:
    """Kind, start and end of each element; short ones lie within their tag, others are padded to eight bytes."""
    while start + _TAG <= end:
        kind, size = struct.unpack_from(f"{order}II", data, start)
        short = kind >> 16
        begin, stop = (start + 4, start + 4 + short) if short else (start + _TAG, start + _TAG + size)
        if short > 4 or stop > end:
            raise SchemaError(f"{what} is damaged: it ends too early, or its sizes are wrong: download it anew")
        yield kind & 0xFFFF, begin, stop
        if short:
            start += _TAG
        else:
            start = stop if kind == _COMPRESSED else stop + -size % 8
