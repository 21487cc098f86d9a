"""Clips that were looked at more closely, on the page: those asked for, and those of further data sets and bundles."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd

from m3ray.reports.beside_scores import list_explained
from m3ray.reports.clip_cards import CardMaker
from m3ray.reports.clip_section import PREDICTIONS, find_scored_root, read_frame
from m3ray.reports.page_content import Page
from m3ray.reports.scores_section import describe_scorer, describe_source, find_folder
from m3ray.scoring.ends import choose_ends
from m3ray.storage.root import Root
from m3ray.storage.scored_files import list_scored_files, list_workspaces

MOST_SHOWN = 24
"""Clips of one file of scores: more are in the folder of the maps."""


def add_explained(root: Root, page: Page) -> None:
    """Put clips with maps on the page that are not among the most and the least memorable ones.

    Args:
        root: root that the report is about.
        page: page to fill; its cards of the most and the least memorable clips are there.
    """
    shown = {card["id"] for group in page.clips for card in group["clips"]}
    if root.exists(PREDICTIONS):
        scored = find_scored_root(root)
        _add_group(root, page, (PREDICTIONS,), scored, "Clips that were asked for", shown)
    workspaces = list_workspaces(root)
    for file in list_scored_files(root):
        if file.path == (PREDICTIONS,) or not file.of_new_clips:
            continue
        scored = find_folder(file, workspaces)
        source = "" if scored is None else describe_source(scored)
        title = f"Clips{f' of {source}' if source else ''}, scored by {describe_scorer(file.made)}"
        _add_group(root, page, file.path, scored, title, ())


def _add_group(
    root: Root,
    page: Page,
    predictions: tuple[str, ...],
    scored: Root | None,
    title: str,
    shown: Collection[str],
) -> None:
    explained = [clip for clip in list_explained(root, predictions) if clip not in shown]
    if not explained:
        return
    frame = read_frame(root, predictions, scored)
    chosen = choose_explained(frame, explained)
    cards = CardMaker(root, predictions, scored, chosen).make_cards()
    page.explained.append({"title": title, "note": _describe_left(len(explained), len(chosen)), "clips": cards})


def choose_explained(frame: pd.DataFrame, explained: Sequence[str]) -> pd.DataFrame:
    """Choose the clips to show of those that were looked at.

    Args:
        frame: the clips of a file of scores, by falling score, with `split`.
        explained: ids of the clips with a map, or a reason why there is none.
    Returns:
        Their rows, by falling score, those without a score last; of many the ends.
    """
    found = frame[frame["clip_id"].isin(explained)]
    without = sorted(set(explained) - set(found["clip_id"]))
    if len(explained) > MOST_SHOWN:
        return choose_ends(found)
    rows: list[dict[str, Any]] = [{"clip_id": clip, "score": float("nan"), "split": None} for clip in without]
    return pd.concat([found, pd.DataFrame(rows)], ignore_index=True) if rows else found


def _describe_left(explained: int, shown: int) -> str:
    if shown >= explained:
        return ""
    return f"{explained:,} clips have a map: the {shown} at both ends of the scores are shown, the folder has them all."
