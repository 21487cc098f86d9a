"""Names of several roots, and what each has for a figure or why it has not."""

import pytest
from made_reports import make_small_root

from m3ray.reports.beside_data import name_roots, read_data_sets
from m3ray.reports.figures import Distributions
from m3ray.reports.study_files import STUDY
from m3ray.storage.dataset_record import DatasetRecord
from m3ray.storage.root import Root
from m3ray.storage.root_record import write_record


def make_roots(tmp_path, **kinds):
    """Small roots by folder name; each with a record of that kind of data set, or without one."""
    roots = []
    for name, kind in kinds.items():
        roots.append(make_small_root(tmp_path / name))
        if kind is not None:
            write_record(roots[-1], DatasetRecord(kind, None if kind == "demo" else "/data"))
    return roots


@pytest.mark.parametrize(
    ("kinds", "names"),
    [
        (("memento10k", "videomem"), ["Memento10k", "VideoMem"]),
        (("demo", "table"), ["Demo", "second"]),
        (("memento10k", "memento10k"), ["first", "second"]),
        ((None, "folder"), ["first", "second"]),
    ],
)
def test_a_root_is_named_by_its_data_set_or_its_folder(kinds, names):
    roots = [Root("/data/first"), Root("/elsewhere/second/")]
    assert name_roots(roots, [kind and DatasetRecord(kind) for kind in kinds]) == names


def test_folders_of_one_name_are_told_apart_by_their_addresses():
    roots = [Root("/a/root"), Root("/b/root"), Root("/c/other")]
    assert name_roots(roots, [None] * 3) == ["/a/root", "/b/root", "other"]


def test_a_root_has_a_study_or_says_that_it_has_none(tmp_path):
    full, bare = read_data_sets([make_small_root(tmp_path / "a"), make_small_root(tmp_path / "b", study=False)])
    assert full.target_in_words == "scores"
    assert set(full.read_curves("scores")["variant"]) == {"M3-S", "M3"}
    assert isinstance(full.read_distributions("scores"), Distributions)
    assert full.headline["name"] == "M3-S"
    assert [table["number"] for table in full.tables] == [3, 5]
    assert (
        bare.read_curves("scores")
        == bare.read_distributions("scores")
        == ("no study: m3ray ablate or m3ray reproduce makes one")
    )
    assert (bare.headline, bare.tables, bare.missing) == (
        None, [], ["no study: m3ray ablate or m3ray reproduce makes one."]
    )  # fmt: skip
    assert bare.read_pairs("scores") == "there is no raw tier: m3ray extract --tiers raw"


def test_studies_of_other_targets_are_not_drawn_beside_one_another(tmp_path):
    roots = make_roots(tmp_path, a=None, b=None)
    roots[1].write_json({"target": "d_prime", "basis": "d_prime"}, *STUDY, "ceiling.json")
    first, second = read_data_sets(roots)
    assert second.read_curves(first.target_in_words) == "other numbers: d' here, scores beside it"
    assert second.read_distributions(first.target_in_words) == "other numbers: d' here, scores beside it"


def test_long_term_scores_are_other_numbers_than_short_term_ones(tmp_path):
    roots = make_roots(tmp_path, a="memento10k", b=None)
    write_record(roots[1], DatasetRecord("videomem", "/data", {"target": "long"}))
    first, second = read_data_sets(roots)
    assert second.target_in_words == "long-term scores"
    for part in (second.read_pairs, second.read_curves):
        assert part(first.score_in_words) == "other numbers: long-term scores here, scores beside it"


def test_its_own_report_is_linked_where_there_is_one(tmp_path):
    roots = make_roots(tmp_path, a=None, b=None)
    roots[1].write_bytes(b"", "report", "index.html")
    assert [part.own_page for part in read_data_sets(roots)] == ["", "../../b/report/index.html"]


def test_a_panel_says_where_weights_are_untrained(tmp_path):
    (part,) = read_data_sets(make_roots(tmp_path, a="demo"))
    assert (part.name, part.panel) == ("Demo", "Demo (untrained weights)")
