"""The study on the page: its tables and headline."""

import pandas as pd
import pyarrow as pa
import pytest
from made_reports import fill_page, make_trials

from m3ray.reports.page import build_report
from m3ray.reports.study_section import add_study, fill_cells, remove_hidden_tables
from m3ray.reports.tables.study import build_study_table

FOLDER = ("study", "ablation")


def keep_tables(root, **changes):
    tables = root.read_json(*FOLDER, "tables.json")
    root.write_json({name: tables[name] for name in ("3", "measures")} | changes, *FOLDER, "tables.json")


def write_targets(root, **changes):
    """Table 6 of the root's own study, but for what changes of the study that it says to be of."""
    config = root.read_json(*FOLDER, "config.json") | {"key": "made", "seeds": [0, 1]}
    root.write_json(config, *FOLDER, "config.json")
    full = root.read_json(*FOLDER, "tables.json")["measures"]["full"]
    row = {"variant": full, "runs": 2, "clips": 40, "test_clips": 0, "mse": 0.01, "status": "done", "reason": "",
           "spearman": 0.5, "spearman_std": 0.01, "ensemble_spearman": 0.52, "test_spearman": None, "ceiling": 0.8,
           "share": 0.65, "share_low": 0.6, "share_high": 0.7}  # fmt: skip
    rows = pd.DataFrame([row | {"target": name} for name in ("score", "alpha")])
    among = pd.DataFrame({"target": ["score", "alpha"], "score": [1.0, 0.3], "alpha": [0.3, 1.0]})
    root.write_table(pa.Table.from_pandas(rows), *FOLDER, "targets.parquet")
    root.write_table(pa.Table.from_pandas(among), *FOLDER, "target_correlations.parquet")
    made_of = {
        "key": config["key"],
        "seeds": config["seeds"],
        "models": [variant for variant in config["variants"] if variant["name"] == full],
        "folders": {name: entry["folder"] for name, entry in config["tiers"].items()},
    }
    root.write_json(made_of | changes, *FOLDER, "targets.json")


def test_tables_of_an_earlier_study_are_removed(root):
    root.write_bytes(b"mine", "report", "tables", "table1-mine.md")
    build_report(root.uri)
    keep_tables(root)
    build_report(root.uri)
    kept = {f"table{number}.{kind}" for number in (3, 5) for kind in ("md", "tex", "csv")}
    kept |= {"table3_short.tex", "table1-mine.md"}
    assert set(root.list_names("report", "tables")) == kept


def test_a_root_without_tables_has_none_to_remove(root):
    root.delete_folder("report")
    remove_hidden_tables(root, [])
    assert not root.exists("report"), "nor is a folder made for them"


def test_table_6_of_the_study_is_shown(root):
    write_targets(root)
    page = fill_page(root, add_study)
    assert page.tables[-1]["number"] == 6
    assert not any("Table 6" in line for line in page.missing)


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "other clips, scores or target"},
        {"seeds": [7, 8]},
        {"models": []},
        {"folders": {"raw": "raw-other", "scene": "scene-other"}},
    ],
)
def test_table_6_of_another_study_is_left_out(root, changes):
    write_targets(root, **changes)
    page = fill_page(root, add_study)
    assert 6 not in [table["number"] for table in page.tables]
    assert any("Table 6 is left out: the root's is of another study" in line for line in page.missing)


def test_table_6_with_other_epochs_is_left_out(root):
    full = root.read_json(*FOLDER, "tables.json")["measures"]["full"]
    own = next(v for v in root.read_json(*FOLDER, "config.json")["variants"] if v["name"] == full)
    other = own | {"training": own["training"] | {"epochs": own["training"]["epochs"] + 1}}
    write_targets(root, models=[other])
    assert 6 not in [table["number"] for table in fill_page(root, add_study).tables]


def test_table_6_that_does_not_say_what_it_is_of_is_left_out(root):
    write_targets(root)
    root.delete(*FOLDER, "targets.json")
    page = fill_page(root, add_study)
    assert 6 not in [table["number"] for table in page.tables]
    assert any("Table 6 is left out" in line for line in page.missing)


def test_another_target_is_named_in_titles_on_the_page_and_in_the_files(root):
    score = fill_page(root, add_study)
    assert not any("Target" in table["title"] for table in score.tables)
    root.write_json({"target": "alpha", "basis": "alpha"}, *FOLDER, "ceiling.json")
    page = fill_page(root, add_study)
    assert all(table["title"].endswith(". Target: decay (alpha)") for table in page.tables)
    for kind in ("md", "tex"):
        assert "Target: decay (alpha)." in root.read_bytes("report", "tables", f"table3.{kind}").decode()


def test_a_table_without_rows_is_left_out_with_the_reason(root):
    """Without raw, Table 2 was one row that said: not run."""
    keep_tables(root, **{"1": [], "2": []})
    page = fill_page(root, add_study)
    assert [table["number"] for table in page.tables] == [3, 5]
    for number in (1, 2):
        assert f"Table {number} is left out: raw is not among the study's tiers." in page.missing
    assert not any("Table 2 was not asked for" in line for line in page.missing)


