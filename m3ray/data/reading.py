"""Reading the bytes of one video, wherever it lies."""

from __future__ import annotations

import os
import stat

from pyarrow import fs as pafs

from m3ray.data.filesystems import filesystem_of, is_final, is_local, local_path, retried
from m3ray.errors import ConfigError, DecodeError
from m3ray.schema import STORAGE_FAILED


def read_video(uri: str, max_bytes: int) -> bytes:
    """The bytes of a video.

    Args:
        uri: path or URI.
        max_bytes: limit.
    Raises:
        DecodeError: missing, not a regular file, larger than `max_bytes`, or `STORAGE_FAILED`: the storage does not
            answer, which says nothing of the clip.
    """
    try:
        return _read_local(local_path(uri), max_bytes) if is_local(uri) else _read_remote(uri, max_bytes)
    except FileNotFoundError as error:
        raise _missing(uri) from error
    except OSError as error:
        final = is_local(uri) or is_final(error)
        reason = "unreadable_file" if final else STORAGE_FAILED
        raise DecodeError(reason, f"cannot read {uri}: {error}", stage="read") from error
    except (ConfigError, ValueError) as error:  # an unknown scheme, a null byte in a name
        raise DecodeError("unreadable_file", f"cannot read {uri!r}: {error}", stage="read") from error


def _read_local(path: str, max_bytes: int) -> bytes:
    # Without waiting: opening a FIFO would else block until somebody writes to it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        facts = os.fstat(descriptor)
        _check(stat.S_ISREG(facts.st_mode), facts.st_size, max_bytes, path)
    except DecodeError:
        os.close(descriptor)
        raise
    with open(descriptor, "rb") as file:
        return file.read()


def _read_remote(uri: str, max_bytes: int) -> bytes:
    fs, path = filesystem_of(uri)
    info = retried(lambda: fs.get_file_info(path), fs)
    if info.type == pafs.FileType.NotFound:
        raise _missing(uri)
    _check(info.type == pafs.FileType.File, info.size or 0, max_bytes, uri)

    def read() -> bytes:
        with fs.open_input_stream(path) as stream:
            data = stream.read()
        if len(data) != (info.size or 0):
            raise OSError(f"{len(data)} of {info.size} bytes arrived")
        return data

    return retried(read, fs)


def _check(regular: bool, size: int, max_bytes: int, where: str) -> None:
    if not regular:
        raise DecodeError("not_a_file", f"{where} is a folder, a pipe or a device, not a file", stage="read")
    if size > max_bytes:
        raise DecodeError("too_many_bytes", f"{size} bytes, limit {max_bytes}: raise limits.max-bytes", "read")


def _missing(uri: str) -> DecodeError:
    return DecodeError("missing_file", f"no file at {uri}", stage="read")
