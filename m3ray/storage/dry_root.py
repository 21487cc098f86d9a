"""A root for a dry run: what it is told to write goes nowhere."""

from __future__ import annotations

from m3ray.storage.root import Root


class DryRoot(Root):
    """Reads like the root, and writes nothing; the plan is then made by the very code that would do the work."""

    def write_bytes(self, data: bytes, *parts: str) -> str:
        return self.path(*parts)

    def delete(self, *parts: str) -> None:
        pass

    def delete_folder(self, *parts: str) -> None:
        pass
