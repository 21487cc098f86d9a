"""VideoMem (Cohendet et al. 2019): `ground-truth*.csv`, videos `*.webm`, splits from files."""

from __future__ import annotations

from dataclasses import replace

from m3ray.config import ReadConfig
from m3ray.datasets.clip_checks import parse_score
from m3ray.datasets.listing import Listing
from m3ray.datasets.published import (
    Videos,
    drop_repeats,
    is_count_column,
    locate_videos,
    parse_cell,
    parse_count,
    read_csv,
    summarise_clips,
)
from m3ray.datasets.published_splits import read_splits
from m3ray.errors import SchemaError
from m3ray.schema import Clip, catalogue_table
from m3ray.storage.root import Root

TARGETS = {"short": "short-term_memorability", "long": "long-term_memorability"}


def list_videomem(source: str, read: ReadConfig) -> Listing:
    """List the clips of VideoMem, with the other target and both numbers of annotations as columns.

    Args:
        source: path or URI of the folder with the ground truth, or of that CSV file itself.
        read: which score to take (`target`, short or long), a file or folder that says which clip is in which split
            (`splits`), and the folder of the videos if it is elsewhere (`videos`).
    Returns:
        The clips, and what the user is told of them.
    Raises:
        SchemaError: If there is no ground truth, or a row is impossible; the message names file and row.
    """
    folder, names = _find_ground_truth(source)
    root, column, notes = Root(folder), TARGETS[read.target], list[str]()
    clips = [clip for name in names for clip in _read_clips(root, name, column, notes)]
    clips, repeats = drop_repeats(clips)
    if read.splits is not None:
        clips = _assign_splits(clips, read.splits)
    below = read.videos or root.uri
    clips, missing = locate_videos(clips, Videos.below(below), below)
    summary = summarise_clips("videomem", clips, missing, repeats, column)
    return Listing(catalogue_table(clips), (*summary, *notes), missing)


def _find_ground_truth(source: str) -> tuple[str, list[str]]:
    if source.lower().endswith(".csv"):
        folder, _, name = source.rpartition("/")
        if not Root(folder or ".").exists(name):
            raise SchemaError(f"no file at {source}: give VideoMem's folder or its ground-truth CSV with --root")
        return folder or ".", [name]
    names = [name for name in Root(source).list_names(suffix=".csv") if name.lower().startswith("ground-truth")]
    if not names:
        raise SchemaError(
            f"{source} holds no ground-truth*.csv: give VideoMem's folder or that file with --root; it has "
            f"{', '.join(Root(source).list_names()) or 'nothing'}"
        )
    return source, names


def _read_clips(root: Root, name: str, column: str, notes: list[str]) -> list[Clip]:
    # The development set's split is drawn, or comes from a file; the test set is just that.
    split, clips = "test" if "test" in name.lower() else None, []
    for where, row in read_csv(root, name, columns=("video", column), notes=notes):
        video = row["video"].strip()
        if not video:
            raise SchemaError(f"{where}: video is empty")
        try:
            score = parse_score(row[column], 0)
        except SchemaError as error:
            raise SchemaError(f"{where}: {str(error).removeprefix('row 0: ')} ({column})") from error
        extra = {c: parse_count(row[c], f"{where}: {c}") for c in row if is_count_column(c)}
        extra |= {c: parse_cell(row[c], f"{where}: {c}") for c in row if "memorability" in c and c != column}
        clips.append(Clip(clip_id=video, uri=video, split=split, score=score, extra=extra))
    return clips


def _assign_splits(clips: list[Clip], source: str) -> list[Clip]:
    splits = read_splits(source)
    by_stem = {name.lower().rsplit(".", 1)[0]: split for name, split in splits.items()}
    assigned = [replace(c, split=by_stem.get(c.clip_id.lower().rsplit(".", 1)[0])) for c in clips]
    lacking = [clip.clip_id for clip in assigned if clip.split is None]
    if lacking:
        raise SchemaError(f"{source} names no split for {len(lacking)} of {len(clips)} clips, {lacking[0]} among them")
    return assigned
