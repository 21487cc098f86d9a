"""The paper's tables on a root: seeds, scores, and when similarity is fitted. No Ray runs."""

from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pytest
from made_roots import made_root

from m3ray.config import SimilarityConfig, TierConfigs, as_json
from m3ray.console import LineKeeper
from m3ray.errors import ConfigError, StudyError
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.study import tables
from m3ray.pipelines.study.tables import fit_similarity, has_scores, make_seeds, read_similarity_config
from m3ray.storage.tier_index import TierEntry, update_tier_index
from m3ray.study.variants import Variant

CLUSTER = Resources(1, 0)
DONE = SimpleNamespace(catalogue="clips", configs=TierConfigs())


def test_run_k_has_the_first_seed_and_k_more():
    assert make_seeds(5, 3) == (5, 6, 7)
    with pytest.raises(ConfigError, match="--runs 0: expected at least 1"):
        make_seeds(5, 0)


@pytest.mark.parametrize(("scores", "expected"), [([None, 0.5], True), ([None, None], False), ([], False)])
def test_one_score_is_enough_to_have_some(scores, expected):
    assert has_scores(pa.table({"score": pa.array(scores, pa.float64())})) is expected


def test_raw_alone_has_nothing_to_compare(monkeypatch, capsys):
    monkeypatch.setattr(tables, "fit_similarity_tier", lambda *_: pytest.fail("it is not to be fitted"))
    fit_similarity("root", ["raw"], DONE, CLUSTER)
    assert "it needs a tier that is a vector" in capsys.readouterr().out


def test_a_fit_that_is_impossible_is_skipped_unless_the_model_needs_it(monkeypatch, capsys):
    def fail(*_):
        raise StudyError("too few clips")

    monkeypatch.setattr(tables, "fit_similarity_tier", fail)
    fit_similarity("root", ["raw", "scene"], DONE, CLUSTER)
    assert "similarity: skipped: too few clips" in capsys.readouterr().out
    with pytest.raises(StudyError, match="too few clips"):
        fit_similarity("root", ["raw", "scene"], DONE, CLUSTER, needed=True)


def test_another_error_of_a_fit_is_not_hidden(monkeypatch):
    def fail(*_):
        raise ValueError("a bug")

    monkeypatch.setattr(tables, "fit_similarity_tier", fail)
    with pytest.raises(ValueError, match="a bug"):
        fit_similarity("root", ["scene"], DONE, CLUSTER)


def test_the_measure_s_settings_are_those_of_its_tier(tmp_path):
    root = made_root(tmp_path, rows=8)
    config = SimilarityConfig(measure="kde", sources=("scene",), seed=9)
    update_tier_index(root, {"similarity": TierEntry("similarity-1", identity={"config": as_json(config)})})
    assert read_similarity_config(root) == config


def test_the_screen_has_the_rows_that_are_compared_first_and_the_log_has_all(capsys):
    names = ["M3-S", "raw alone", "raw without hog"]
    columns = ["features", "parameters", "runs", "spearman", "mse", "delta_spearman"]
    trials = pd.DataFrame({"variant": names} | {column: [1.0, 2.0, float("nan")] for column in columns})
    with LineKeeper() as keeper:
        tables._show_trials(trials, [Variant("M3-S", ("raw",)), Variant("raw alone", ("raw",)), Variant("none", ())])
    shown = capsys.readouterr().out
    assert shown.startswith("study: 2 of 3 rows; ")
    assert "raw alone" in shown
    assert "raw without hog" not in shown
    assert sum("raw without hog" in line for line in keeper.lines) == 1
