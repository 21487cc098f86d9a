"""`m3ray score`: scores of videos and images at once, without a root and without Ray."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TextIO

import m3ray
from m3ray.commands.csv_file import check_csv, open_csv
from m3ray.commands.options import ScoreOptions
from m3ray.commands.rows import CsvWriter, JsonWriter, Row, TableWriter, Writer, escape_control
from m3ray.commands.score_shots import (
    SHOWN,
    ShotScoring,
    check_shot_options,
    describe_exported,
    list_columns,
    make_config,
    wants_shots,
)
from m3ray.errors import ConfigError

if TYPE_CHECKING:
    from m3ray.scoring.inputs import ClipInput
    from m3ray.scoring.open_bundle import AnyBundle
    from m3ray.scoring.scorer import Scorer

_STDOUT = "-"
_NAN = float("nan")
_MOST_NOTES = 3


@dataclass
class _Count:
    clips: int = 0
    scored: int = 0
    rows: list[Row] = field(default_factory=list)


def run(options: ScoreOptions) -> int:
    """Score what the options name.

    Args:
        options: clips, bundle and form of the output.
    Returns:
        The exit status. 0: at least one clip has a score; 1: none has.
    Raises:
        ConfigError: If nothing is to be scored, options contradict each other, or a package is missing.
    """
    check_options(options)
    from m3ray.scoring.inputs import iter_clips

    with show_warnings(), m3ray.load(options.bundle, allow_other_weights=options.allow_other_weights) as scorer:
        clips = list(iter_clips(list(options.what)))
        count = _Count()
        with _open_writers(options, scorer, clips) as writers:
            shots = ShotScoring(scorer, make_config(options)) if wants_shots(options) else None
            rows = iter_rows(scorer, clips, count, over_time=options.over_time, shots=shots)
            for row in sort_rows(rows) if options.sort else rows:
                for writer in writers:
                    writer.write(row)
                if row["reason"] is None and "inside" in row:
                    count.rows.append({name: row[name] for name in ("clip_id", "score", "inside")})
        if not options.json and options.csv != _STDOUT:
            _print_notes(options, scorer, count)
        if shots is not None and options.export_shots is not None:
            # Where rows alone go to standard output, this goes to the other one.
            stream = sys.stderr if options.json or options.csv == _STDOUT else sys.stdout
            print(*describe_exported(shots.export(options.export_shots, options.out_folder)), sep="\n", file=stream)
    if not count.scored:
        print(f"error: no score for any of {count.clips} clips: each row has the reason", file=sys.stderr)
    return 0 if count.scored else 1


def check_options(options: ScoreOptions) -> None:
    """Check what can be checked before anything heavy is imported.

    Args:
        options: clips, bundle and form of the output.
    Raises:
        ConfigError: If nothing is to be scored, options contradict each other, or a package is missing.
    """
    if not options.what:
        raise ConfigError("nothing to score: give videos, images or folders, as in m3ray score holiday.mp4 photos/")
    check_outputs(options.csv, json=options.json)
    check_scorer(options.bundle)
    check_shot_options(options)


def check_outputs(csv: str | None, *, json: bool) -> None:
    """Check where rows are to be written.

    Args:
        csv: file that gets them as CSV; `-`: standard output; None: there is none.
        json: whether they go to standard output as JSON.
    Raises:
        ConfigError: If both go to standard output, or the file cannot be written, or is there and something else.
    """
    if json and csv == _STDOUT:
        raise ConfigError("--json and --csv - both write on standard output: give one, or a file to --csv")
    if csv not in (None, _STDOUT):
        check_csv(str(csv))


def check_scorer(bundle: str) -> None:
    """Check that a pretrained scorer is installed, where a bundle is one.

    Args:
        bundle: a bundle as a user names it.
    Raises:
        ConfigError: If its package is missing.
    """
    from m3ray.tiers.pretrained.facts import SCORERS

    facts = SCORERS.get(bundle)
    if facts is not None and facts.package is not None and find_spec(facts.package) is None:
        raise ConfigError(f"{facts.title} is not installed: {facts.install_command}")


def iter_rows(
    scorer: Scorer, clips: Iterable[ClipInput], count: Any, *, over_time: bool, shots: ShotScoring | None = None
) -> Iterator[Row]:
    """Score clips one after the other.

    Args:
        scorer: Opened bundle.
        clips: What is to be scored.
        count: Has the number of clips and of those with a score, `clips` and `scored`, and is counted up.
        over_time: Whether there is a row for each sliding window instead of one for each clip.
        shots: Scores shots, a row for each; None: they are not asked for.
    Yields:
        Rows: `clip_id`, `score`, `reason` (None: there is a score), and `spread`, `low`, `high`, `seconds`, or `time`.
    """
    for clip in clips:
        count.clips += 1
        is_lost = clip.failure is not None
        if shots is not None:
            rows = shots.score(clip)
        else:
            rows = [_failed_row(clip, scorer)] if is_lost else _score_clip(scorer, clip, over_time=over_time)
        count.scored += any(row["reason"] is None for row in rows)
        yield from rows


def sort_rows(rows: Iterable[Row]) -> list[Row]:
    """Put the highest score first, and those without one last.

    Args:
        rows: Rows with `score` and `reason`.
    Returns:
        The same rows; equal ones in the order given.
    """
    return sorted(rows, key=lambda row: (row["reason"] is not None, 0 if row["reason"] else -row["score"]))


def _failed_row(clip: ClipInput, scorer: Scorer) -> Row:
    numbers = dict.fromkeys((*scorer.columns, "time"), _NAN)
    return {**numbers, "clip_id": clip.clip_id, "reason": " ".join(str(clip.failure).split())}


def _score_clip(scorer: Scorer, clip: ClipInput, *, over_time: bool) -> list[Row]:
    """Rows of one clip under the name that it was given by."""
    if not over_time:
        table = scorer.predict([clip.data], progress=False)
        return [{**row, "clip_id": clip.clip_id} for row in as_rows(table)]
    (found,) = as_rows(scorer.over_time([clip.data], progress=False))
    if found["reason"] is not None:
        return [{"clip_id": clip.clip_id, "time": _NAN, "score": _NAN, "reason": found["reason"]}]
    pairs = zip(found["times"], found["curve"], strict=True)
    return [{"clip_id": clip.clip_id, "time": time, "score": score, "reason": None} for time, score in pairs]


def as_rows(table: Any) -> list[dict[str, Any]]:
    """List the rows of a DataFrame.

    Args:
        table: A DataFrame with `reason`.
    Returns:
        Name to value of each row; the reason None where pandas made it NaN.
    """
    rows: list[dict[str, Any]] = table.to_dict("records")
    return [{**row, "reason": row["reason"] if isinstance(row["reason"], str) else None} for row in rows]


def _columns_of(options: ScoreOptions, scorer: Scorer) -> tuple[list[str], list[str]]:
    """Columns of the table for people, and of CSV and JSON."""
    if wants_shots(options):
        return list(SHOWN), list_columns(scorer)
    if options.over_time:
        return ["time", "score"], ["clip_id", "time", "score", "reason"]
    pretrained = hasattr(scorer.bundle, "facts")
    shown = ["score", "spread", "seconds"] if pretrained else ["score", "low", "high", "seconds"]
    return shown, list(scorer.columns)


@contextmanager
def _open_writers(options: ScoreOptions, scorer: Scorer, clips: Sequence[ClipInput]) -> Iterator[list[Writer]]:
    shown, columns = _columns_of(options, scorer)
    writers: list[Writer] = []
    file: TextIO | None = None
    if options.json:
        writers.append(JsonWriter(sys.stdout, columns))
    elif options.csv != _STDOUT:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        writers.append(TableWriter(sys.stdout, shown, (clip.clip_id for clip in clips), width))
    if options.csv == _STDOUT:
        writers.append(CsvWriter(sys.stdout, columns))
    elif options.csv is not None:
        file = open_csv(options.csv)
        writers.append(CsvWriter(file, columns))
    try:
        yield writers
    finally:
        if file is not None:
            file.close()


def _print_notes(options: ScoreOptions, scorer: Scorer, count: _Count) -> None:
    """What one must know of the numbers, below them."""
    from m3ray.scoring.describe_scorer import describe_calibration, describe_origin

    bundle = scorer.bundle
    name = bundle.facts.title if hasattr(bundle, "facts") else bundle.name
    print(f"\n{name}: {describe_origin(bundle)}")
    print(describe_calibration(bundle))
    if count.scored < count.clips:
        lost = count.clips - count.scored
        print(f"{lost} of {count.clips} clips {'has' if lost == 1 else 'have'} no score")
    for line in list_extrapolations(bundle, count.rows):
        print(escape_control(line))
    if options.csv is not None:
        print(f"written: {options.csv}")


def list_extrapolations(bundle: AnyBundle, rows: Sequence[Row]) -> list[str]:
    """Say which scores are extrapolations.

    Args:
        bundle: The bundle that scored.
        rows: Rows with `clip_id`, `score` and, where it is known, `inside`.
    Returns:
        A line for each of the first few, and one that counts the others.
    """
    from m3ray.scoring.reference.neighbours import describe_extrapolation

    said = [(row["clip_id"], describe_extrapolation(bundle, row.get("inside", _NAN), row["score"])) for row in rows]
    lines = [f"note: {name}: {line}" for name, line in said if line is not None]
    more = len(lines) - _MOST_NOTES
    return lines if more <= 0 else [*lines[:_MOST_NOTES], f"note: {more} more scores are extrapolations"]


@contextmanager
def show_warnings() -> Iterator[None]:
    """Print our own warnings as one line on standard error, and no library's.

    Yields:
        Nothing.
    """

    def show(message: Warning | str, category: type[Warning], filename: str, *_: Any) -> None:
        if f"{os.sep}m3ray{os.sep}" in filename and not issubclass(category, DeprecationWarning):
            print(f"note: {' '.join(str(message).split())}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]
        yield
