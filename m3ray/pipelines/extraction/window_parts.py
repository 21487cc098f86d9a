"""Windows of a long clip that were computed apart, joined into the row of the clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from m3ray.errors import FeatureError
from m3ray.pipelines.extraction.environments import ENVIRONMENT, join_environments
from m3ray.pipelines.extraction.records import failure_of
from m3ray.pipelines.extraction.tier_columns import TierColumns
from m3ray.tiers import average_windows, check_finite

Row = Mapping[str, Any]


def join_windows(rows: Sequence[Row], tiers: Sequence[TierColumns]) -> dict[str, Any]:
    """Join the computed windows of a clip into the clip's own row, as if it had been computed at once.

    Args:
        rows: A row of each window, in order, as Python values.
        tiers: Columns of each tier.
    Returns:
        The row of the clip; without features, and with the reason, if a tier's mean is not finite.
    """
    row = {**rows[0], "part": None, "seconds": list(sum_seconds(rows).items())}
    if ENVIRONMENT in row:
        row[ENVIRONMENT] = join_environments(each[ENVIRONMENT] for each in rows)
    packed: dict[str, bytes | None] = {}
    for tier in tiers:
        try:
            packed[f"tier_{tier.name}"] = _join_tier(rows, tier)
        except FeatureError as error:
            failure = failure_of(error, f"tier:{tier.name}")
            empty = {f"tier_{each.name}": None for each in tiers}
            return {**row, **empty, "stage": failure.stage, "error": failure.error, "message": failure.message}
    return {**row, **packed}


def _join_tier(rows: Sequence[Row], tier: TierColumns) -> bytes | None:
    """Bytes of the tier's mean over windows; None if the clip did not lack the tier."""
    windows = [row[f"tier_{tier.name}"] for row in rows]
    if None in windows:
        return None
    values = average_windows(map(tier.unpack_window, windows))
    check_finite(values, tier.name)
    return tier.pack(values)


def sum_seconds(rows: Sequence[Row]) -> dict[str, float]:
    """Sum the seconds that each stage spent on rows.

    Args:
        rows: Computed rows, as Python values.
    Returns:
        Stage to seconds.
    """
    seconds: dict[str, float] = {}
    for row in rows:
        for stage, spent in row["seconds"]:
            seconds[stage] = seconds.get(stage, 0.0) + spent
    return seconds
