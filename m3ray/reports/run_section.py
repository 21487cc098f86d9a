"""The section on what ran: data set, clips, rejects, tiers, versions, and costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow.compute as pc

from m3ray.costs import DeviceUsage, cost, emissions_kg, sum_usage
from m3ray.reports.page_content import Page
from m3ray.schema import METADATA_TABLE, SIMILARITY
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.rejects import REJECTS_FOLDER
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, read_tier_index


def sum_runs(root: Root) -> dict[str, float]:
    """Sum the statistics of all runs of a root.

    Args:
        root: root that holds the runs.
    Returns:
        `runs`, `wall_seconds`, `clips_done` and `clips_rejected`.
    """
    totals: dict[str, float] = {"runs": 0, "wall_seconds": 0.0, "clips_done": 0, "clips_rejected": 0}
    for run in root.list_names("runs"):
        if root.exists("runs", run, "summary.json"):
            summary = root.read_json("runs", run, "summary.json")
            totals["runs"] += 1
            for key in ("wall_seconds", "clips_done", "clips_rejected"):
                totals[key] += summary.get(key, 0)
    return totals


_REASONS = 12


def start_page(root: Root, prices: Mapping[str, float], carbon: float, clips: Root | None = None) -> Page:
    """Start the page: everything but tables, figures and clips.

    Args:
        root: root that the report is about.
        prices: price of each device, dollars an hour.
        carbon: carbon intensity of the electricity, kg of CO2 a kWh.
        clips: folder of the clips that it is about; None: the root itself.
    Returns:
        The page without tables, figures and clips.
    Raises:
        StudyError: If the root has no catalogue.
    """
    place = root if clips is None else clips
    catalogue, current = read_catalogue(place), read_tier_index(place)
    rejected = read_rejects(place, catalogue["clip_id"])
    splits = Counter(catalogue["split"].to_pylist())
    runs = _read_runs(root)
    known = catalogue.num_rows - catalogue["score"].null_count
    parted = "" if clips is not None else f" ({', '.join(f'{n:,} {split}' for split, n in sorted(splits.items()))})"
    details = {
        "Data set": _describe_data_set(runs) if clips is None else "",
        "Clips": f"{catalogue.num_rows:,}{parted}",
        "With a score": f"{known:,}" if clips is None else "",
        "Rejected": f"{len(rejected):,}",
        **describe_clusterings(root, current),
        **_describe_software(root, runs),
    }
    tiers = [_tier_row(name, entry) for name, entry in current.items() if name != METADATA_TABLE]
    untrained = any(entry.untrained for entry in current.values())
    costs = _summarise_costs([summary for _, summary in runs], prices, carbon)
    return Page({k: v for k, v in details.items() if v}, tiers, _count_reasons(rejected), costs, untrained)


def describe_clusterings(root: Root, current: Mapping[str, TierEntry]) -> dict[str, str]:
    """Describe the fitted DBSCAN measure: how much of the train split is noise, and how well clusters are predicted.

    Args:
        root: root that may hold one.
        current: the root's tier index.
    Returns:
        `DBSCAN of <vector tier>` to a line; empty where none was fitted, or its file is gone.
    """
    for tier, entry in current.items():
        file = ("artifacts", f"{entry.folder}.json")
        is_dbscan = tier.partition(":")[0] == SIMILARITY and entry.config.get("measure") == "dbscan"
        if is_dbscan and root.exists(*file):
            parts = root.read_json(*file)["tiers"]
            return {f"DBSCAN of {name}": _describe_clusters(part["learned"]) for name, part in parts.items()}
    return {}


def _describe_clusters(learned: Mapping[str, Any]) -> str:
    """One line on a fitted DBSCAN, from what it learned; an older version did not keep every share."""
    count = sum(name != "dbscan_noise" for name in learned["columns_"])
    accuracy, noise, largest = (
        learned.get(f"{name}_") for name in ("predictor_accuracy", "noise_share", "largest_share")
    )
    parts = [f"{count} {'cluster' if count == 1 else 'clusters'}"]
    parts += [] if noise is None else [f"{noise:.1%} of the clips are noise"]
    parts += [] if largest is None else [f"the largest group has {largest:.1%}"]
    predicted = _explain_accuracy(learned) if accuracy is None else f"{accuracy:.1%} of held-out train clips"
    return f"{', '.join(parts)}; clusters predicted right: {predicted}"


def _explain_accuracy(learned: Mapping[str, Any]) -> str:
    """Why it is unknown how well clusters are predicted."""
    if len(learned["columns_"]) == 1 or learned.get("largest_share_") == 1:
        return "unknown: there is one cluster"
    if "predictor_accuracy_" not in learned:
        return "unknown: an earlier m3ray did not keep it"
    return "unknown: there are fewer than 25 train clips"


def read_rejects(root: Root, ids: Any) -> pd.DataFrame:
    """Read which clips were rejected, and why.

    Args:
        root: root, or a folder below it, with a catalogue.
        ids: ids of the clips to look for.
    Returns:
        A row a rejected clip: `clip_id`, `stage`, `error`, `message`.
    """
    table = root.read_shards(*REJECTS_FOLDER)
    if table is None:
        return pd.DataFrame(columns=["clip_id", "stage", "error", "message"])
    return table.filter(pc.is_in(table["clip_id"], value_set=ids)).to_pandas()


def _read_runs(root: Root) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Read config and summary of every run that left both, the oldest first."""
    names = [n for n in root.list_names("runs") if root.exists("runs", n, "config.json")]
    return [
        (root.read_json("runs", name, "config.json"), root.read_json("runs", name, "summary.json"))
        for name in names
        if root.exists("runs", name, "summary.json")
    ]


