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
from m3ray.datasets.catalogue import score_of
from m3ray.datasets.published import (
    Listing,
    Videos,
    count,
    is_count,
    number,
    placed,
    read_csv,
    read_objects,
    summary,
    texts,
    without_repeats,
)
from m3ray.errors import SchemaError
from m3ray.schema import Clip, catalogue_table
from m3ray.storage.root import Root

_JSON = {split: f"memento_{split}_data.json" for split in ("train", "val", "test")}
# Split to its folder and file in MediaEval's distribution.
_CSV = {"train": ("training_set", "train"), "val": ("dev_set", "dev"), "test": ("test_set", "test")}
SCORES = {"normalized": "scores_normalized_short_term", "raw": "scores_raw_short_term"}
# One column of captions with a row each, or several, numbered.
_CAPTION = re.compile(r"(?:descriptions?|captions?|text)(?:_?(\d+))?", re.IGNORECASE)


def list_memento10k(source: str, read: ReadConfig) -> Listing:
    """The clips of Memento10k; `alpha`, `captions` and numbers of annotations are kept in the catalogue.

    Args:
        source: the folder.
        read: `score`: which of MediaEval's two scores; `videos`: their folder where it is elsewhere.
    Raises:
        SchemaError: neither form is there, or a row is impossible; file and row are named.
    """
    root, notes = Root(source), list[str]()
    if any(root.exists(name) for name in _JSON.values()):
        clips, score = _from_json(root), "mem_score"
    else:
        clips, score = _from_csv(root, SCORES[read.score], notes), SCORES[read.score]
    clips, repeats = without_repeats(clips)
    folder = read.videos or root.uri
    # Where the authors' archive unpacks to.
    expected = folder if read.videos else root.display("videos_10k")
    clips, missing = placed(clips, Videos.below(folder), expected)
    said = summary("memento10k", clips, missing, repeats, score)
    return Listing(catalogue_table(clips), (*said, *notes), missing)


def _from_json(root: Root) -> list[Clip]:
    clips = []
    for split, name in _JSON.items():
        if root.exists(name):
            rows = enumerate(read_objects(root, name), start=1)
            clips += [_json_clip(row, split, f"{name}: row {position}") for position, row in rows]
    return clips


def _json_clip(row: dict[str, Any], split: str, where: str) -> Clip:
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
        score=_score(row.get("mem_score"), where),
        labels=texts(row.get("action_labels"), f"{where}: action_labels"),
        extra={
            "alpha": number(row.get("alpha"), f"{where}: alpha"),
            "captions": list(texts(row.get("captions"), f"{where}: captions")),
        },
    )


def _from_csv(root: Root, score: str, notes: list[str]) -> list[Clip]:
    clips, found = [], False
    for split, (folder, prefix) in _CSV.items():
        parts = next(
            (p for p in ((folder, f"{prefix}_scores.csv"), (f"{prefix}_scores.csv",)) if root.exists(*p)), None
        )
        if parts is not None:
            clips += _csv_clips(root, parts, split, score, notes)
            found = True
    if not found:
        raise SchemaError(
            f"{root.uri} holds neither {_JSON['train']} (the authors' form) nor training_set/train_scores.csv "
            f"(MediaEval's): give the folder of Memento10k with --root; it has {', '.join(root.names()) or 'nothing'}"
        )
    return clips


def _csv_clips(root: Root, parts: tuple[str, ...], split: str, score: str, notes: list[str]) -> list[Clip]:
    columns = ("video_id", *([score] if split != "test" else []))
    captions = _captions(root, parts, notes)
    clips = []
    for where, row in read_csv(root, *parts, columns=columns, notes=notes):
        name = row["video_id"].strip()
        if not name:
            raise SchemaError(f"{where}: video_id is empty")
        clips.append(
            Clip(
                clip_id=name,
                uri=name,
                split=split,
                score=_score(row.get(score), where),
                labels=_label(row.get("video_url", "")),
                extra={
                    "alpha": number(row.get("decay_alpha"), f"{where}: decay_alpha"),
                    "captions": captions.get(name, []),
                    **{column: count(row[column], f"{where}: {column}") for column in row if is_count(column)},
                },
            )
        )
    return clips


def _score(value: Any, where: str) -> float | None:
    try:
        return score_of(number(value, f"{where}: score"), 0)
    except SchemaError as error:
        raise SchemaError(f"{where}: {str(error).removeprefix('row 0: ').removeprefix(f'{where}: ')}") from error


def _label(url: str) -> tuple[str, ...]:
    """The action: the folder that the video lies in, `+` for spaces."""
    folders = urlsplit(url).path.strip("/").split("/")[:-1]
    return (unquote_plus(folders[-1]).strip(),) if folders and folders[-1] else ()


def _captions(root: Root, scores: tuple[str, ...], notes: list[str]) -> dict[str, list[str]]:
    """Captions by video id, from the `*_text_descriptions.csv` beside the scores."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in root.names(*scores[:-1], suffix="_text_descriptions.csv"):
        if scores[:-1] or name.startswith(scores[-1].removesuffix("_scores.csv")):
            for _, row in read_csv(root, *scores[:-1], name, columns=("video_id",), notes=notes):
                found[row["video_id"].strip()] += [row[c].strip() for c in _in_order(tuple(row)) if row[c].strip()]
    return found


@cache
def _in_order(columns: tuple[str, ...]) -> list[str]:
    """The columns that hold captions, by their numbers."""
    found = {column: match for column in columns if (match := _CAPTION.fullmatch(column))}
    return sorted(found, key=lambda column: int(found[column][1] or 0))
