"""Small files that are replaced only if nobody else has replaced them: compare and swap, local and in S3."""

from __future__ import annotations

import hashlib
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from m3ray.storage.filesystems import is_local, local_path
from m3ray.storage.object_store import ChangedError, get_bytes, put_if

# A request may take: longer, and a lock could not be renewed in time.
_SECONDS = 15.0


@dataclass(frozen=True)
class Version:
    """A file's bytes, and what tells them from those before and after."""

    data: bytes
    tag: str


class ConditionalFile(Protocol):
    """A small file under conditional replacement."""

    def read(self) -> Version | None:
        """What stands there; None where nothing does. Raises OSError where the storage fails."""

    def replace(self, data: bytes, expected: str | None) -> str:
        """Writes `data` if the file's tag is `expected` (None: there is no file); returns the new tag.

        Raises:
            ChangedError: it is another.
            OSError: the storage failed; whether it wrote is not known.
        """


def conditional_file(uri: str) -> ConditionalFile:
    """The file of a local path or an `s3://` URI."""
    return _LocalFile(Path(local_path(uri))) if is_local(uri) else _ObjectFile(uri)


@dataclass(frozen=True)
class _ObjectFile:
    uri: str

    def read(self) -> Version | None:
        try:
            found = get_bytes(self.uri, seconds=_SECONDS)
        except FileNotFoundError:
            return None
        return Version(found.data, found.etag)

    def replace(self, data: bytes, expected: str | None) -> str:
        return put_if(self.uri, data, expected=expected, seconds=_SECONDS)


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
        # The operating system lets go of this lock when its process dies, wherever it stood.
        guard = FileLock(self.path.with_name(f".{self.path.name}.guard"), timeout=_SECONDS, mode=0o666)
        try:
            with guard:
                current = self.read()
                if (current.tag if current else None) != expected:
                    raise ChangedError(f"{self.path} has another version than expected")
                self._write(data)
        except Timeout as error:
            raise OSError(f"{self.path} was held by another process for {_SECONDS:.0f} s") from error
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