def test_tables_that_were_not_asked_for_are_named(root):
    tables = root.read_json("study", "ablation", "tables.json")
    root.write_json({name: tables[name] for name in ("3", "measures")}, "study", "ablation", "tables.json")
    page = fill_page(root, add_study)
    assert any("Table 1 was not asked for: run m3ray ablate --tables 1" in line for line in page.missing)
    assert [table["number"] for table in page.tables] == [3, 5]


def test_cells_of_the_best_two_are_marked():
    content = fill_cells(build_study_table(3, make_trials(), ["M3-S", "M3", "M3 without raw"]))
    rho, mse = content["columns"].index("rho"), content["columns"].index("MSE")
    assert [row[rho].mark for row in content["rows"]] == ["best", "", "second"]
    assert [row[mse].mark for row in content["rows"]] == ["second", "best", ""]
    assert {row[0].mark for row in content["rows"]} == {""}


def test_files_of_a_table_say_what_its_numbers_are_to_be_read_with(root):
    """Of a root of few val clips; Table 5 has the settings alone, which no number of clips is true of."""
    predictions = root.read_table(*FOLDER, "predictions.parquet").to_pandas()
    few = predictions.groupby("variant").head(12)
    root.write_table(pa.Table.from_pandas(few, preserve_index=False), *FOLDER, "predictions.parquet")
    page = fill_page(root, add_study)
    said = "val has 12 clips, and 30 are the fewest that tell much"
    for name in ("table3.md", "table3.tex", "table3_short.tex"):
        assert said in root.read_bytes("report", "tables", name).decode(), name
    assert said not in root.read_bytes("report", "tables", "table5.md").decode()
    assert said not in str(page.tables), "on the page marks stand beside the table"


def test_figure_7_of_a_weighed_study_has_the_tables_rho(root):
    tables = root.read_json(*FOLDER, "tables.json")
    note = {"notes": {"weights": "a clip weighs as many viewers as it had"}}
    root.write_json(tables | note, *FOLDER, "tables.json")
    trials = root.read_table(*FOLDER, "trials.parquet").to_pandas()
    trials.loc[trials["variant"] == tables["measures"]["full"], "ensemble_spearman"] = 0.1234
    root.write_table(pa.Table.from_pandas(trials), *FOLDER, "trials.parquet")
    page = fill_page(root, add_study)
    assert page.headline["ensemble"] == "0.1234"
    assert b"rho of the runs' mean, clips weighed by their viewers 0.123" in root.read_bytes(
        "report", "figures", "figure7.svg"
    )
    caption = next(figure.caption for figure in page.figures if figure.key == "figure7")
    assert "The tables weigh clips by their viewers (--weigh responses), and that rho does too" in caption


# Table 7


def add_regressors(root):
    """A ridge beside the full model, as a study leaves it; tables before it as they were."""
    tables = root.read_json(*FOLDER, "tables.json")
    full = tables["measures"]["full"]
    for name in ("trials", "runs", "predictions"):
        frame = root.read_table(*FOLDER, f"{name}.parquet").to_pandas()
        own = frame[frame["variant"] == full].assign(variant="ridge, all tiers")
        if name == "trials":
            numbers = {"delta_spearman": 0.3, "delta_low": 0.25, "delta_high": 0.35, "delta_p": 1e-6, "delta_df": 50.0}
            own = own.assign(full=full, runs=1, delta_runs=4, delta_clips=60, **numbers)
        if name == "runs":
            own = own[own["epoch"] == 1].assign(epoch=0)
        root.write_table(pa.Table.from_pandas(pd.concat([frame, own], ignore_index=True)), *FOLDER, f"{name}.parquet")
    root.write_json(tables | {"7": [full, "ridge, all tiers"]}, *FOLDER, "tables.json")
    return full


def test_table_7_is_on_the_page_and_in_the_files(root):
    full = add_regressors(root)
    page = fill_page(root, add_study)
    table = next(table for table in page.tables if table["number"] == 7)
    assert [row[0].lines[0] for row in table["rows"]] == [full, "ridge, all tiers"]
    assert root.read_bytes("report", "tables", "table7.md").decode().startswith("**Table 7.** What the MLP is worth")
    assert {"table7.csv", "table7.tex"} <= set(root.list_names("report", "tables"))
    assert not any("Table 7" in line for line in page.missing)


def test_rows_of_table_7_are_in_no_other_table_and_in_no_figure(root):
    def read(page):
        others = [table for table in page.tables if table["number"] != 7]
        return others, {figure.title: (figure.caption, figure.alt) for figure in page.figures}

    without = read(fill_page(root, add_study))
    forest, curves = (root.read_bytes("report", "figures", f"{name}.csv") for name in ("forest", "figure2"))
    add_regressors(root)
    assert read(fill_page(root, add_study)) == without
    assert root.read_bytes("report", "figures", "forest.csv") == forest
    assert root.read_bytes("report", "figures", "figure2.csv") == curves
    tables = root.read_json(*FOLDER, "tables.json")
    root.write_json({name: tables[name] for name in ("7", "measures")}, *FOLDER, "tables.json")
    fill_page(root, add_study)
    drawn = root.read_bytes("report", "figures", "figure2.csv").decode()
    assert "ridge" not in drawn, "without Table 3 every variant is drawn, but one that has no epochs"


