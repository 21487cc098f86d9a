"""A bundle's train reference where it lies: read, and compared with its hash, when it is asked for and not before."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from m3ray.scoring.bundle_files import read_file
from m3ray.scoring.bundle_metadata import BundleManifest
from m3ray.scoring.reference.train_reference import REFERENCE_FILE, TrainReference
from m3ray.storage.root import Root


@dataclass(frozen=True)
class ReferenceFile:
    """The file of a bundle in its folder, or its content where the bundle is not on disk yet.

    Args:
        content: The content; empty: it is read from the folder.
        folder: URI of the bundle's folder.
        digest: SHA-256 of the file there.
    """

    content: bytes = b""
    folder: str = ""
    digest: str = ""

    def read(self) -> bytes:
        """Read the file.

        Returns:
            Its content.
        Raises:
            BundleError: If it is missing, or was changed since the bundle was written.
        """
        return self.content or read_file(Root(self.folder), REFERENCE_FILE, self.digest)

    def load(self) -> TrainReference:
        """Read the reference, once.

        Returns:
            The reference.
        Raises:
            BundleError: If its file is missing, damaged, or was changed since the bundle was written.
        """
        return self._loaded

    @cached_property
    def _loaded(self) -> TrainReference:
        return TrainReference.from_bytes(self.read())


def find_reference(folder: Root, manifest: BundleManifest) -> ReferenceFile | None:
    """Find the train reference of a bundle on disk, without reading it.

    Args:
        folder: The bundle's folder.
        manifest: Its manifest.
    Returns:
        The file; None: an older m3ray made the bundle.
    """
    digest = manifest.files.get(REFERENCE_FILE)
    return None if digest is None else ReferenceFile(folder=folder.uri, digest=digest)
