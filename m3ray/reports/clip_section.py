"""The most and the least memorable clips on the page: first frame, score, and the share of each tier."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.reports.clip_cards import CURVES, CardMaker
from m3ray.reports.page_content import Page
from m3ray.reports.scores_section import UNKNOWN, describe_scorer, describe_source, interval_text
from m3ray.scoring.ends import CLIPS_PER_END, choose_ends
from m3ray.storage.catalogue_file import has_catalogue, read_catalogue
from m3ray.storage.root import Root
from m3ray.storage.scored_files import list_workspaces

PREDICTIONS = "predictions.parquet"


def add_clips(root: Root, page: Page) -> None:
    """Put the clips at both ends of the predictions on the page, or how to get predictions.

    Args:
        root: root that the report is about.
        page: page to fill.
    """
    if not root.exists(PREDICTIONS):
        page.missing.append("No predictions: fit a bundle (m3ray train), then run m3ray predict.")
        return
    scored = find_scored_root(root)
    frame = read_frame(root, (PREDICTIONS,), scored)
    ends = choose_ends(frame)
    page.clips_note = describe_choice(frame["split"], ends["split"])
    if scored is not None and scored.uri != root.uri and (source := describe_source(scored)):
        page.details["Clips with scores below"] = f"{len(frame):,}, of {source}"
    maker = CardMaker(root, (PREDICTIONS,), scored, ends)
    page.clips_legend = _describe_cards(root, ends, maker)
    cards = maker.make_cards()
    most = cards[: min(CLIPS_PER_END, -(-len(cards) // 2))]
    page.clips = [
        {"title": title, "clips": group}
        for title, group in (("Most memorable", most), ("Least memorable", cards[len(most) :][::-1]))
        if group
    ]


def read_frame(root: Root, predictions: tuple[str, ...], scored: Root | None) -> pd.DataFrame:
    """Read the clips of a file of scores that have one.

    Args:
        root: root that the report is about.
        predictions: path parts of the file.
        scored: root whose catalogue names the clips; None if that is not known.
    Returns:
        Its columns but the curves, by falling score, with `split`, null where a clip is in none.
    """
    held = root.read_schema(*predictions).names
    frame = root.read_table(*predictions, columns=[name for name in held if name not in CURVES]).to_pandas()
    frame = frame[frame["score"].notna()]
    frame = frame.assign(split=_read_splits(root, scored, frame))
    return frame.sort_values("score", ascending=False, kind="stable")


def _describe_cards(root: Root, ends: pd.DataFrame, maker: CardMaker) -> str:
    """Say what a card shows, of what these scores have."""
    made = root.read_metadata(PREDICTIONS)
    by = f" by {describe_scorer(made)}" if "bundle" in made else ""
    intervals = {interval_text(row) for row in ends.to_dict("records")}
    has_interval = bool(intervals - {"", UNKNOWN})
    parts = [f"First frame, score predicted{by}{', with its 90 % interval' if has_interval else ''}"]
    if maker.shares:
        parts.append("how much each tier adds to it or takes from it beside the train split's mean clip")
    if maker.curves:
        parts.append("the score over time, from its lowest to its highest")
    text = f"{'; '.join(parts)}."
    if UNKNOWN in intervals:
        return f"{text} Where the interval is unknown, too few clips were there to calibrate it on: 9 are the fewest."
    return text if has_interval else f"{text} There is no interval: none was calibrated on scores of such clips."


def _read_splits(root: Root, scored: Root | None, frame: pd.DataFrame) -> pd.Series:
    """Split of each clip: as the predictions have it, or, in older ones, the root's own catalogue; else null."""
    if "split" in frame:
        return frame["split"]
    if scored is None or scored.uri != root.uri:
        return pd.Series(None, index=frame.index, dtype=object)
    catalogue = read_catalogue(root, ["clip_id", "split"]).to_pandas()
    return frame["clip_id"].map(dict(zip(catalogue["clip_id"], catalogue["split"], strict=True)))


def describe_choice(splits: pd.Series, shown: pd.Series) -> str:
    """Say how many clips the shown ones were chosen from, and of which splits.

    Args:
        splits: Split of each clip with a score; null where it is in none.
        shown: Split of each clip that is shown.
    Returns:
        One sentence or two.
    """
    counts = splits.fillna("new").value_counts()
    unseen = {name: int(counts[name]) for name in ("val", "test", "new") if name in counts}
    train = int((shown == "train").sum())
    text = f"Chosen among the {sum(unseen.values()):,} clips that the model did not train on"
    text += f" ({', '.join(f'{count:,} {name}' for name, count in unseen.items())})." if unseen else "."
    if train:
        text += f" They are too few: {train} of the {len(shown)} shown are training clips, and marked as such."
    return text


def find_scored_root(root: Root) -> Root | None:
    """Find the folder whose catalogue names the clips of `predictions.parquet`.

    Predictions of older versions do not record it: then it is the only folder whose catalogue has all of them.

    Args:
        root: root that holds the predictions.
    Returns:
        The root itself or a folder below it; None if it is not known, or its catalogue is gone.
    """
    folders = {**({"": root} if has_catalogue(root) else {}), **list_workspaces(root)}
    if not root.exists(PREDICTIONS):
        return None
    metadata = root.read_metadata(PREDICTIONS)
    recorded = metadata.get("catalogue", "" if metadata.get("job") == "reproduce" else None)
    if recorded is not None:
        return folders.get(recorded)
    clips = root.read_table(PREDICTIONS, columns=["clip_id"])["clip_id"]
    matches = [folder for folder in folders.values() if _has_all_clips(folder, clips)]
    return matches[0] if len(matches) == 1 else None


def _has_all_clips(folder: Root, clips: pa.ChunkedArray) -> bool:
    ids = read_catalogue(folder, ["clip_id"])["clip_id"]
    return bool(pc.all(pc.is_in(clips, value_set=ids.cast(clips.type))).as_py())
