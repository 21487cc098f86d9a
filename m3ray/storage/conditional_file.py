"""Compare-and-swap of small files, local and in S3: a file is replaced only if nobody else has replaced it."""

from __future__ import annotations

import hashlib
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from m3ray.storage.filesystems import is_local, local_path
from m3ray.storage.object_store import ChangedError, get_object, put_object_if

# Time limit of a request: were it longer, a lock could not be renewed within its lease.
_SECONDS = 15.0


@dataclass(frozen=True)
class Version:
    """A version of a file.

    Args:
        data: bytes of the file.
        tag: its entity tag, which differs from those of the versions before and after.
    """

    data: bytes
    tag: str


class ConditionalFile(Protocol):
    """A small file that is replaced by compare-and-swap."""

    def read(self) -> Version | None:
        """Read the file.

        Returns:
            Its current version; None where there is no file.
        Raises:
            OSError: If the storage failed.
        """

    def replace(self, data: bytes, expected: str | None) -> str:
        """Replace the file if its version is the expected one.

        Args:
            data: bytes to write.
            expected: tag of the version to replace; None if there must be no file.
        Returns:
            Tag of the new version.
        Raises:
            ChangedError: If the file has another version.
            OSError: If the storage failed; the file may or may not have been written.
        """


def open_conditional_file(uri: str) -> ConditionalFile:
    """Open a file for compare-and-swap.

    Args:
        uri: local path or `s3://bucket/key`.
    Returns:
        The file, which need not exist.
    """
    return _LocalFile(Path(local_path(uri))) if is_local(uri) else _ObjectFile(uri)


@dataclass(frozen=True)
class _ObjectFile:
    uri: str

    def read(self) -> Version | None:
        try:
            stored = get_object(self.uri, seconds=_SECONDS)
        except FileNotFoundError:
            return None
        return Version(stored.data, stored.etag)

    def replace(self, data: bytes, expected: str | None) -> str:
        return put_object_if(self.uri, data, expected=expected, seconds=_SECONDS)


@dataclass(frozen=True)
class _LocalFile:
    path: Path

    def read(self) -> Version | None:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        return Version(data, _tag(data))

    def replace(self, data: bytes, expected: str | None) -> str:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # The operating system releases this lock when its process dies, whatever it was doing.
        guard = FileLock(self.path.with_name(f".{self.path.name}.guard"), timeout=_SECONDS, mode=0o666)
        try:
            with guard:
                current = self.read()
                if (current.tag if current else None) != expected:
                    raise ChangedError(f"{self.path} has another version than expected")
                self._write(data)
        except Timeout as error:
            raise OSError(f"another process has held {self.path} for {_SECONDS:.0f} s") from error
        return _tag(data)

    def _write(self, data: bytes) -> None:
        temporary = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}")
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
        finally:
            temporary.unlink(missing_ok=True)


def _tag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
