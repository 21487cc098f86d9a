"""The most memorable shots written as files: which, under which names, and what became of each."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from m3ray.errors import DecodeError
from m3ray.storage.filesystems import absolute_uri, is_local, local_path
from m3ray.video.reader import read_video
from m3ray.video.sandbox import Decoder
from m3ray.video.shots.exporting import write_shots
from m3ray.video.shots.file_names import name_shot
from m3ray.video.shots.timeline import Shots

COLUMNS = ("rank", "clip_id", "shot", "start", "end", "score", "file", "how", "sound", "reason")
_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")


@dataclass(frozen=True)
class BestShot:
    """A shot that is to be written.

    Args:
        rank: 1 for the most memorable one.
        clip_id: Id of its clip.
        source: Path or URI of the clip, or its bytes.
        shot: Number of the shot, from 0.
        shots: All shots of the clip.
        score: Its score.
    """

    rank: int
    clip_id: str
    source: str | bytes
    shot: int
    shots: Shots
    score: float

    @property
    def frames(self) -> tuple[int, int]:
        """Its first frame, and the one behind its last."""
        first = int(self.shots.frames[self.shot])
        return first, first + int(self.shots.frame_counts[self.shot])

    @property
    def stem(self) -> str:
        """Name of its file, without the ending."""
        return name_shot(self.clip_id, self.shot, self.start, self.end, "")

    @property
    def start(self) -> float:
        """When it begins, seconds."""
        return float(self.shots.starts[self.shot])

    @property
    def end(self) -> float:
        """When it ends, seconds."""
        return float(self.shots.ends[self.shot])

    def row(self, **found: Any) -> dict[str, Any]:
        """A row of what became of it.

        Args:
            **found: `file`, `how`, `sound`, `reason`, those that are known.
        """
        known = {name: getattr(self, name) for name in ("rank", "clip_id", "shot", "start", "end", "score")}
        return {**dict.fromkeys(COLUMNS), **known, **found}


def choose_best(
    rows: Sequence[Mapping[str, Any]], found: Mapping[str, tuple[str | bytes, Shots]], count: int
) -> list[BestShot]:
    """Choose the most memorable shots of all clips.

    Args:
        rows: Rows with `clip_id`, `shot`, `score` and perhaps `reason`.
        found: Id of each clip to its source and its shots; of others no shot is taken.
        count: How many.
    Returns:
        The best ones, the first of them first; of equal ones the earlier row. A shot of a file that was given twice,
        also by two ids, is taken once.
    """
    scored = [row for row in rows if row.get("reason") is None and row["clip_id"] in found]
    files = {clip: _resolve(source) for clip, (source, _) in found.items()}
    once: dict[tuple[str | bytes, int], Mapping[str, Any]] = {}
    for row in sorted(scored, key=lambda row: -row["score"]):
        once.setdefault((files[row["clip_id"]], int(row["shot"])), row)
    best = list(once.values())[:count]
    return [
        BestShot(
            rank, row["clip_id"], found[row["clip_id"]][0], int(row["shot"]), found[row["clip_id"]][1], row["score"]
        )
        for rank, row in enumerate(best, start=1)
    ]


def _resolve(source: str | bytes) -> str | bytes:
    """What is the same for two names of one file: its path without links, a remote one's URI, or its bytes."""
    if isinstance(source, bytes) or not is_local(source):
        return source
    return os.path.realpath(local_path(absolute_uri(source)))


def export_best(
    decoder: Decoder, best: Sequence[BestShot], taken: Collection[str], write: Callable[[str, bytes], str]
) -> list[dict[str, Any]]:
    """Write shots as files; none that is there already is replaced.

    Args:
        decoder: Decodes in a child process, which makes the files.
        best: The shots.
        taken: Names of the files that are there.
        write: From a file's name and its bytes to where it was written; raises FileExistsError if it is there by now.
    Returns:
        A row a shot, by rank: `rank`, `clip_id`, `shot`, `start`, `end`, `score`, `file`, `how` (`copied`,
        `encoded`, `kept`: it was there), `sound` (whether it has some), `reason` (why there is none).
    """
    by_clip: dict[str, list[BestShot]] = defaultdict(list)
    rows, stems = [], set()
    for shot in best:
        if shot.stem in stems:
            rows.append(shot.row(reason=f"its file would have the name of a better shot's: {shot.stem}"))
            continue
        stems.add(shot.stem)
        there = next((shot.stem + suffix for suffix in _SUFFIXES if shot.stem + suffix in taken), None)
        if there is None:
            by_clip[shot.clip_id].append(shot)
        else:
            rows.append(shot.row(file=there, how="kept"))
    for shots in by_clip.values():
        rows += _export_clip(decoder, shots, write)
    return sorted(rows, key=lambda row: row["rank"])


def _export_clip(
    decoder: Decoder, shots: Sequence[BestShot], write: Callable[[str, bytes], str]
) -> Iterator[dict[str, Any]]:
    """What becomes of the shots of one clip."""
    left = dict(enumerate(shots))
    try:
        source = shots[0].source
        data = source if isinstance(source, bytes) else read_video(absolute_uri(source), decoder.limits.max_bytes)
        for number, file in write_shots(decoder, data, [shot.frames for shot in shots]):
            shot = left.pop(number)
            if isinstance(file, str):
                yield shot.row(reason=file)
                continue
            name = shot.stem + file.suffix
            try:
                yield shot.row(file=write(name, file.data), how=file.how, sound=file.sound)
            except FileExistsError:
                yield shot.row(file=name, how="kept")
    except DecodeError as error:
        yield from (shot.row(reason=error.message) for shot in left.values())
