"""The page of whole roots: what stands on it, and what it says of what is missing."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from report import made_up_root

from m3ray.config.presets import CARBON
from m3ray.costs import spent
from m3ray.datasets.catalogue import write_catalogue
from m3ray.reports.clip_section import add_clips, scored_room, uris_of
from m3ray.reports.figure_sections import add_clusters, add_moments, add_pairs, add_search
from m3ray.reports.page import build_report
from m3ray.reports.run_section import what_ran
from m3ray.reports.study_section import add_study
from m3ray.reports.style import house_style
from m3ray.reports.thumbnails import first_frames
from m3ray.schema import Clip, catalogue_table
from m3ray.storage.dataset_record import Record
from m3ray.storage.root import Root
from m3ray.storage.root_record import write_record

FIGURES = ["figure2", "figure3", "figure4", "figure5", "figure6", "figure7"]


@pytest.fixture
def root(tmp_path):
    return made_up_root(tmp_path / "root", 240)


def built(root, **options):
    build_report(root.uri, **options)
    return root.read_bytes("report", "index.html").decode()


def added(root, *steps):
    """The page with a few of its parts, without the time that the other figures take."""
    page = what_ran(root, {}, CARBON)
    with house_style():
        for step in steps:
            step(root, page)
    return page


def with_column(root, name, values):
    catalogue = root.read_table("catalogue.parquet")
    kind = catalogue.schema.field(name)
    place = catalogue.column_names.index(name)
    root.write_table(catalogue.set_column(place, kind, pa.array(values, kind.type)), "catalogue.parquet")


def test_every_figure_is_there_with_the_data_that_it_draws(root):
    html = built(root)
    made = root.sizes("report", "figures")
    for key in [*FIGURES, "calibration", "forest"]:
        assert {f"{key}.png", f"{key}.svg", f"{key}.csv"} <= set(made)
    places = [html.index(f"Figure {key.removeprefix('figure')}.") for key in FIGURES]
    assert places == sorted(places), "in the paper's order"
    assert html.count("<figure>") == html.count("<figcaption>") == 8
    assert html.count("First frame of") == 16
    assert len(html) < 5_000_000
    assert "no frame" not in html
    assert "Figure 2. Validation curves (untrained weights)" in html
    assert "Figure 6. Raw features and memorability<" in html, "no network made them"
    assert "UNTRAINED" in root.read_bytes("report", "tables", "table3.md").decode()
    assert "UNTRAINED" not in root.read_bytes("report", "tables", "table1.md").decode()


def test_figures_4_and_5_are_of_the_catalogue_s_scores(root):
    added(root, add_clusters)
    catalogue = root.read_table("catalogue.parquet").to_pandas()
    boxes = pd.read_csv(root.path("report", "figures", "figure4.csv"))
    points = pd.read_csv(root.path("report", "figures", "figure3.csv"))
    event = points[points["tier"] == "event"].merge(catalogue, on="clip_id")
    for row in boxes[boxes["cluster"] >= 0].itertuples():
        scores = event.loc[event["cluster"] == row.cluster, "score"]
        assert (row.n, row.median) == (len(scores), pytest.approx(scores.median()))
    assert boxes["overall"].unique() == pytest.approx(catalogue["score"].mean())
    contents = pd.read_csv(root.path("report", "figures", "figure5.csv"))
    means = event[event["cluster"].isin(boxes["cluster"])].groupby("cluster")["score"].mean()
    assert list(contents["cluster"].unique()) == [means.idxmax(), means.idxmin()]


def scored(root, names, catalogue=None, job="predict"):
    """Predictions of some clips, with the place of their catalogue noted if it is given."""
    made = {"bundle": "m3s", "job": job} | ({} if catalogue is None else {"catalogue": catalogue})
    frame = pd.DataFrame({"clip_id": names, "score": np.linspace(0.9, 0.1, len(names)), "low": 0.0, "high": 1.0})
    table = pa.Table.from_pandas(frame, preserve_index=False)
    root.write_table(table.replace_schema_metadata({b"m3ray": json.dumps(made)}), "predictions.parquet")


def rooms(root, **uris):
    for name, uri in uris.items():
        where = root.below(*([name.replace("_", "-")] if name != "own" else []))
        write_catalogue(where, catalogue_table([Clip("a.mp4", uri)]), 0)


def test_frames_are_those_of_the_clips_that_were_scored(tmp_path):
    """A second folder of equal names stood beside the first one's frames."""
    root = Root(str(tmp_path))
    rooms(root, own="/own/a.mp4", predict="/monday/a.mp4", predict_0a1b="/tuesday/a.mp4")
    for noted, uri in (("", "/own/a.mp4"), ("predict", "/monday/a.mp4"), ("predict-0a1b", "/tuesday/a.mp4")):
        scored(root, ["a.mp4"], noted)
        assert uris_of(scored_room(root), ["a.mp4"]) == {"a.mp4": uri}
    scored(root, ["a.mp4"], "predict-ffff")
    assert uris_of(scored_room(root), ["a.mp4"]) == {}, "its catalogue is gone"


def test_without_a_note_frames_are_shown_where_one_catalogue_alone_has_the_clips(tmp_path):
    root = Root(str(tmp_path))
    rooms(root, own="/own/a.mp4")
    scored(root, ["a.mp4"])
    assert uris_of(scored_room(root), ["a.mp4"]) == {"a.mp4": "/own/a.mp4"}
    rooms(root, predict="/monday/a.mp4")
    assert uris_of(scored_room(root), ["a.mp4"]) == {}, "it could be either"
    scored(root, ["a.mp4"], job="reproduce")
    assert uris_of(scored_room(root), ["a.mp4"]) == {"a.mp4": "/own/a.mp4"}, "that scores the root's own alone"


