"""What was planted on the page of a demo, in its files and in the terminal; and nowhere else."""

import json

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from m3ray.config.options import ExtractOptions
from m3ray.config.presets import CARBON
from m3ray.datasets.demo import make_demo
from m3ray.reports.page import build_report
from m3ray.reports.planted_section import add_planted, build_planted_table, describe_planted, read_planted
from m3ray.reports.run_section import start_page
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.dataset_record import make_record
from m3ray.storage.root_record import write_record
from m3ray.study.planted import EFFECTS


@pytest.fixture
def demo(root):
    """The synthetic root, as if its clips were the demo's."""
    catalogue = read_catalogue(root)
    for name in (name for name in catalogue.column_names if name.startswith("drawn_")):
        catalogue = catalogue.drop_columns([name])
    made = make_demo(root, catalogue.num_rows, write=False)
    for name in made[0].extra:
        if name.startswith("drawn_"):
            catalogue = catalogue.append_column(name, [[clip.extra[name] for clip in made]])
    root.write_table(catalogue, "catalogue.parquet")
    write_record(root, make_record(ExtractOptions(out=root.uri, dataset="demo")))
    return root


def add(root):
    page = start_page(root, {}, CARBON, None)
    add_planted(root, page)
    return page.planted


def test_a_row_an_effect_stands_on_the_page_and_in_the_files(demo):
    shown = add(demo)
    assert len(shown["rows"]) == len(EFFECTS)
    assert shown["columns"][:2] == ["What is drawn", "Planted"]
    for ending in ("md", "tex"):
        text = demo.read_bytes("report", "tables", f"planted.{ending}").decode()
        assert "how fast the picture drifts" in text
        assert "drawn, and the networks' weights are random" in text
    frame = pd.read_csv(f"{demo.uri}/report/tables/planted.csv")
    assert list(frame["expected"]) == [True] * 5 + [False] * 4
    told = {"found", "not found", "rightly without a star", "a false star", "not run", "cannot be told: no p"}
    assert set(frame["verdict"]) <= told


def test_the_terminal_has_the_same_rows_and_the_count(demo):
    lines = describe_planted(demo).splitlines()
    assert len(lines) == len(EFFECTS) + 3
    assert "of 5 planted effects have a star" in lines[-1]
    assert all(effect.row in line for effect, line in zip(EFFECTS, lines[2:], strict=False))


def test_the_shares_say_that_oddness_counts_once(demo):
    table = build_planted_table(read_planted(demo))
    note = next(note for note in table.notes if note.startswith("Share of the variance: "))
    assert "oddness stands in two rows and counts once" in note
    once = table.values.drop_duplicates("trait")["share"].sum()
    assert f"together {once:.1%}" in note
    assert "\\label{tab:planted}" in demo_latex(demo), "as its file is named"


def demo_latex(demo):
    add(demo)
    return demo.read_bytes("report", "tables", "planted.tex").decode()


def test_of_few_val_clips_no_share_of_the_known_ceiling_is_claimed(demo):
    """Two clips have a rho of 1 by chance half of the time: "100 % of the 1.000" would say nothing."""
    path = ("study", "ablation", "predictions.parquet")
    table = demo.read_table(*path)
    demo.write_table(table.filter(pc.is_in(table["clip_id"], value_set=table["clip_id"][:2])), *path)
    trials = demo.read_table("study", "ablation", "trials.parquet").to_pandas().assign(delta_p=0.5)
    demo.write_table(pa.Table.from_pandas(trials), "study", "ablation", "trials.parquet")
    planted = read_planted(demo)
    assert {row.verdict for row in planted.rows} <= {"cannot be told: 2 val clips", "not run"}
    assert "2 val clips, and 30 are the fewest that tell much" in planted.summary
    assert "knowing each clip's probability" not in planted.summary


def test_the_table_s_numbers_are_the_study_s(demo):
    planted = read_planted(demo)
    trials = demo.read_table("study", "ablation", "trials.parquet").to_pandas().set_index("variant")
    for row in planted.rows:
        if row.estimate is not None:
            assert row.estimate == trials.loc[row.effect.row, "delta_spearman"]
    assert any(row.estimate is not None for row in planted.rows)
    assert list(build_planted_table(planted).values["estimate"]) == pytest.approx(
        [row.estimate for row in planted.rows], nan_ok=True
    )


def test_the_page_has_it_under_the_headline(demo):
    build_report(demo.uri)
    page = demo.read_bytes("report", "index.html").decode()
    assert page.index("The headline") < page.index('id="planted"') < page.index('id="ran"')


def test_other_data_sets_and_older_demos_have_none(demo, root):
    add(demo)
    record = json.loads(demo.read_bytes("dataset.json"))
    demo.write_json(record | {"dataset": "table", "source": "/clips.csv"}, "dataset.json")
    assert add(demo) is None
    assert not demo.exists("report", "tables", "planted.md"), "what an earlier report left is removed"
    assert describe_planted(demo) == ""
    demo.write_json(record, "dataset.json")
    catalogue = read_catalogue(demo)
    demo.write_table(catalogue.drop_columns(["drawn_probability"]), "catalogue.parquet")
    assert add(demo) is None
    build_report(demo.uri)
    assert 'id="planted"' not in demo.read_bytes("report", "index.html").decode()
