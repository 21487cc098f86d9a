"""Figures 3 to 5 on the page: one part a vector tier, and captions that speak of what is drawn."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from made_reports import fill_page, replace_column

from m3ray.reports import cluster_fits
from m3ray.reports.cluster_section import add_clusters
from m3ray.storage.tier_index import TierEntry, update_tier_index


@pytest.fixture(autouse=True)
def _few_clips(monkeypatch):
    """t-SNE of 60 clips: a sample, as of a large data set."""
    monkeypatch.setattr(cluster_fits, "MOST_CLIPS", 60)


def add_tier(root, name, values):
    """A vector tier of a root, with a row for each clip of its catalogue."""
    ids = root.read_table("catalogue.parquet", columns=["clip_id"])["clip_id"].to_pylist()
    folder = name.replace(":", "-") + "-1"
    vectors = pa.array(list(values.astype(np.float32)), pa.list_(pa.float32(), values.shape[1]))
    root.write_shard(pa.table({"clip_id": ids, "vector": vectors}), ("features", folder), {})
    update_tier_index(root, {name: TierEntry(folder, user_provided=True, identity={})})


def planted(groups, seed=0):
    """Vectors of 240 clips around a few far centres, which tell the groups apart beyond doubt."""
    rng = np.random.default_rng(seed)
    centres = 50 * np.eye(groups, 12)
    return centres[np.arange(240) % groups] + rng.normal(0, 1, (240, 12))


def test_figures_4_and_5_are_of_the_catalogue_s_scores(root):
    fill_page(root, add_clusters)
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


def test_without_labels_figure_5_is_a_sentence(root):
    replace_column(root, "labels", [[]] * 240)
    page = fill_page(root, add_clusters)
    assert any("cluster hold): no clip has a label." in line for line in page.missing)
    assert "figure5.png" not in root.list_names("report", "figures")
    assert "figure4.png" in root.list_names("report", "figures")


def test_without_a_vector_tier_the_page_says_how_to_get_one(root):
    root.write_json({}, "artifacts", "tiers.json")
    (said,) = fill_page(root, add_clusters).missing
    assert said == "Figures 3 to 5 (clusters): the root has no vector tier: m3ray extract --tiers scene event."


def test_every_vector_tier_has_its_part_of_figures_3_to_5(root):
    add_tier(root, "captions", planted(4))
    page = fill_page(root, add_clusters)
    titles = {figure.key: figure.title for figure in page.figures}
    assert titles["figure4"] == "Figure 4. Memorability by cluster: event", "the paper's stays the first"
    parts = ["figure4", "figure4-scene", "figure4-captions", "figure5", "figure5-scene", "figure5-captions"]
    assert set(titles) == {"figure3", *parts}
    assert page.figures[0].places == ("figure3", *(f"figure3 of {tier}" for tier in ("event", "scene", "captions")))
    points = pd.read_csv(root.path("report", "figures", "figure3.csv"))
    assert set(points["tier"]) == {"scene", "event", "captions"}
    assert "The clusters of captions were found for these figures alone" in page.figures[0].caption
    assert "of the captions tier" in next(f.caption for f in page.figures if f.key == "figure4-captions")


def test_a_root_of_a_user_s_tier_alone_has_the_figures(root):
    root.write_json({}, "artifacts", "tiers.json")
    add_tier(root, "timm:vit_small", planted(3))
    page = fill_page(root, add_clusters)
    assert [figure.key for figure in page.figures] == ["figure3", "figure4", "figure5"]
    assert "of the timm:vit_small tier" in page.figures[1].caption
    has_noise = (pd.read_csv(root.path("report", "figures", "figure4.csv"))["cluster"] == -1).any()
    assert ("cluster -1" in page.figures[1].caption) == has_noise, "captions speak of what is drawn"
    assert not any("15 largest" in figure.caption for figure in page.figures), "there are fewer"


def test_a_tier_of_two_numbers_is_said_to_have_no_plane(root):
    add_tier(root, "length", np.random.default_rng(0).normal(size=(240, 2)))
    page = fill_page(root, add_clusters)
    assert page.missing == ["Figures 3 to 5 (clusters) of length: it has 2 columns, 3 are the fewest."]
