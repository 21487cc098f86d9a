"""VideoMem (Cohendet et al. 2019): `ground-truth*.csv`, videos `*.webm`, splits from files.

Captions stand beside the ground truth, in `*video-captions.txt`: a line a video, its name, a tab or space, and a
caption whose words have hyphens between.
"""

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
from m3ray.schema import CAPTIONS, Clip, catalogue_table
from m3ray.storage.root import Root

# Column of a score to the column of the number of viewers behind it.
TERMS = {
    "short": ("short-term_memorability", "nb_short-term_annotations"),
    "long": ("long-term_memorability", "nb_long-term_annotations"),
}


def list_videomem(source: str, read: ReadConfig) -> Listing:
    """List the clips of VideoMem, with the other target, both numbers of annotations, and captions as columns.

    The annotations of the chosen target are its `responses` too.

    Args:
        source: path or URI of the folder with the ground truth, or of that CSV file itself.
        read: which score to take (`target`: long, or else short), a file or folder that says which clip is in which
            split (`splits`), and the folder of the videos if it is elsewhere (`videos`).
    Returns:
        The clips, and what the user is told of them.
    Raises:
        SchemaError: If there is no ground truth, or a row is impossible; the message names file and row.
    """
    folder, names = _find_ground_truth(source)
    root, notes = Root(folder), list[str]()
    column, responses = TERMS["long" if read.target == "long" else "short"]
    clips = [clip for name in names for clip in _read_clips(root, name, column, responses, notes)]
    clips, repeats = drop_repeats(clips)
    clips = _add_captions(root, clips)
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


def _read_clips(root: Root, name: str, column: str, responses: str, notes: list[str]) -> list[Clip]:
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
        extra |= {"responses": extra[responses]} if responses in extra else {}
        extra |= {c: parse_cell(row[c], f"{where}: {c}") for c in row if "memorability" in c and c != column}
        clips.append(Clip(clip_id=video, uri=video, split=split, score=score, extra=extra))
    return clips


def _add_captions(root: Root, clips: list[Clip]) -> list[Clip]:
    """Add the captions that stand beside the ground truth; the clips as they are where there are none."""
    names = [name for name in root.list_names(suffix=".txt") if name.lower().endswith("video-captions.txt")]
    lines = [line for name in names for line in root.read_bytes(name).decode("utf-8-sig").splitlines()]
    pairs = [line.split(maxsplit=1) for line in lines]
    captions: dict[str, list[str]] = {}
    for key, text in (pair for pair in pairs if len(pair) == 2):
        captions.setdefault(_split_key(key), []).append(text.replace("-", " ").strip())
    if not captions:
        return clips
    return [replace(c, extra={**c.extra, CAPTIONS: captions.get(_split_key(c.clip_id), [])}) for c in clips]


def _split_key(name: str) -> str:
    """What a video is known by in other files: its name without folder and ending, or its number alone."""
    stem = name.lower().replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0]
    number = stem.removeprefix("video")
    return f"video{int(number)}" if number.isdecimal() else stem


def _assign_splits(clips: list[Clip], source: str) -> list[Clip]:
    by_key: dict[str, str] = {}
    for name, split in read_splits(source).items():
        if by_key.setdefault(_split_key(name), split) != split:
            raise SchemaError(f"{source}: {name} is in {by_key[_split_key(name)]} and in {split}: a leak; name it once")
    assigned = [replace(clip, split=by_key.get(_split_key(clip.clip_id))) for clip in clips]
    lacking = [clip.clip_id for clip in assigned if clip.split is None]
    if lacking:
        raise SchemaError(f"{source} names no split for {len(lacking)} of {len(clips)} clips, {lacking[0]} among them")
    return assigned
