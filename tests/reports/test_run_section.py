"""What ran, and what it cost."""

from dataclasses import asdict

import pandas as pd
from made_reports import build_html

from m3ray.config.presets import CARBON
from m3ray.costs import estimate_usage
from m3ray.reports.run_section import (
    _count_reasons,
    _describe_clusters,
    _summarise_costs,
    describe_clusterings,
    start_page,
    sum_runs,
)
from m3ray.storage.tier_index import TierEntry, update_tier_index


def test_what_ran_and_what_it_cost(root):
    config = {"options": {"dataset": "table", "root": "clips.csv"}, "versions": {"ray": "2.60.0"}, "commit": "abc123"}
    for name, hours in (("a", 100), ("b", 75)):
        root.write_json(config, "runs", name, "config.json")
        summary = {"job": "reproduce", "wall_seconds": 60, "clips_done": 240, "clips_rejected": 0}
        root.write_json({**summary, "devices": [estimate_usage("V100", hours)]}, "runs", name, "summary.json")
    page = start_page(root, {"V100": 2.0}, CARBON)
    assert page.costs["energy"] == "43.75 kWh", "the paper's 175 h x 250 W"
    assert page.costs["co2"] == "16.19 kg at 0.37 kg a kWh"
    assert page.costs["dollars"] == "350.00 dollars"
    assert page.details["Data set"] == "table: clips.csv"
    assert page.details["Git commit"] == "abc123"
    assert "give --price DEVICE=DOLLARS" in start_page(root, {}, CARBON).costs["dollars"]


def test_a_root_without_any_run_has_no_costs(root):
    assert start_page(root, {}, CARBON).costs is None


def test_runs_are_summed_and_those_without_a_summary_left_out(root):
    assert sum_runs(root) == {"runs": 0, "wall_seconds": 0.0, "clips_done": 0, "clips_rejected": 0}
    for name, seconds in (("a", 1.5), ("b", 2.0)):
        root.write_json({"job": "extract", "wall_seconds": seconds, "clips_done": 3}, "runs", name, "summary.json")
    root.write_json({}, "runs", "c", "config.json")
    assert sum_runs(root) == {"runs": 2, "wall_seconds": 3.5, "clips_done": 6, "clips_rejected": 0}


def test_devices_without_a_price_are_named():
    summaries = [{"devices": [asdict(estimate_usage(device, hours)) for device, hours in (("CPU", 10), ("V100", 1))]}]
    assert (
        _summarise_costs(summaries, {"CPU": 0.04}, 0.5)["dollars"] == "0.40 dollars, without V100, which have no price"
    )
    assert _summarise_costs([{}], {"CPU": 0.04}, 0.5) is None


def test_reasons_are_counted_the_commonest_first():
    rejected = pd.DataFrame(
        [("a", "decode", "damaged", "m1"), ("b", "decode", "too_long", "m2"), ("c", "decode", "too_long", "m3")],
        columns=["clip_id", "stage", "error", "message"],
    )
    assert _count_reasons(rejected) == [
        {"stage": "decode", "error": "too_long", "count": 2, "clip": "b", "why": "m2"},
        {"stage": "decode", "error": "damaged", "count": 1, "clip": "a", "why": "m1"},
    ]


def test_an_unknown_accuracy_of_dbscan_s_predictor_has_its_reason():
    learned = {"columns_": ["dbscan_cluster_0", "dbscan_noise"], "noise_share_": 0.5, "predictor_accuracy_": None}
    assert _describe_clusters(learned).endswith("unknown: there are fewer than 25 train clips")
    older = {"columns_": ["dbscan_cluster_0", "dbscan_cluster_1"]}
    assert _describe_clusters(older).endswith("unknown: an earlier m3ray did not keep it")


def test_dbscan_s_noise_and_its_predictor_s_accuracy_are_shown(root):
    """Both were in the job's log alone."""
    entry = TierEntry("similarity-0", identity={"config": {"measure": "dbscan"}})
    learned = {"columns_": ["dbscan_cluster_0", "dbscan_cluster_1", "dbscan_noise"], "noise_share_": 0.25}
    parts = {
        "scene": {"learned": {**learned, "predictor_accuracy_": 0.915, "largest_share_": 0.5}},
        "event": {"learned": {**learned, "columns_": ["dbscan_cluster_0"], "predictor_accuracy_": None}},
    }
    root.write_json({"tiers": parts}, "artifacts", "similarity-0.json")
    update_tier_index(root, {"similarity": entry})
    details = start_page(root, {}, CARBON).details
    assert details["DBSCAN of scene"] == (
        "2 clusters, 25.0% of the clips are noise, the largest group has 50.0%; clusters predicted right: 91.5% of "
        "held-out train clips"
    )
    assert details["DBSCAN of event"] == (
        "1 cluster, 25.0% of the clips are noise; clusters predicted right: unknown: there is one cluster"
    )
    root.delete("artifacts", "similarity-0.json")
    assert describe_clusterings(root, {"similarity": entry}) == {}


def test_one_cluster_without_noise_is_one_cluster_whatever_its_columns():
    """73 clips were said to be fewer than 25: noise has a column, but no clip."""
    learned = {"columns_": ["dbscan_cluster_0", "dbscan_noise"], "noise_share_": 0.0, "largest_share_": 1.0}
    assert _describe_clusters({**learned, "predictor_accuracy_": None}).endswith("unknown: there is one cluster")


def test_measures_of_table_4_do_not_open_the_page(root):
    update_tier_index(root, {f"similarity:{name}": TierEntry(f"s-{name}") for name in ("kde", "cosine_mean")})
    html = build_html(root)
    before, _, behind = html.partition("<details><summary>2 more measures of similarity, which Table 4 compares")
    assert "similarity:kde" not in before
    assert "<td>similarity:kde</td>" in behind
    assert "<td>similarity</td>" in before
