"""Zip archives: written with the same bytes each time, and unpacked without trust in who wrote them."""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from m3ray.errors import BundleError

SUMS_FILE = "SHA256SUMS"
"""Hash of each file of an archive, as `sha256sum --check` reads them."""

MOST_BYTES = 8 << 30
MOST_FILES = 1000
# What unpacks to more than this many times its size, beyond a size that does no harm, is made to fill a disk.
_MOST_RATIO, _HARMLESS = 100, 64 << 20
_CHUNK = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold
_MODE = (stat.S_IFREG | 0o644) << 16
_UNIX = 3
_LONGEST_NAME = 255  # bytes, of all usual filesystems
# What zipfile and the decompressors raise where bytes are not as they should be: OSError from bz2, and where a header
# tells of a place before the file's begin.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


def write_zip(files: Mapping[str, bytes]) -> bytes:
    """Write an archive whose bytes depend on the files alone, not on when or in which order they came.

    Args:
        files: name of each file, with `/` between folders, to its content.
    Returns:
        The archive, with `SHA256SUMS` beside the files.
    """
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted({**files, SUMS_FILE: sums.encode()}.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, _MODE, _UNIX
            archive.writestr(entry, data)
    return buffer.getvalue()


def unpack_zip(file: BinaryIO, folder: Path, name: str) -> None:
    """Unpack an archive of files, all in one folder.

    Args:
        file: the archive, open to be read.
        folder: folder that its files are written into, which is there. A folder that all files of the archive lie in
            is left out.
        name: what errors call the archive.
    Raises:
        BundleError: If it is no zip, is damaged, or holds what no such archive needs: links, folders within folders,
            names that lead elsewhere, passwords, or far more bytes than it has itself.
        OSError: If a file cannot be written.
    """
    with _tell_damage(name):
        most_packed = file.seek(0, os.SEEK_END)
        archive = zipfile.ZipFile(file)
    with archive:
        entries = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
        _check_sizes(entries, most_packed, name)
        for target, entry in _name_targets(entries, name).items():
            with (folder / target).open("xb") as unpacked:
                unpacked.writelines(_read_entry(archive, entry, name))


@contextmanager
def _tell_damage(name: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise BundleError(f"{name} is no zip, or is damaged ({error}): fetch it again, or pack it anew") from error


def _check_sizes(entries: list[zipfile.ZipInfo], most_packed: int, name: str) -> None:
    size = sum(entry.file_size for entry in entries)
    # Entries may overlap: then each tells of bytes that are there once.
    packed = min(sum(entry.compress_size for entry in entries), most_packed)
    if len(entries) > MOST_FILES or size > MOST_BYTES:
        raise BundleError(
            f"{name} holds {len(entries):,} files of {size / 2**30:.1f} GiB, expected at most {MOST_FILES:,} of "
            f"{MOST_BYTES >> 30} GiB: it is no packed bundle"
        )
    if size > _HARMLESS and size > _MOST_RATIO * packed:
        raise BundleError(
            f"{name} unpacks to {size / max(packed, 1):,.0f} times its size, expected at most {_MOST_RATIO}: it may be "
            "made to fill a disk, and was not unpacked"
        )


def _name_targets(entries: list[zipfile.ZipInfo], name: str) -> dict[str, zipfile.ZipInfo]:
    """File name to entry, without the one folder that all may lie in."""
    paths = {entry.filename: PurePosixPath(entry.filename.replace("\\", "/")) for entry in entries}
    firsts = {path.parts[0] for path in paths.values() if len(path.parts) > 1}
    shared = len(firsts) == 1 and all(len(path.parts) > 1 for path in paths.values())
    targets: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        path = paths[entry.filename]
        parts = path.parts[1:] if shared else path.parts
        if _is_unsafe(entry, path) or len(parts) != 1 or parts[0] in targets:
            raise BundleError(
                f"{name} holds {entry.filename!r}, expected plain files in one folder: it is no packed bundle, and was "
                "not unpacked"
            )
        targets[parts[0]] = entry
    return targets


def _is_unsafe(entry: zipfile.ZipInfo, path: PurePosixPath) -> bool:
    """Whether an entry leads out of its folder, or is no plain file: a link, a device, or an encrypted one."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    leads_out = path.is_absolute() or ".." in path.parts or ":" in entry.filename or "\0" in entry.filename
    is_long = len(os.fsencode(path.name)) > _LONGEST_NAME
    return leads_out or is_long or kind not in (0, stat.S_IFREG) or bool(entry.flag_bits & 1)


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> Iterator[bytes]:
    """Read a file in chunks, and not a byte more than its entry tells."""
    left = entry.file_size
    with _tell_damage(name), archive.open(entry) as source:
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise BundleError(f"{name}: {entry.filename} is longer than it tells: it was not unpacked")
            yield chunk