def test_a_study_without_table_7_says_how_to_make_it(root):
    keep_tables(root)
    assert any("Table 7 was not asked for: run m3ray ablate --tables 7" in line for line in fill_missing(root))
    keep_tables(root, **{"7": []})
    reason = "Table 7 is left out: the train split is too small to hold fifths of it out."
    assert reason in fill_missing(root)


def fill_missing(root):
    return fill_page(root, add_study).missing


# Pretrained scorers


def add_pretrained(root):
    """A pretrained scorer in Table 3, as a study leaves it."""
    tables, config = root.read_json(*FOLDER, "tables.json"), root.read_json(*FOLDER, "config.json")
    full, name = tables["measures"]["full"], "ResMem, not trained here"
    for file in ("trials", "runs", "predictions"):
        frame = root.read_table(*FOLDER, f"{file}.parquet").to_pandas()
        own = frame[frame["variant"] == full].assign(variant=name)
        if file == "trials":
            numbers = {"delta_spearman": -0.3, "delta_low": -0.35, "delta_high": -0.25, "delta_p": 1e-6}
            own = own.assign(full=full, tiers="resmem", runs=1, delta_runs=4, delta_clips=60, **numbers)
        if file == "runs":
            own = own[own["epoch"] == 1].assign(epoch=0, val_spearman=0.25)
        root.write_table(pa.Table.from_pandas(pd.concat([frame, own], ignore_index=True)), *FOLDER, f"{file}.parquet")
    root.write_json(tables | {"3": [*tables["3"], name]}, *FOLDER, "tables.json")
    row = next(v for v in config["variants"] if v["name"] == full) | {"name": name, "full": full, "tiers": ["resmem"]}
    config["variants"].append(row | {"pretrained": "resmem"})
    root.write_json(config, *FOLDER, "config.json")
    return name


def test_a_pretrained_scorer_is_a_row_of_table_3_with_its_licence_and_a_level_line(root):
    fill_page(root, add_study)
    forest = root.read_bytes("report", "figures", "forest.csv").decode()
    name = add_pretrained(root)
    page = fill_page(root, add_study)
    table = next(table for table in page.tables if table["number"] == 3)
    assert table["rows"][-1][0].lines[0] == name
    tiers = table["columns"].index("Tiers used")
    assert table["rows"][-1][tiers].lines == ("ResMem",)
    assert sum("noncommercial use only" in note for note in table["notes"]) == 1
    assert not any("noncommercial" in note for other in page.tables if other["number"] != 3 for note in other["notes"])
    drawn = pd.read_csv(root.path("report", "figures", "figure2.csv"))
    level = drawn[drawn["variant"] == name]
    assert level[["epoch", "mean"]].values.tolist() == [[0, 0.25]]
    assert level["deviation"].isna().all(), "one model has none"
    assert "Dotted and level" in next(figure.caption for figure in page.figures if figure.key == "figure2")
    after = root.read_bytes("report", "figures", "forest.csv").decode()
    assert "ResMem" not in after, "it leaves nothing out"
    assert after.count("\n") == forest.count("\n")


def test_the_forest_s_caption_says_what_its_axis_leaves_out_and_by_which_rule(root):
    assert "beyond the axis" not in find_caption(fill_page(root, add_study), "forest")
    trials = root.read_table(*FOLDER, "trials.parquet").to_pandas()
    far = trials["variant"] == "M3 without raw"
    trials.loc[far, ["delta_spearman", "delta_low", "delta_high"]] = [-0.9, -1.0, -0.8]
    root.write_table(pa.Table.from_pandas(trials, preserve_index=False), *FOLDER, "trials.parquet")
    caption = find_caption(fill_page(root, add_study), "forest")
    assert "rows reaches beyond the axis, which ends three quartile ranges beyond the quartiles" in caption
    assert "an arrow at its end, and the number" in caption


def find_caption(page, key):
    return next(figure.caption for figure in page.figures if figure.key == key)


@pytest.mark.parametrize(("clips", "drawn"), [(40, False), (48, True)])
def test_the_calibration_s_caption_speaks_of_tenths_where_they_are_drawn(root, clips, drawn):
    """Five clips are the fewest of a tenth: 41 give the first tenth five."""
    predictions = root.read_table(*FOLDER, "predictions.parquet").to_pandas().groupby("variant").head(clips)
    root.write_table(pa.Table.from_pandas(predictions, preserve_index=False), *FOLDER, "predictions.parquet")
    assert ("Dark dots" in find_caption(fill_page(root, add_study), "calibration")) == drawn


def test_tables_stand_by_their_numbers(root):
    write_targets(root)
    add_regressors(root)
    numbers = [table["number"] for table in fill_page(root, add_study).tables]
    assert numbers == sorted(numbers)
    assert {5, 7} < set(numbers)
