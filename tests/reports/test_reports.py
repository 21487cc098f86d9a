import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from matplotlib import pyplot as plt

from m3ray.config import TrainConfig, as_json
from m3ray.datasets.catalogue import write_catalogue
from m3ray.errors import StudyError
from m3ray.reports import figures
from m3ray.reports.page import build_report
from m3ray.reports.style import house_style, image
from m3ray.reports.tables import study as tables
from m3ray.reports.tables.table4 import measures_table
from m3ray.reports.tables.table5 import parameters_table
from m3ray.schema import REJECTS, Clip, catalogue_table
from m3ray.storage.root import Root
from m3ray.storage.tier_index import remember_tiers

HOSTILE = '<script>alert("1")</script>"\'' + "ü漢" + "x" * 300


def runs_frame(runs=3, epochs=4, names=("M3-S", "M3")):
    rng = np.random.default_rng(0)
    levels = [names, range(runs), range(1, epochs + 1)]
    index = pd.MultiIndex.from_product(levels, names=["variant", "run", "epoch"])
    return index.to_frame(index=False).assign(val_spearman=rng.random(len(index)))


def trials_frame():
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
    frame = frame.assign(boot_low=frame["delta_low"] * 2, boot_high=frame["delta_high"] + 0.02, test_spearman=np.nan)
    return frame.assign(features=2783, parameters=1458305, runs=4, best_epoch=10, best_spearman=0.64)


def test_figure_2_draws_means_bands_and_best_epochs():
    runs = runs_frame()
    with house_style():
        figure, data = figures.validation_curves(runs)
        lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 4]
        for line, name in zip(lines, ("M3-S", "M3"), strict=True):
            means = runs[runs["variant"] == name].groupby("epoch")["val_spearman"].mean()
            np.testing.assert_allclose(line.get_ydata(), means)
        dots = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
        assert [d.get_ydata()[0] for d in dots] == [data[data["variant"] == n]["mean"].max() for n in ("M3-S", "M3")]
        assert len(figure.axes[0].collections) == 2
        assert image(figure, "png").startswith(b"\x89PNG")
        assert b"<text" in image(figure, "svg"), "vector text, not outlines"


def test_figure_2_of_one_run_has_no_band():
    with house_style():
        figure, data = figures.validation_curves(runs_frame(runs=1))
        assert not figure.axes[0].collections
        assert data["deviation"].isna().all()


def test_figure_7_ranks_each_by_itself():
    rng = np.random.default_rng(0)
    predictions = pd.DataFrame({"truth": rng.random(30), "score": rng.random(30)})
    with house_style():
        figure, data = figures.distributions(predictions)
        truth, prediction = figure.axes[1].lines
        np.testing.assert_allclose(truth.get_ydata(), np.sort(predictions["truth"])[::-1])
        np.testing.assert_allclose(prediction.get_ydata(), np.sort(predictions["score"])[::-1])
        assert data["rank"].tolist() == list(range(1, 31))
    assert not plt.get_fignums(), "figures are closed"


def test_tables_mark_best_second_and_intervals():
    table = tables.study_table(3, trials_frame(), ["M3-S", "M3", "M3 without raw", "missing"])
    text = tables.markdown(table)
    assert "**0.6300**" in text
    assert "<u>0.6100</u>" in text
    assert "**0.00660**" in text
    assert "-0.0300 [-0.0500, -0.0100] *" in text
    assert "-0.0200 [-0.0500, +0.0100] |" in text, "an interval that holds 0 has no mark"
    latex = tables.latex(table, "Untrained & so on. ")
    assert r"\textbf{0.6300}" in latex
    assert r"\underline{0.6100}" in latex
    assert r"Untrained \& so on" in latex
    assert latex.count(r"\\") == 4
    assert "nan" not in text.lower() + latex.lower()


def measure_trials():
    """M3-S with DBSCAN, M3, and two measures: one trained, one that is constant."""
    rows = [
        ("M3-S", None, 0.63, np.nan, np.nan, np.nan, "done"),
        ("M3", "M3-S", 0.60, -0.03, -0.05, -0.01, "done"),
        ("similarity alone", None, 0.34, np.nan, np.nan, np.nan, "done"),
        ("kde alone", None, np.nan, np.nan, np.nan, np.nan, "4 of 4 runs diverged or are constant"),
        ("M3 + kde", "M3", 0.61, 0.01, -0.01, 0.03, "done"),
    ]
    names = ["variant", "full", "spearman", "delta_spearman", "delta_low", "delta_high", "status"]
    frame = pd.DataFrame(rows, columns=names)
    return frame.assign(features=852, spearman_std=0.01, mse=0.01, boot_low=-0.02, boot_high=0.02)


