"""The table at a job's end: what became of the clips, where the time went, and where to look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from m3ray.pipelines.runtime.rate import duration
from m3ray.storage.rejects import REJECTS_FOLDER
from m3ray.storage.root import Root

Row = tuple[str, str]

# Of each job: what it makes, by the name under the root.
_MADE = {
    "extract": ("features",),
    "reproduce": ("features", "study", "models", "predictions.parquet"),
    "ablate": ("study",),
    "train": ("study", "models"),
    "tune": ("study",),
    "evaluate": ("evaluation",),
}
_LABELS = {"study": "tables", "models": "model", "predictions.parquet": "scores", "evaluation": "figures"}
_MOST_REASONS = 3
_MOST_SHARES = 4


def list_places(name: str, root: Root) -> list[Row]:
    """List where what a job made lies.

    Args:
        name: name of the job, `extract` for one.
        root: root that it worked on.
    Returns:
        Label and place of each.
    """
    there = set(root.list_names())
    return [(_LABELS.get(made, made), root.display(made)) for made in _MADE.get(name, ()) if made in there]


def count_reasons(root: Root) -> list[Row]:
    """Count why clips were rejected.

    Args:
        root: root that holds the rejects.
    Returns:
        A row with the most frequent reasons; none where there are no rejects, or they cannot be read just now.
    """
    with suppress(Exception):  # it is a service at the end of a job, whose result stands
        table = root.read_shards(*REJECTS_FOLDER, columns=["clip_id", "stage", "error"])
        rows = [] if table is None else zip(table["stage"].to_pylist(), table["error"].to_pylist(), strict=True)
        reasons = [f"{count} {stage}: {error}" for (stage, error), count in Counter(rows).most_common(_MOST_REASONS)]
        if reasons:
            return [("because", f"{'; '.join(reasons)} ({root.display(*REJECTS_FOLDER)})")]
    return []


def make_end_table(
    name: str, summary: Mapping[str, Any], seconds: float, *, places: Sequence[Row], stage: str, log: str | None
) -> list[str]:
    """Make the table.

    Args:
        name: name of the job.
        summary: its summary: `clips`, `rejected`, `seconds`, `stage_seconds`.
        seconds: seconds from its start to its end.
        places: label and place of what it made, and whatever else the job has for the table.
        stage: stage in which it was cut short; empty: it was not, or not in one.
        log: where its log lies; None: nowhere.
    Returns:
        Lines: a title, then a row each.
    """
    rows = [*_tell_clips(summary), *_tell_times(summary, seconds)]
    if stage:
        rows.append(("ended in", stage))
    rows += places
    if log:
        rows.append(("log", f"{log} (every line, with tables, warnings and what workers printed)"))
    width = max(len(label) for label, _ in rows)
    return [f"{name}: summary:", *(f"  {label:<{width}}  {text}" for label, text in rows)]


def _tell_clips(summary: Mapping[str, Any]) -> list[Row]:
    if "clips" not in summary:
        return []
    clips, rejected = summary["clips"], summary.get("rejected", 0)
    return [("clips", f"{clips}: {clips - rejected} with features, {rejected} rejected")]


def _tell_times(summary: Mapping[str, Any], seconds: float) -> list[Row]:
    """Seconds of each stage, of an extraction also its pace and its shares of the work, and of the whole."""
    rows = []
    for stage, spent in summary.get("seconds", {}).items():
        done = summary.get("clips_done", 0) + summary.get("clips_rejected", 0)
        pace = f": {done} clips, {done / max(spent, 1e-9):.2f} a second{_tell_shares(summary)}"
        rows.append((stage, duration(spent) + (pace if stage == "extract" and done else "")))
    return [*rows, ("in all", duration(seconds))]


def _tell_shares(summary: Mapping[str, Any]) -> str:
    by_stage = summary.get("stage_seconds", {})
    total = sum(by_stage.values())
    if not total:
        return ""
    largest = sorted(by_stage.items(), key=lambda item: -item[1])[:_MOST_SHARES]
    return f"; {', '.join(f'{stage} {100 * spent / total:.0f} %' for stage, spent in largest)} of the work"
