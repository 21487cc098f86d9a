"""Scores of new clips on the page: what scored them, how they are spread, and a table of the clips with what failed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pandas as pd

from m3ray.errors import ConfigError, DamagedFileError
from m3ray.reports import figures
from m3ray.reports.page_content import Page
from m3ray.reports.run_section import read_rejects
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root
from m3ray.storage.root_record import read_record
from m3ray.storage.scored_files import ScoredFile, list_scored_files, list_workspaces

MOST_ROWS = 500
"""Clips of one table: more are in the file that it was made from."""
_FEWEST_FOR_FIGURE = 3
UNKNOWN = "interval unknown"


def add_scores(root: Root, page: Page) -> None:
    """Put every file of new clips' scores on the page: its facts, its distribution, and a table of its clips.

    Args:
        root: root that the report is about.
        page: page to fill.
    """
    workspaces = list_workspaces(root)
    files = [file for file in list_scored_files(root) if file.of_new_clips]
    for number, file in enumerate(files, start=1):
        folder = find_folder(file, workspaces)
        frame = _read_scores(root, file)
        scorer = find_pretrained(file.made)
        rejects = None if folder is None else _read_failures(folder)
        title = f"Scores by {describe_scorer(file.made)}"
        page.scores.append(
            {
                "id": f"scores{number}",
                "title": title,
                "facts": _list_facts(root, file, folder, frame, rejects),
                "note": "" if scorer is None else describe_limits(scorer),
                **make_table(frame, rejects),
            }
        )
        if scorer is not None:
            page.details[f"Licence of {scorer['title']}"] = str(scorer["licence"])
        _add_distribution(root, page, frame, title, "" if number == 1 else f"-{number}", scorer)


def find_pretrained(made: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Find the pretrained scorer that made a file of scores.

    Args:
        made: what the file says of how it was made.
    Returns:
        What the file says of it: `title`, `predicts`, `trained_on`, `licence`, `source`; None where a bundle that m3ray
        trained gave the scores.
    """
    return made.get("provenance") or None


def describe_scorer(made: Mapping[str, Any]) -> str:
    """Name what scored clips.

    Args:
        made: what the file of scores says of how it was made.
    Returns:
        The pretrained scorer, said to be not trained here, or the bundle.
    """
    scorer = find_pretrained(made)
    if scorer is not None:
        return f"{scorer['title']}, not trained here"
    return f"bundle {made['bundle']}" if "bundle" in made else "a bundle"


def describe_limits(scorer: Mapping[str, Any]) -> str:
    """Describe what a pretrained scorer's scores are, and are not.

    Args:
        scorer: what a file of scores says of it.
    Returns:
        Sentences.
    """
    is_false = scorer["predicts"] == "false_alarm_rate"
    what = "how often viewers take an image for one that they have seen" if is_false else "memorability"
    return (
        f"{scorer['title']} was trained elsewhere, on {scorer['trained_on']}, to predict {what}; not trained here. It "
        "sees single images: a clip's score is the mean over some of its frames, and motion and sound have no part in "
        "it. Its spread is the standard deviation over these frames. There is no interval, as it was not calibrated on "
        "scores of clips like these: read ranks rather than numbers."
    )


def find_folder(file: ScoredFile, workspaces: Mapping[str, Root]) -> Root | None:
    """Find the folder whose catalogue lists the clips of a file of scores.

    Args:
        file: the file.
        workspaces: the folders with catalogues.
    Returns:
        The folder; None where it is gone, or an older file does not say and there are several.
    """
    if file.folder is not None:
        return workspaces.get(file.folder)
    return next(iter(workspaces.values())) if len(workspaces) == 1 else None


def _read_scores(root: Root, file: ScoredFile) -> pd.DataFrame:
    """The numbers of each clip, by falling score."""
    held = root.read_schema(*file.path).names
    wanted = [name for name in ("clip_id", "score", "spread", "low", "high") if name in held]
    frame: pd.DataFrame = root.read_table(*file.path, columns=wanted).to_pandas()
    return frame.sort_values("score", ascending=False, kind="stable", na_position="last")


def _read_failures(folder: Root) -> pd.DataFrame:
    return read_rejects(folder, read_catalogue(folder, ["clip_id"])["clip_id"])