def test_table_4_prints_what_each_measure_is_adds_and_lacks():
    facts = {"own": "dbscan", "full": "M3-S", "skipped": {"kde_labels": "no label has 150 train clips"}}
    table = measures_table(measure_trials(), facts)
    frame = table.frame.set_index("Measure")
    assert list(frame.index) == ["kde", "kde_labels", "dbscan"], "the paper's order; others were not asked for"
    assert frame.loc["dbscan", "Contribution"] == "+0.0300 [+0.0100, +0.0500] *", "M3's, turned round"
    assert frame.loc["kde", "Contribution"] == "+0.0100 [-0.0100, +0.0300]"
    assert frame.loc["kde", "rho"] == "undefined: 4 of 4 runs diverged or are constant"
    assert frame.loc["kde_labels", "Contribution"] == "skipped: no label has 150 train clips"
    assert frame.loc["kde_labels", ["Ref", "Applicable to"]].tolist() == ["4.b", "clips with labels"]
    assert "nan" not in tables.markdown(table).lower()


def test_table_5_is_the_paper_s():
    """The supplement, Table 5."""
    variant = {"name": "M3-S", "training": as_json(TrainConfig()), "tiers": ["raw", "scene", "event", "similarity"]}
    frame = parameters_table(variant).frame.set_index("Parameter")
    assert frame.loc["Normalizing"].tolist() == ["raw, similarity"] * 3
    assert frame.loc["Hidden channels"].tolist() == ["[512, 64, 1]"] * 3
    assert frame.loc["Batch size"].tolist() == ["32"] * 3
    assert frame.loc["Learning rate"].tolist() == ["0.001"] * 3
    assert frame.loc["Scheduler"].tolist() == ["StepLR, gamma = 0.2, step size = 5"] * 3
    assert frame.loc["Weight decay"].tolist() == ["1e-05"] * 3
    assert frame.loc["Loss", "Memento10k"].startswith("MSE (tails")
    assert frame.loc["Loss", "VideoMem"].startswith("MSE to Spearman")


@pytest.mark.parametrize(("scaled", "words"), [(True, "text"), (False, "none")])
def test_table_5_says_whether_a_brought_tier_was_scaled(scaled, words):
    variant = {"name": "M3", "training": as_json(TrainConfig()), "tiers": ["text"]}
    frame = parameters_table(variant, {"text": {"scaled": scaled}}).frame.set_index("Parameter")
    assert frame.loc["Normalizing", "M3"] == words


def test_table_2_says_that_the_unfrozen_model_was_not_run():
    table = tables.study_table(2, trials_frame(), ["M3-S", "M3"])
    assert table.frame["Model"].tolist() == ["M3-S", "M3", "M3-S, unfrozen: not run"]
    assert "M3-S, unfrozen: not run" in tables.latex(table)


def small_root(tmp_path, *, study=True):
    root = Root(str(tmp_path))
    write_catalogue(root, catalogue_table([Clip(HOSTILE, "x"), Clip("b", "y", score=0.5)]), 0)
    rows = [{"clip_id": HOSTILE, "uri": "x", "stage": "decode", "error": "damaged", "message": "<b>bold</b>"}]
    root.write_shard(pa.Table.from_pylist(rows, schema=REJECTS), ("rejects",), {})
    remember_tiers(root, {"scene": {"folder": "scene-1", "untrained": True, "identity": {}}})
    if study:
        predictions = pd.DataFrame({"variant": "M3-S", "truth": [0.1, 0.9, 0.5], "score": [0.2, 0.8, 0.6]})
        for name, frame in (("trials", trials_frame()), ("runs", runs_frame()), ("predictions", predictions)):
            root.write_table(pa.Table.from_pandas(frame), "study", "ablation", f"{name}.parquet")
        measures = {"own": None, "full": "M3-S", "skipped": {}}
        root.write_json({"3": ["M3-S", "M3"], "measures": measures}, "study", "ablation", "tables.json")
        variant = {"name": "M3-S", "training": as_json(TrainConfig()), "tiers": ["raw"]}
        root.write_json({"variants": [variant], "tiers": {}}, "study", "ablation", "config.json")
    return root


def test_the_page_holds_hostile_text_as_text_and_asks_for_no_address(tmp_path):
    root = small_root(tmp_path)
    build_report(root.uri)
    html = (tmp_path / "report" / "index.html").read_text()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html
    assert "<b>bold</b>" not in html
    assert "http://" not in html
    assert "https://" not in html
    assert "Untrained weights" in html
    assert html.count("<img") == html.count('alt="') == 4
    for name in (
        "tables/table3.md",
        "tables/table3.csv",
        "tables/table3.tex",
        "figures/figure2.svg",
        "figures/figure7.csv",
        "figures/calibration.png",
        "figures/forest.csv",
    ):
        assert (tmp_path / "report" / name).stat().st_size > 0
    assert "UNTRAINED" in (tmp_path / "report" / "tables" / "table3.md").read_text()


def test_a_root_without_a_study_says_what_is_missing(tmp_path):
    build_report(small_root(tmp_path, study=False).uri)
    html = (tmp_path / "report" / "index.html").read_text()
    assert "No study" in html
    assert "No predictions" in html


def test_an_empty_root_is_refused(tmp_path):
    with pytest.raises(StudyError, match="does not exist"):
        build_report(str(tmp_path))
