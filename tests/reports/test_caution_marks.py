"""Warnings stand beside the numbers that they are true of, and lead to the whole sentence."""

from made_reports import build_html

from m3ray.reports.caution_marks import UNTRAINED_ID, Mark, key_of, list_cautions, place_marks
from m3ray.study.cautions import Caution

FEW, NEAR = Caution("val has 23 clips.", "clips"), Caution("1 val clip shows the same.", "duplicates")
ONE_CLUSTER = Caution("DBSCAN of event: one cluster.", "clusters", "event")


def test_a_caution_stands_beside_every_number_that_it_is_true_of():
    marks = place_marks([FEW, NEAR])
    few, near = Mark("caution1", "few val clips"), Mark("caution2", "near duplicates in train")
    assert marks["rho"] == marks["table3"] == marks["figure7"] == [few, near]
    assert marks["interval"] == marks["forest"] == [few]
    assert "table5" not in marks, "settings were not measured on val"
    assert "figure3" not in marks


def test_one_cluster_is_marked_at_that_tier_s_figures_alone():
    marks = place_marks([ONE_CLUSTER])
    mark = Mark("caution1", "DBSCAN of event: nearly all in one group")
    for figure in ("figure3", "figure4", "figure5"):
        assert marks[key_of(figure, "event")] == [mark]
        assert key_of(figure, "scene") not in marks
    assert marks["table4"] == [mark]
    assert "rho" not in marks


def test_untrained_networks_are_marked_in_the_headline():
    assert place_marks([], untrained=True)["rho"] == [Mark(UNTRAINED_ID, "untrained networks")]
    assert place_marks([]) == {}


def test_a_study_without_cautions_has_no_mark():
    assert place_marks([]) == {}


def test_a_table_s_file_has_the_sentences():
    assert list_cautions([FEW, ONE_CLUSTER], "table4") == (FEW.text, ONE_CLUSTER.text)
    assert list_cautions([FEW, ONE_CLUSTER], "table1") == (FEW.text,)


def test_every_mark_of_a_page_leads_to_a_place_on_it(root):
    predictions = root.read_table("study", "ablation", "predictions.parquet").to_pandas()
    import pyarrow as pa

    few = predictions.groupby("variant").head(23)
    root.write_table(pa.Table.from_pandas(few, preserve_index=False), "study", "ablation", "predictions.parquet")
    html = build_html(root)
    assert '<li id="caution1">val has 23 clips' in html
    assert '<a href="#caution1"><span aria-hidden="true">⚠ </span>few val clips</a>' in html
    targets = {part.partition('"')[0] for part in html.split('<a href="#')[1:]}
    assert {"caution1", "untrained"} <= targets
    assert [target for target in targets if f'id="{target}"' not in html] == []
    described = {part.partition('"')[0] for part in html.split('aria-describedby="')[1:]}
    assert {"marks-table3", "marks-figure7", "marks-forest"} <= described
    assert [name for name in described if html.count(f'id="{name}"') != 1] == []
