"""`ceiling.json`: whose reliability is measured, and what is said where nobody can know it."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from made_roots import made_root
from made_viewers import add_viewers, made_viewed_root

from m3ray.config import TrainConfig
from m3ray.features.load import load_data
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.study.ceiling import describe_ceiling, measure_clips, measure_study_ceilings, read_ceilings, write_ceilings
from m3ray.study.reliability import measure_ceiling, measure_corrected_ceiling
from m3ray.study.store import collect_trials, write_trial
from m3ray.study.study import Study
from m3ray.study.trial import run_trial
from m3ray.study.variants import Variant


def load(root, target="score"):
    return load_data(root, ("raw",), target=target).data


@pytest.fixture(scope="module")
def viewed(tmp_path_factory):
    return made_viewed_root(tmp_path_factory.mktemp("viewed"), rows=240, test=40)


def test_val_test_and_all_clips_have_each_their_own(viewed):
    data = load(viewed)
    ceilings = measure_study_ceilings(data, read_catalogue(viewed))
    assert (ceilings.target, ceilings.basis) == ("score", "score")
    for name, rows in (("val", data.val), ("test", data.test), ("all", np.arange(240))):
        expected = measure_ceiling(data.scores[rows], np.full(len(rows), 40))
        assert ceilings.of(name).reliability == pytest.approx(expected.reliability)
        assert (ceilings.of(name).clips, ceilings.of(name).responses) == (len(rows), 40)


def test_a_study_s_tables_leave_its_ceilings_on_disk(viewed):
    study = Study(viewed, "small", load_data(viewed, ("raw",)), (0,))
    variant = Variant("M3", ("raw",), training=TrainConfig(hidden=(4,), epochs=1))
    write_trial(study, variant, run_trial(variant, study.data, study.seeds, torch.device("cpu")))
    collect_trials(study, [variant])
    kept = read_ceilings(viewed, study.folder)
    assert kept == measure_study_ceilings(study.data, read_catalogue(viewed))
    assert set(viewed.read_json(*study.folder, "ceiling.json")) == {"target", "basis", "val", "test", "all"}
    text = describe_ceiling(kept)
    assert f"can exceed about {kept.of('val').spearman:.3f} for score on val" in text
    assert "with 40 viewers a clip" in text


def test_without_numbers_of_viewers_the_ceiling_is_unknown_and_the_text_says_which_column(tmp_path):
    root = made_root(tmp_path, rows=120)
    ceilings = write_ceilings(Study(root, "small", load_data(root, ("raw",)), (0,)))
    assert ceilings.of("val").spearman is None
    assert describe_ceiling(ceilings).startswith("Ceiling unknown for score on val: the number of viewers")
    assert "(column responses)" in describe_ceiling(ceilings)
    assert ceilings.of("test").reason == "no clip of test has a score"


def test_a_study_of_an_earlier_version_has_no_ceiling(tmp_path):
    root = made_root(tmp_path, rows=120)
    assert "an earlier m3ray" in describe_ceiling(read_ceilings(root, ("study", "ablation")))


def test_the_hit_rate_stands_for_a_score_that_is_no_plain_share(tmp_path):
    root = made_viewed_root(tmp_path, rows=120)
    table = read_catalogue(root)
    lag_corrected = np.array(table["score"].to_pylist()) * 0.5 + 0.45
    root.write_table(
        table.set_column(table.column_names.index("score"), "score", pa.array(lag_corrected)), "catalogue.parquet"
    )
    data = load(root)
    ceilings = measure_study_ceilings(data, read_catalogue(root))
    assert ceilings.basis == "hit_rate"
    rates = np.array(read_catalogue(root)["hit_rate"].to_pylist())
    assert ceilings.of("all").reliability == pytest.approx(measure_ceiling(rates, np.full(120, 40)).reliability)
    assert "measured on the hit rate, as score is no plain share of viewers" in describe_ceiling(ceilings)


def test_each_target_has_its_own_viewers(viewed):
    catalogue = read_catalogue(viewed)
    column = {name: np.array(catalogue[name].to_pylist(), float) for name in catalogue.column_names[5:]}
    n = np.full(240, 40)
    alarms = measure_study_ceilings(load(viewed, "false_alarm_rate"), catalogue).of("all")
    assert alarms.reliability == pytest.approx(measure_ceiling(column["false_alarm_rate"], n).reliability, abs=1e-6)
    corrected = measure_study_ceilings(load(viewed, "corrected"), catalogue).of("all")
    expected = measure_corrected_ceiling(column["hit_rate"], n, column["false_alarm_rate"], n)
    assert (corrected.reliability, corrected.split_half) == (expected.reliability, expected.split_half)
    for target in ("d_prime", "alpha"):
        unknown = measure_study_ceilings(load(viewed, target), catalogue).of("val")
        assert (unknown.spearman, unknown.clips) == (None, 50)
        assert len(unknown.reason) > 20


def test_clips_of_another_root_are_measured_by_their_own_viewers(viewed):
    catalogue = read_catalogue(viewed)
    ids = catalogue["clip_id"].to_pylist()[:60][::-1]
    scores = np.array(catalogue["score"].to_pylist())[:60][::-1]
    responses = np.full(240, 40.0)
    responses[:10] = np.nan
    part = read_catalogue(add_viewers(viewed, responses=responses))
    ceiling = measure_clips(part, ids, "score", scores)
    add_viewers(viewed, responses=np.full(240, 40))
    assert (ceiling.clips, ceiling.left_out) == (50, 10)
    assert ceiling.reliability == pytest.approx(measure_ceiling(scores[:50], np.full(50, 40)).reliability)
