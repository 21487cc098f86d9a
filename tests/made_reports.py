"""Roots, tables and pages that the tests of the report share."""

import numpy as np
import pandas as pd
import pyarrow as pa

from m3ray.config import TrainConfig, as_json
from m3ray.config.presets import CARBON
from m3ray.datasets.catalogue import write_catalogue
from m3ray.reports.page import build_report
from m3ray.reports.run_section import start_page
from m3ray.reports.style import house_style
from m3ray.schema import REJECTS, Clip, catalogue_table
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, update_tier_index

HOSTILE = '<script>alert("1")</script>"\'' + "ü漢" + "x" * 300


def make_runs(runs=3, epochs=4, names=("M3-S", "M3")):
    rng = np.random.default_rng(0)
    levels = [names, range(runs), range(1, epochs + 1)]
    index = pd.MultiIndex.from_product(levels, names=["variant", "run", "epoch"])
    return index.to_frame(index=False).assign(val_spearman=rng.random(len(index)))


def make_trials():
    rows = [
        ("M3-S", "raw+scene", None, 0.63, 0.01, 0.0067, np.nan, np.nan, np.nan, "done"),
        ("M3", "raw", "M3-S", 0.60, 0.02, 0.0066, -0.03, -0.05, -0.01, "done"),
        ("M3 without raw", "scene", "M3-S", 0.61, None, 0.0070, -0.02, -0.05, 0.01, "done"),
    ]
    names = [
        "variant",
        "tiers",
        "full",
        "spearman",
        "spearman_std",
        "mse",
        "delta_spearman",
        "delta_low",
        "delta_high",
        "status",
    ]
    frame = pd.DataFrame(rows, columns=names)
    frame = add_parts(frame, [np.nan, 0.003, 0.19]).assign(test_spearman=np.nan, test_mse=np.nan)
    frame["ensemble_spearman"] = frame["spearman"] + 0.02
    return frame.assign(features=2783, parameters=1458305, runs=4, best_epoch=10, best_spearman=0.64)


def add_parts(frame, p, runs=4, clips=1500):
    """What a difference has beside its interval: of its variance a quarter is of the runs."""
    variance = ((frame["delta_high"] - frame["delta_low"]) / 4) ** 2
    parts = {"seed_variance": variance / 4, "clip_variance": variance * 3 / 4, "interaction_variance": variance / 8}
    compared = frame["delta_spearman"].notna()
    counts = {"runs": runs, "clips": clips}
    columns = parts | {
        name: pd.array([count if known else None for known in compared], "Int64") for name, count in counts.items()
    }
    frame = frame.assign(delta_p=p, delta_df=100.0, delta_reason="")
    return frame.assign(**{f"delta_{name}": values for name, values in columns.items()})


def make_small_root(tmp_path, *, study=True):
    root = Root(str(tmp_path))
    write_catalogue(root, catalogue_table([Clip(HOSTILE, "x"), Clip("b", "y", score=0.5)]), 0)
    rows = [{"clip_id": HOSTILE, "uri": "x", "stage": "decode", "error": "damaged", "message": "<b>bold</b>"}]
    root.write_shard(pa.Table.from_pylist(rows, schema=REJECTS), ("rejects",), {})
    update_tier_index(root, {"scene": TierEntry("scene-1", untrained=True, identity={})})
    if study:
        predictions = pd.DataFrame({"variant": "M3-S", "truth": [0.1, 0.9, 0.5], "score": [0.2, 0.8, 0.6]})
        for name, frame in (("trials", make_trials()), ("runs", make_runs()), ("predictions", predictions)):
            root.write_table(pa.Table.from_pandas(frame), "study", "ablation", f"{name}.parquet")
        measures = {"own": None, "full": "M3-S", "skipped": {}}
        root.write_json({"3": ["M3-S", "M3"], "measures": measures}, "study", "ablation", "tables.json")
        variant = {"name": "M3-S", "training": as_json(TrainConfig()), "tiers": ["raw"]}
        root.write_json({"variants": [variant], "tiers": {}}, "study", "ablation", "config.json")
    return root


def build_html(root, **options):
    build_report(root.uri, **options)
    return root.read_bytes("report", "index.html").decode()


def fill_page(root, *steps):
    """The page with a few of its parts, without the time that the other figures take."""
    page = start_page(root, {}, CARBON)
    with house_style():
        for step in steps:
            step(root, page)
    return page


def replace_column(root, name, values):
    catalogue = root.read_table("catalogue.parquet")
    kind = catalogue.schema.field(name)
    place = catalogue.column_names.index(name)
    root.write_table(catalogue.set_column(place, kind, pa.array(values, kind.type)), "catalogue.parquet")