def _list_facts(
    root: Root, file: ScoredFile, folder: Root | None, frame: pd.DataFrame, rejects: pd.DataFrame | None
) -> dict[str, str]:
    facts = {"Clips of": "" if folder is None else describe_source(folder)}
    if rejects is not None and folder is not None:
        listed = read_catalogue(folder, ["clip_id"]).num_rows
        facts["Clips"] = f"{listed:,}: {len(frame):,} scored, {len(rejects):,} rejected"
    else:
        facts["Clips"] = f"{len(frame):,} scored"
    scorer = find_pretrained(file.made)
    if scorer is not None:
        facts["Scored by"] = f"{scorer['title']} ({scorer['source']})"
        facts["Trained on"] = f"{scorer['trained_on']}; not trained here"
        facts["Licence"] = str(scorer["licence"])
    scores = frame["score"].dropna()
    if len(scores):
        facts["Scores"] = f"{scores.min():.3f} to {scores.max():.3f}, median {scores.median():.3f}"
    facts["File"] = root.display(*file.path)
    return {name: text for name, text in facts.items() if text}


def describe_source(folder: Root) -> str:
    """Name the data set of a folder with a catalogue.

    Args:
        folder: the folder.
    Returns:
        Its name; empty if its record cannot be read, since a missing caption must not end a report.
    """
    with suppress(ConfigError, DamagedFileError):
        record = read_record(folder)
        return "" if record is None else record.describe()
    return ""


def make_table(frame: pd.DataFrame, rejects: pd.DataFrame | None) -> dict[str, Any]:
    """Make the table of all clips: those with a score by rank, then those without, and why.

    Args:
        frame: clips by falling score: `clip_id`, `score`, and perhaps `spread`, `low`, `high`.
        rejects: clips without a score: `clip_id`, `stage`, `error`, `message`; None: not known.
    Returns:
        `columns`, `rows` of texts, and `left`: how many clips it leaves out.
    """
    scored = frame.head(MOST_ROWS)
    has_interval = "low" in scored and scored["low"].notna().any()
    columns = ["Rank", "Clip", "Score", "Spread", *(["90 % interval"] if has_interval else [])]
    rows = []
    for rank, row in enumerate(scored.to_dict("records"), start=1):
        cells = [str(rank), row["clip_id"], _number(row["score"]), _number(row.get("spread"))]
        rows.append([*cells, *([interval_text(row) or "none"] if has_interval else [])])
    failed = [] if rejects is None else rejects.head(MOST_ROWS - len(scored)).to_dict("records")
    if failed:
        columns.append("Why there is no score")
        empty = [""] * (len(columns) - 3)
        rows = [[*row, ""] for row in rows]
        rows += [["", row["clip_id"], *empty, f"{row['error']}: {row['message']}"] for row in failed]
    total = len(frame) + (0 if rejects is None else len(rejects))
    return {"columns": columns, "rows": rows, "left": total - len(rows)}


def _number(value: Any) -> str:
    return "" if value is None or pd.isna(value) else f"{value:.3f}"


def interval_text(row: Mapping[Any, Any]) -> str:
    """Text of a clip's interval.

    Args:
        row: the clip's scores, perhaps with `low` and `high`.
    Returns:
        Its ends; empty where it has none, and in words where it is unknown: too few clips were there to calibrate on.
    """
    low, high = row.get("low"), row.get("high")
    if low is None or high is None or pd.isna(low) or pd.isna(high):
        return ""
    # A rule of too few clips is infinitely wide, and its ends are then those that scores can have at all.
    is_unknown = (low, high) == (0, 1) or math.isinf(low) or math.isinf(high)
    return UNKNOWN if is_unknown else f"{low:.2f} to {high:.2f}"


def _add_distribution(
    root: Root, page: Page, frame: pd.DataFrame, title: str, ending: str, scorer: Mapping[str, Any] | None
) -> None:
    scores = frame["score"].dropna()
    if len(scores) < _FEWEST_FOR_FIGURE:
        return
    caption = (
        f"Predicted scores of the {len(scores):,} clips that have one: their distribution, and each by its rank. "
        "Where the line is flat, the order of the clips says little."
    )
    if scorer is not None:
        caption += f" {scorer['title']} was not trained here: its scores have a scale of their own."
    alt = f"Histogram and rank plot of {len(scores)} predicted scores"
    plot = figures.plot_scores(frame.loc[scores.index, ["clip_id", "score"]])
    page.add_figure(root, plot, f"scores{ending}", f"{title}: distribution", caption, alt, weights=scorer is None)
