"""The files of scores on a root: whose clips each holds, what scored them, and where those clips are listed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from m3ray.errors import DamagedFileError
from m3ray.storage.catalogue_file import has_catalogue
from m3ray.storage.ownership import PREDICTIONS
from m3ray.storage.root import Root

# predict.py keeps the catalogue of the clips that it scored in a folder of its own for each data set.
_WORKSPACE = re.compile(r"predict(-[0-9a-f]+)?")
_FILE = re.compile(r"predictions(-.+)?\.parquet")


@dataclass(frozen=True)
class ScoredFile:
    """A file of scores.

    Args:
        path: path parts below the root.
        made: what the file says of how it was made: `bundle`, `job`, `catalogue`; older ones say less.
    """

    path: tuple[str, ...]
    made: Mapping[str, Any]

    @property
    def folder(self) -> str | None:
        """Folder below the root with the catalogue of its clips, "" for the root itself; None: it does not say."""
        if len(self.path) > 1:
            return self.path[0]
        noted = self.made.get("catalogue", "" if self.made.get("job") == "reproduce" else None)
        return None if noted is None else str(noted)

    @property
    def of_new_clips(self) -> bool:
        """Whether its clips are those of jobs/predict.py, and not the root's own."""
        return "bundle" in self.made and self.folder != "" and self.made.get("job") != "reproduce"


def list_workspaces(root: Root) -> dict[str, Root]:
    """List the folders that hold the catalogues of scored clips.

    Args:
        root: root of a job.
    Returns:
        Name of each folder below the root to the folder, those with a catalogue alone.
    """
    folders = {name: root.subroot(name) for name in root.list_names() if _WORKSPACE.fullmatch(name)}
    return {name: folder for name, folder in folders.items() if has_catalogue(folder)}


def list_scored_files(root: Root) -> list[ScoredFile]:
    """List the files of scores on a root.

    Args:
        root: root of a job.
    Returns:
        The root's own first, then those in the folders of other data sets; files that cannot be read are left out.
    """
    names = root.list_names()
    paths: list[tuple[str, ...]] = [(PREDICTIONS,)] if PREDICTIONS in names else []
    for folder in (name for name in names if _WORKSPACE.fullmatch(name)):
        paths += [(folder, name) for name in root.list_names(folder) if _FILE.fullmatch(name)]
    found = []
    for path in paths:
        try:
            made = root.read_metadata(*path)
        except DamagedFileError:
            continue
        found.append(ScoredFile(path, made))
    return found


def has_new_scores(root: Root) -> bool:
    """Tell whether a root holds scores of clips that are not its own, and where these are listed.

    Args:
        root: root of a job.
    Returns:
        Whether it does.
    """
    return bool(list_workspaces(root)) and any(file.of_new_clips for file in list_scored_files(root))