def _describe_data_set(runs: list[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    """Describe the data set that the last job which listed clips was given."""
    for config, summary in reversed(runs):
        options = config["options"]
        if "dataset" in options and summary["job"] != "predict":
            return f"{options['dataset']}{': ' + str(options['root']) if options.get('root') else ''}"
    return ""


def _describe_software(root: Root, runs: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, str]:
    if not runs:
        return {}
    last = runs[-1][0]
    totals = sum_runs(root)
    minutes = totals["wall_seconds"] / 60
    count = f"{totals['runs']:.0f} run{'' if totals['runs'] == 1 else 's'}"
    spent = f"{count}, {totals['clips_done']:,.0f} clips computed, {minutes:.1f} minutes"
    return {
        "Over all runs": spent,
        "Made with": ", ".join(f"{name} {number}" for name, number in last["versions"].items()),
        "Git commit": last.get("commit") or "",
    }


def _tier_row(name: str, entry: TierEntry) -> dict[str, Any]:
    """A tier as the page lists it; `measure`: one of the measures that stand beside the full model's own."""
    weights = entry.weights
    if entry.untrained:
        text = "untrained"
    else:
        text = f"SHA-256 {weights['sha256'][:16]}…" if weights.get("sha256") else "none needed"
    is_measure = name.startswith(f"{SIMILARITY}:")
    return {"name": name, "fingerprint": entry.folder.rsplit("-", 1)[-1], "weights": text, "measure": is_measure}


def _count_reasons(rejected: pd.DataFrame) -> list[dict[str, Any]]:
    groups = rejected.groupby(["stage", "error"], sort=False)
    rows = groups.agg(count=("clip_id", "size"), clip=("clip_id", "first"), why=("message", "first")).reset_index()
    return rows.sort_values("count", ascending=False, kind="stable").head(_REASONS).to_dict("records")


def _summarise_costs(
    summaries: list[dict[str, Any]], prices: Mapping[str, float], carbon: float
) -> dict[str, Any] | None:
    """Sum device hours, energy, CO2 and dollars of all runs; None where no run recorded its devices."""
    rows = sum_usage(DeviceUsage(**part) for summary in summaries for part in summary.get("devices", ()))
    if not rows:
        return None
    kwh, dollars = sum(row.kwh for row in rows), cost(rows, prices)
    unpriced = [row.device for row in rows if row.device not in prices]
    dollars_text = "give --price DEVICE=DOLLARS (an hour) to see it" if dollars is None else f"{dollars:,.2f} dollars"
    if dollars is not None and unpriced:
        dollars_text += f", without {', '.join(unpriced)}, which have no price"
    return {
        "rows": [
            {"device": row.device, "hours": f"{row.hours:,.3f}", "kwh": f"{row.kwh:,.4f}", "how": row.how}
            for row in rows
        ],
        "energy": f"{kwh:,.4g} kWh",
        "co2": f"{emissions_kg(kwh, carbon):,.4g} kg at {carbon:g} kg a kWh",
        "dollars": dollars_text,
    }
