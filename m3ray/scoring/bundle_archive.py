"""Bundles in a zip, here, in S3 or on the web: unpacked once a node into its cache, under the archive's hash."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import uuid
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from m3ray.errors import BundleError, ConfigError
from m3ray.scoring.bundle_metadata import BUNDLE_FILE
from m3ray.storage.download import Opener, download, open_https
from m3ray.storage.filesystems import is_local, local_path
from m3ray.storage.hashed_address import HashedAddress, parse_address
from m3ray.storage.node_cache import node_cache
from m3ray.storage.secrets import has_secret
from m3ray.storage.zip_files import MOST_BYTES, unpack_zip

_WEB = ("https://", "http://")
_RECORD = "unpacked.json"  # size, time and hash of each file: a folder that was changed since is unpacked anew
_SMALL = 16 << 20  # what is hashed each time; of a larger file the size and the time stand for its bytes


def is_archive(location: str) -> bool:
    """Tell whether a bundle's address names a file and no folder.

    Args:
        location: path or URI, without a hash.
    Returns:
        Whether it is a web address, or ends in `.zip` and is no local folder.
    """
    if location.lower().startswith(_WEB):
        return True
    return location.lower().endswith(".zip") and not (is_local(location) and Path(local_path(location)).is_dir())


def find_bundle_folder(uri: str, open_url: Opener = open_https) -> str:
    """Find the folder of a bundle: its own, or that in the cache which its archive is unpacked to.

    Args:
        uri: folder, `.zip`, `s3://` URI of either, or https address; with `#sha256=HASH` behind it, which a web address
            must have.
        open_url: opens an https address.
    Returns:
        Path or URI of the folder. An archive whose hash is known and which was unpacked before is not fetched again.
    Raises:
        ConfigError: If the name is empty, a web address has no hash, is not encrypted or carries a secret, an address
            is of another kind, or a folder has a hash.
        BundleError: If the archive is missing, cannot be fetched, is another one than its hash says, or is unsafe.
    """
    address = parse_address(uri)
    if not address.location.strip():
        raise ConfigError("the bundle's name is empty: give its folder, a .zip, an s3:// URI or an https:// address")
    if not is_archive(address.location):
        if address.sha256 is not None:
            raise ConfigError(f"{uri}: a folder has no hash: leave #sha256= out, or give the address of a .zip")
        return uri
    _check_address(address)
    try:
        return str(_find_unpacked(address, open_url))
    except OSError as error:
        raise BundleError(
            f"cannot unpack {address.location} in {node_cache('bundles')} ({error}): make room there, or name another "
            "folder in M3RAY_CACHE"
        ) from error


def _check_address(address: HashedAddress) -> None:
    location = address.location
    if has_secret(location):
        raise ConfigError("the bundle's address carries a secret, which would stand in tables and logs: leave it out")
    if location.lower().startswith("http://"):
        raise ConfigError(f"{location}: http:// is not encrypted: give an https:// address")
    if not is_local(location) and not location.startswith("s3://") and not location.lower().startswith("https://"):
        raise ConfigError(
            f"{location}: {location.partition('://')[0]}:// is not served: expected a local path, an s3:// URI or an "
            "https:// address with #sha256=HASH behind it"
        )
    if location.lower().startswith("https://") and address.sha256 is None:
        raise ConfigError(
            f"{location}: a bundle from the web needs its hash, got none: append #sha256=HASH, as m3ray pack BUNDLE "
            "and sha256sum FILE print it, so that what opens is what was published"
        )
    if is_local(location) and not Path(local_path(location)).is_file():
        raise BundleError(f"no bundle at {location}: there is no such file")


def _find_unpacked(address: HashedAddress, open_url: Opener) -> Path:
    if (known := _find_known(address)) is not None:
        return known
    cache = node_cache("bundles")
    cache.mkdir(parents=True, exist_ok=True)
    if is_local(address.location):
        return _unpack_local(address)
    # One process of a node downloads; the others wait for the lock, and then it is there.
    with _lock(hashlib.sha256(address.location.encode()).hexdigest()[:24]):
        if (known := _find_known(address)) is not None:
            return known
        with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as folder:
            path = Path(folder) / "bundle.zip"
            digest = _check_hash(address, download(address.location, path, MOST_BYTES, open_url))
            with path.open("rb") as archive:
                return _unpack_once(archive, digest, address.location)


def _find_known(address: HashedAddress) -> Path | None:
    """The folder of an archive whose hash is known, if it is there and whole."""
    known = None if address.sha256 is None else _place(address.sha256)
    return known if known is not None and _is_whole(known) else None


def _unpack_local(address: HashedAddress) -> Path:
    """Unpack a file here; it is opened once, so that what is unpacked is what was hashed."""
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(Path(local_path(address.location)).open("rb"))
            digest = hashlib.file_digest(archive, "sha256").hexdigest()
        except OSError as error:
            raise BundleError(
                f"cannot read {address.location} ({error.strerror or error}): check the file, and your right to read it"
            ) from error
        return _unpack_once(archive, _check_hash(address, digest), address.location)


def _lock(name: str) -> FileLock:
    """Lock among the processes of a user: a lock file of another user could not be opened."""
    return FileLock(node_cache("bundles") / f"{name}.{os.geteuid()}.lock")


def _place(digest: str) -> Path:
    """Name the folder of an archive: its hash, and the user behind it where a folder of another user has that name."""
    place = node_cache("bundles") / digest
    with suppress(OSError):
        if not _is_trusted(place):
            return place.with_name(f"{digest}-{os.geteuid()}")
    return place


def _is_trusted(folder: Path) -> bool:
    """Whether this user made a folder, or root, or who made the cache: anybody else may have put anything there."""
    return _owner(folder) in (os.geteuid(), 0, _owner(node_cache("bundles").parent.resolve()))


def _owner(path: Path) -> int:
    return path.lstat().st_uid


def _check_hash(address: HashedAddress, digest: str) -> str:
    if address.sha256 not in (None, digest):
        raise BundleError(
            f"{address.location} has SHA-256 {digest}, expected {address.sha256}: it is another file, or was changed; "
            "it was not opened"
        )
    return digest


def _unpack_once(archive: BinaryIO, digest: str, name: str) -> Path:
    """Unpack an archive beside its place in the cache, and move it there when it is whole."""
    target = _place(digest)
    if _is_whole(target):
        return target
    with _lock(digest):
        if _is_whole(target):
            return target
        # Made as any folder is, not as a temporary one: who shares the cache must be able to read it.
        part = target.with_name(f".unpack-{uuid.uuid4().hex}")
        part.mkdir()
        try:
            unpack_zip(archive, part, name)
            if not (part / BUNDLE_FILE).is_file():
                raise BundleError(f"{name} holds no {BUNDLE_FILE}, expected a bundle as m3ray pack BUNDLE writes it")
            # An archive of such a folder brings a record of its own, which is replaced.
            record = {file.name: _describe(file) for file in part.iterdir() if file.name != _RECORD}
            (part / _RECORD).write_text(json.dumps(record), encoding="utf-8")
            shutil.rmtree(target, ignore_errors=True)
            os.replace(part, target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return target


def _is_whole(folder: Path) -> bool:
    """Whether a folder is one that was unpacked here, by who is trusted, and none of its files is lost or changed."""
    with suppress(OSError, ValueError, AttributeError, TypeError, KeyError):
        if not _is_trusted(folder):
            return False
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        return BUNDLE_FILE in record and all(_is_unchanged(folder / name, told) for name, told in record.items())
    return False


def _describe(file: Path) -> dict[str, int | str]:
    state = file.stat()
    return {"size": state.st_size, "mtime_ns": state.st_mtime_ns, "sha256": _hash_file(file)}


def _is_unchanged(file: Path, told: dict[str, Any]) -> bool:
    state = file.stat()
    if state.st_size != told["size"]:
        return False
    is_as_left = state.st_size > _SMALL and state.st_mtime_ns == told["mtime_ns"]
    return is_as_left or _hash_file(file) == told["sha256"]


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