def test_the_page_says_of_which_data_set_the_scored_clips_are(root):
    room = root.below("predict-0a1b")
    rooms(root, predict_0a1b="/tuesday/a.mp4")
    write_record(room, Record("folder", "/tuesday"))
    scored(root, ["a.mp4"], "predict-0a1b")
    assert added(root, add_clips).facts["Clips with scores below"] == "1, of the folder /tuesday"
    room.write_bytes(b"{", "dataset.json")
    assert "Clips with scores below" not in added(root, add_clips).facts, "a caption costs no report"


def test_a_root_with_scores_and_no_study_is_told_how_to_run_one(root):
    root.delete_folder("study")
    assert "No study: it was not run (jobs/ablate.py --out" in built(root)


def test_without_labels_figure_5_is_a_sentence(root):
    with_column(root, "labels", [[]] * 240)
    page = added(root, add_clusters)
    assert any("cluster hold): no clip has a label." in line for line in page.missing)
    assert "figure5.png" not in root.names("report", "figures")
    assert "figure4.png" in root.names("report", "figures")


def test_without_dbscan_or_raw_features_the_page_says_how_to_get_them(root):
    root.write_json({}, "artifacts", "tiers.json")
    clusters, raw = added(root, add_clusters, add_pairs).missing
    assert "Figures 3 to 5 (clusters): no DBSCAN measure was fitted: run jobs/ablate.py with table 4" in clusters
    assert "Figure 6 (raw features and score): there is no raw tier" in raw


def test_a_train_split_that_changed_draws_no_wrong_clusters(root):
    with_column(root, "split", ["train"] * 240)
    page = added(root, add_clusters)
    assert "the train split has changed since DBSCAN was fitted" in page.missing[0]
    assert not page.figures


def test_videos_that_are_gone_leave_cards_without_a_frame(root):
    with_column(root, "uri", ["/nowhere/x.mp4"] * 240)
    page = added(root, add_clips)
    assert [card["picture"] for group in page.clips for card in group["clips"]] == [None] * 16


def test_tables_that_were_not_asked_for_are_named(root):
    tables = root.read_json("study", "ablation", "tables.json")
    root.write_json({name: tables[name] for name in ("3", "measures")}, "study", "ablation", "tables.json")
    page = added(root, add_study)
    assert any("Table 1 was not asked for: run jobs/ablate.py --tables 1" in line for line in page.missing)
    assert [table["number"] for table in page.tables] == [3, 5]


def test_what_ran_and_what_it_cost(root):
    config = {"options": {"dataset": "table", "root": "clips.csv"}, "versions": {"ray": "2.60.0"}, "commit": "abc123"}
    for name, hours in (("a", 100), ("b", 75)):
        root.write_json(config, "runs", name, "config.json")
        summary = {"job": "reproduce", "wall_seconds": 60, "clips_done": 240, "clips_rejected": 0}
        root.write_json({**summary, "devices": [spent("V100", hours)]}, "runs", name, "summary.json")
    page = what_ran(root, {"V100": 2.0}, CARBON)
    assert page.costs["energy"] == "43.75 kWh", "the paper's 175 h x 250 W"
    assert page.costs["co2"] == "16.19 kg at 0.37 kg a kWh"
    assert page.costs["dollars"] == "350.00 dollars"
    assert page.facts["Data set"] == "table: clips.csv"
    assert page.facts["Git commit"] == "abc123"
    assert "give --price DEVICE=DOLLARS" in what_ran(root, {}, CARBON).costs["dollars"]


def test_a_search_and_moments_are_drawn_where_they_are(root):
    trials = pd.DataFrame(
        {
            **{name: [0.001, 0.01] for name in ("learning_rate", "gamma", "weight_decay", "strength")},
            **{name: [5, 8] for name in ("step_size", "batch")},
            "hidden": ["512x64", "64"],
            "loss": ["mse", "spearman"],
            "spearman": [0.4, 0.5],
            "complete": True,
        }
    )
    root.write_table(pa.Table.from_pandas(trials), "study", "search", "trials.parquet")
    root.write_json({"metric": "spearman"}, "study", "search", "best.json")
    frame = root.read_table("predictions.parquet").to_pandas().head(4)
    frame = frame.assign(times=[[1.0, 2.0]] * 4, curve=[[0.1, 0.2], [0.3, 0.9], [0.5, 0.5], [0.2, 0.3]])
    root.write_table(pa.Table.from_pandas(frame), "predictions.parquet")
    page = added(root, add_search, add_moments)
    assert [figure.key for figure in page.figures] == ["search", "moments"]
    assert len(pd.read_csv(root.path("report", "figures", "moments.csv"))) == 8


def test_frames_keep_their_shape_and_bad_videos_are_left_out(root, tmp_path):
    good = root.read_table("catalogue.parquet").to_pandas().iloc[0]["uri"]
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    frames = first_frames({"good": good, "bad": str(tmp_path / "bad.mp4"), "none": ""})
    assert list(frames) == ["good"]
    assert frames["good"].shape[1] == 224
    assert frames["good"].dtype == np.uint8


def test_a_root_without_any_run_has_no_costs(root):
    assert what_ran(root, {}, CARBON).costs is None
