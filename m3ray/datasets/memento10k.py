"""Memento10k (Newman et al. 2020), in both forms that it is given out in.

The authors' folder: `memento_{train,val,test}_data.json`, lists of objects with `filename`, `url`, `mem_score`,
`alpha`, `action_labels`, `captions`. MediaEval 2021's: `training_set/train_scores.csv`, `dev_set/dev_scores.csv` with
`video_id`, `video_url`, `annotations_short_term`, `scores_raw_short_term`, `scores_normalized_short_term`,
`decay_alpha`, and `*_text_descriptions.csv` beside them with `description_0` to `description_4` (or a row a caption);
the action label is the folder in the URL. Videos anywhere below the folder, by name or by id.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache
from typing import Any
from urllib.parse import unquote_plus, urlsplit

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
    parse_hits,
    parse_texts,
    read_csv,
    read_objects,
    summarise_clips,
)
from m3ray.errors import SchemaError
from m3ray.schema import Clip, catalogue_table
from m3ray.storage.root import Root

_JSON = {split: f"memento_{split}_data.json" for split in ("train", "val", "test")}
# Split to its folder and file in MediaEval's distribution.
_CSV = {"train": ("training_set", "train"), "val": ("dev_set", "dev"), "test": ("test_set", "test")}
SCORES = {"normalized": "scores_normalized_short_term", "raw": "scores_raw_short_term"}
_RESPONSES = "annotations_short_term"
# One column of captions with a row each, or several, numbered.
_CAPTION = re.compile(r"(?:descriptions?|captions?|text)(?:_?(\d+))?", re.IGNORECASE)


def list_memento10k(source: str, read: ReadConfig) -> Listing:
    """List the clips of Memento10k, with `alpha`, `captions` and the numbers of annotations as columns.

    MediaEval's short-term annotations are `responses` too, and where they are listed, each 1 or 0, `hits`; the authors'
    form has none.

    Args:
        source: path or URI of the data set's folder.
        read: which of MediaEval's two scores to take (`score`), and the folder of the videos if it is elsewhere
            (`videos`).
    Returns:
        The clips, and what the user is told of them.
    Raises:
        SchemaError: If the folder holds neither form, or a row is impossible; the message names file and row.
    """
    root, notes = Root(source), list[str]()
    if any(root.exists(name) for name in _JSON.values()):
        clips, score = _from_json(root), "mem_score"
    else:
        clips, score = _from_csv(root, SCORES[read.score], notes), SCORES[read.score]
    clips, repeats = drop_repeats(clips)
    folder = read.videos or root.uri
    # Where the authors' archive unpacks to.
    expected = folder if read.videos else root.display("videos_10k")
    clips, missing = locate_videos(clips, Videos.below(folder), expected)
    summary = summarise_clips("memento10k", clips, missing, repeats, score)
    return Listing(catalogue_table(clips), (*summary, *notes), missing)


def _from_json(root: Root) -> list[Clip]:
    clips = []
    for split, name in _JSON.items():
        if root.exists(name):
            rows = enumerate(read_objects(root, name), start=1)
            clips += [_parse_json_clip(row, split, f"{name}: row {number}") for number, row in rows]
    return clips


def _parse_json_clip(row: dict[str, Any], split: str, where: str) -> Clip:
    # Scores of the test split were held back for a while.
    lacking = [key for key in ("filename", *(["mem_score"] if split != "test" else [])) if key not in row]
    if lacking:
        raise SchemaError(f"{where} lacks {', '.join(lacking)}; it has {', '.join(map(str, row))}")
    filename = str(row["filename"]).strip()
    if not filename:
        raise SchemaError(f"{where}: filename is empty")
    return Clip(
        clip_id=filename,
        uri=filename,
        split=split,
        score=_parse_score(row.get("mem_score"), where),
        labels=parse_texts(row.get("action_labels"), f"{where}: action_labels"),
        extra={
            "alpha": parse_cell(row.get("alpha"), f"{where}: alpha"),
            "captions": list(parse_texts(row.get("captions"), f"{where}: captions")),
        },
    )


def _from_csv(root: Root, score: str, notes: list[str]) -> list[Clip]:
    files = {}
    for split, (folder, prefix) in _CSV.items():
        paths = ((folder, f"{prefix}_scores.csv"), (f"{prefix}_scores.csv",))
        parts = next((path for path in paths if root.exists(*path)), None)
        if parts is not None:
            files[split] = parts
    if not files:
        raise SchemaError(
            f"{root.uri} holds neither {_JSON['train']} (the authors' form) nor training_set/train_scores.csv "
            "(MediaEval's): give the folder of Memento10k with --root; it has "
            f"{', '.join(root.list_names()) or 'nothing'}"
        )
    return [clip for split, parts in files.items() for clip in _read_csv_clips(root, parts, split, score, notes)]


def _read_csv_clips(root: Root, parts: tuple[str, ...], split: str, score: str, notes: list[str]) -> list[Clip]:
    columns = ("video_id", *([score] if split != "test" else []))
    captions = _read_captions(root, parts, notes)
    clips = []
    for where, row in read_csv(root, *parts, columns=columns, notes=notes):
        name = row["video_id"].strip()
        if not name:
            raise SchemaError(f"{where}: video_id is empty")
        counts = {c: parse_count(row[c], f"{where}: {c}") for c in row if is_count_column(c)}
        if _RESPONSES in counts:
            hits = parse_hits(row[_RESPONSES])
            counts |= {"responses": counts[_RESPONSES]} | ({} if hits is None else {"hits": hits})
        clips.append(
            Clip(
                clip_id=name,
                uri=name,
                split=split,
                score=_parse_score(row.get(score), where),
                labels=_label_from_url(row.get("video_url", "")),
                extra={
                    "alpha": parse_cell(row.get("decay_alpha"), f"{where}: decay_alpha"),
                    "captions": captions.get(name, []),
                    **counts,
                },
            )
        )
    return clips


def _parse_score(value: Any, where: str) -> float | None:
    try:
        return parse_score(parse_cell(value, f"{where}: score"), 0)
    except SchemaError as error:
        raise SchemaError(f"{where}: {str(error).removeprefix('row 0: ').removeprefix(f'{where}: ')}") from error


def _label_from_url(url: str) -> tuple[str, ...]:
    """The action: the folder that the video lies in, `+` for spaces."""
    folders = urlsplit(url).path.strip("/").split("/")[:-1]
    return (unquote_plus(folders[-1]).strip(),) if folders and folders[-1] else ()


def _read_captions(root: Root, scores: tuple[str, ...], notes: list[str]) -> dict[str, list[str]]:
    """Captions by video id, from the `*_text_descriptions.csv` beside the scores."""
    captions: dict[str, list[str]] = defaultdict(list)
    for name in root.list_names(*scores[:-1], suffix="_text_descriptions.csv"):
        if scores[:-1] or name.startswith(scores[-1].removesuffix("_scores.csv")):
            for _, row in read_csv(root, *scores[:-1], name, columns=("video_id",), notes=notes):
                texts = (row[column].strip() for column in _caption_columns(tuple(row)))
                captions[row["video_id"].strip()] += [text for text in texts if text]
    return captions


@cache
def _caption_columns(columns: tuple[str, ...]) -> list[str]:
    """The columns that hold captions, by their numbers."""
    matches = {column: match for column in columns if (match := _CAPTION.fullmatch(column))}
    return sorted(matches, key=lambda column: int(matches[column][1] or 0))
