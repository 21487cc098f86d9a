"""The clips that something was fitted on, and how many of them changed since."""

from __future__ import annotations

import pyarrow as pa

from m3ray.datasets.clip_contents import clip_stamps
from m3ray.schema import CONTENT
from m3ray.storage.root import Root
from m3ray.storage.shard_stamps import count_changed_since_fit, write_fit_stamps


def note_fit_clips(root: Root, name: str, clips: pa.Table) -> None:
    """Note beside a fit which clips of the catalogue it was fitted on, with their content stamps.

    Args:
        root: Root that holds the catalogue.
        name: Name of the fit under `artifacts/`.
        clips: Rows of the catalogue.
    """
    write_fit_stamps(root, name, pa.table({"clip_id": clips["clip_id"], CONTENT: clip_stamps(root, clips)}))


def describe_changed_fit(root: Root, name: str, label: str, catalogue: pa.Table) -> str | None:
    """Describe how many of the clips that something was fitted on have changed since.

    Args:
        root: Root that holds the fit.
        name: Name of the fit under `artifacts/`, as it was noted.
        label: What was fitted, as a user knows it.
        catalogue: The clips as they are now.
    Returns:
        A clause for a message; None if no clip has changed.
    """
    now = pa.table({"clip_id": catalogue["clip_id"], CONTENT: clip_stamps(root, catalogue)})
    count = count_changed_since_fit(root, name, now)
    return f"{count} of the clips that {label} was fitted on changed since" if count else None
