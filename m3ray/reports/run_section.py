"""What ran: data set, clips, rejects, tiers, versions, and what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow.compute as pc

from m3ray.costs import Spent, cost, emissions_kg, together
from m3ray.datasets.catalogue import read_catalogue
from m3ray.reports.page_content import Page
from m3ray.storage.root import Root
from m3ray.storage.tier_index import REJECTS, current_tiers


def total_of_runs(root: Root) -> dict[str, float]:
    """Statistics of a root, summed over all its runs."""
    totals: dict[str, float] = {"runs": 0, "wall_seconds": 0.0, "clips_done": 0, "clips_rejected": 0}
    for run in root.names("runs"):
        if root.exists("runs", run, "summary.json"):
            summary = root.read_json("runs", run, "summary.json")
            totals["runs"] += 1
            for key in ("wall_seconds", "clips_done", "clips_rejected"):
                totals[key] += summary.get(key, 0)
    return totals


_REASONS = 12


def what_ran(root: Root, prices: Mapping[str, float], carbon: float) -> Page:
    """The page before any figure.

    Raises:
        StudyError: the root has no catalogue.
    """
    catalogue = read_catalogue(root)
    current = current_tiers(root)
    rejected = _rejected(root, catalogue["clip_id"])
    splits = Counter(catalogue["split"].to_pylist())
    runs = _runs(root)
    facts = {
        "Data set": _data_set(runs),
        "Clips": f"{catalogue.num_rows:,} ({', '.join(f'{n:,} {split}' for split, n in sorted(splits.items()))})",
        "With a score": f"{catalogue.num_rows - catalogue['score'].null_count:,}",
        "Rejected": f"{len(rejected):,}",
        **_made_with(root, runs),
    }
    tiers = [_tier_row(name, entry) for name, entry in current.items() if name != "facts"]
    untrained = any(entry.get("untrained") for entry in current.values())
    costs = _costs([summary for _, summary in runs], prices, carbon)
    return Page({k: v for k, v in facts.items() if v}, tiers, _reasons(rejected), costs, untrained)


def _rejected(root: Root, ids: Any) -> pd.DataFrame:
    table = root.read_shards(*REJECTS)
    if table is None:
        return pd.DataFrame(columns=["clip_id", "stage", "error", "message"])
    return table.filter(pc.is_in(table["clip_id"], value_set=ids)).to_pandas()


def _runs(root: Root) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Config and summary of every run that left both, the oldest first."""
    names = [n for n in root.names("runs") if root.exists("runs", n, "config.json")]
    return [
        (root.read_json("runs", name, "config.json"), root.read_json("runs", name, "summary.json"))
        for name in names
        if root.exists("runs", name, "summary.json")
    ]


def _data_set(runs: list[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    """What the last job that listed clips was told."""
    for config, summary in reversed(runs):
        options = config["options"]
        if "dataset" in options and summary["job"] != "predict":
            return f"{options['dataset']}{': ' + str(options['root']) if options.get('root') else ''}"
    return ""


def _made_with(root: Root, runs: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, str]:
    if not runs:
        return {}
    last = runs[-1][0]
    totals = total_of_runs(root)
    minutes = totals["wall_seconds"] / 60
    spent = f"{totals['runs']:.0f} runs, {totals['clips_done']:,.0f} clips computed, {minutes:.1f} minutes"
    return {
        "Over all runs": spent,
        "Made with": ", ".join(f"{name} {number}" for name, number in last["versions"].items()),
        "Git commit": last.get("commit") or "",
    }


def _tier_row(name: str, entry: dict[str, Any]) -> dict[str, str]:
    weights = entry["identity"].get("weights", {})
    if entry["untrained"]:
        words = "untrained"
    else:
        words = f"SHA-256 {weights['sha256'][:16]}…" if weights.get("sha256") else "none needed"
    return {"name": name, "fingerprint": entry["folder"].rsplit("-", 1)[-1], "weights": words}


def _reasons(rejected: pd.DataFrame) -> list[dict[str, Any]]:
    groups = rejected.groupby(["stage", "error"], sort=False)
    rows = groups.agg(count=("clip_id", "size"), clip=("clip_id", "first"), why=("message", "first")).reset_index()
    return rows.sort_values("count", ascending=False, kind="stable").head(_REASONS).to_dict("records")


def _costs(summaries: list[dict[str, Any]], prices: Mapping[str, float], carbon: float) -> dict[str, Any] | None:
    """Device hours, energy, CO2 and dollars of all runs together; None where no run noted its devices."""
    rows = together(Spent(**part) for summary in summaries for part in summary.get("devices", ()))
    if not rows:
        return None
    kwh, dollars = sum(row.kwh for row in rows), cost(rows, prices)
    unpriced = [row.device for row in rows if row.device not in prices]
    words = "give --price DEVICE=DOLLARS (an hour) to see it" if dollars is None else f"{dollars:,.2f} dollars"
    if dollars is not None and unpriced:
        words += f", without {', '.join(unpriced)}, which have no price"
    return {
        "rows": [
            {"device": row.device, "hours": f"{row.hours:,.3f}", "kwh": f"{row.kwh:,.4f}", "how": row.how}
            for row in rows
        ],
        "energy": f"{kwh:,.4g} kWh",
        "co2": f"{emissions_kg(kwh, carbon):,.4g} kg at {carbon:g} kg a kWh",
        "dollars": words,
    }
