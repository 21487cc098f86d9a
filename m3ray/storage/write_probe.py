"""Whether objects under a root can be written and deleted, found out by doing both."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Literal

from m3ray.storage.root import Root


@dataclass(frozen=True)
class WriteFailure:
    """A write or a deletion that a storage did not allow, or did not answer.

    Args:
        action: what failed.
        uri: the object that it failed on.
        error: what the storage raised.
    """

    action: Literal["write", "delete"]
    uri: str
    error: Exception


def try_write(root: Root) -> WriteFailure | None:
    """Write an object below `runs/` of a root and delete it.

    Args:
        root: root to try.
    Returns:
        What failed; None if both were done.
    Raises:
        LostLockError: If another job holds the lock that `root` writes under.
    """
    name = f"write-test-{uuid.uuid4().hex}"
    action: Literal["write", "delete"] = "write"
    try:
        root.write_bytes(b"m3ray", "runs", name)
        action = "delete"
        root.delete("runs", name)
    except OSError as error:
        return WriteFailure(action, root.display("runs", name), error)
    return None
