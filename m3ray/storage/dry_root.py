"""A root for a dry run, which discards everything written to it."""

from __future__ import annotations

from m3ray.storage.root import Root


class DryRoot(Root):
    """A root that reads and does not write, so that the code which does the work also makes the plan of a dry run."""

    def write_bytes(self, data: bytes, *parts: str) -> str:
        """Discard the bytes.

        Args:
            data: bytes that are not written.
            *parts: path of the file.
        Returns:
            The path at which a root would have written them.
        """
        return self.path(*parts)

    def delete(self, *parts: str) -> None:
        """Keep the file.

        Args:
            *parts: path of the file.
        """

    def delete_folder(self, *parts: str) -> None:
        """Keep the folder.

        Args:
            *parts: path of the folder.
        """
