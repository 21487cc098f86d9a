"""Repeated splits of a study on a root: what is trained, what is cached, who stays together. Ray's tasks run here."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from made_roots import made_root

from m3ray.config import SimilarityConfig, TrainConfig, as_json
from m3ray.config.options import ReproduceOptions
from m3ray.errors import ConfigError, StudyError
from m3ray.features.load import load_data
from m3ray.pipelines import jobs
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.study import folds
from m3ray.pipelines.study.folds import (
    check_enough_clips,
    check_root_clips,
    describe_splits,
    read_splits,
    run_splits,
)
from m3ray.schema import vector_schema
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.tier_index import TierEntry, update_tier_index
from m3ray.study.study import Study
from m3ray.study.variants import Variant

CLUSTER = Resources(2, 0)
TINY = TrainConfig(hidden=(4,), epochs=2)
FULL = Variant("full", ("raw", "scene"), training=TINY)
RAW = Variant("raw alone", ("raw",), training=TINY, full="full")
SIMILAR = Variant("with similarity", ("raw", "similarity"), training=TINY, full="full")
TRIALS = pd.DataFrame({"variant": ["full", "raw alone"], "full": [None, "full"], "spearman": [0.5, 0.4]})


class Outcome:
    """What a task gave, for `ray.get`."""

    def __init__(self, value=None, error=None):
        self.value, self.error = value, error

    def get(self):
        if self.error is not None:
            raise self.error
        return self.value


class LocalTask:
    """A Ray task that runs at once, in this process, and is noted."""

    def __init__(self, name, function, calls):
        self.name, self.function, self.calls = name, function, calls

    def options(self, **_):
        return self

    def remote(self, *args):
        self.calls.append(self.name)
        try:
            return Outcome(self.function(*(a.get() if isinstance(a, Outcome) else a for a in args)))
        except RuntimeError as error:
            return Outcome(error=error)


@pytest.fixture
def calls(monkeypatch):
    """Names of the tasks that ran."""
    noted = []
    for name in ("_project_task", "_refit_task", "_train_task"):
        monkeypatch.setattr(folds, name, LocalTask(name, getattr(folds, name)._function, noted))
    local = SimpleNamespace(
        put=lambda value: value,
        get=lambda outcome: outcome.get(),
        wait=lambda waiting, **_: (waiting, []),
    )
    monkeypatch.setattr(folds, "ray", local)
    return noted


@pytest.fixture
def study(tmp_path):
    return make_study(made_root(tmp_path, rows=40))


def make_study(root, tiers=("raw", "scene"), seeds=(0, 1)):
    return Study(root, "ablation", load_data(root, tiers), seeds)


def add_similarity(root, measure="fractional_mean"):
    """A similarity tier of the root: its numbers are made up, as each split fits it anew."""
    ids = read_catalogue(root)["clip_id"].to_pylist()
    table = pa.table({"clip_id": ids, "similarity": [[0.0]] * len(ids)}, schema=vector_schema("similarity", 1))
    root.write_shard(table, ("features", "similarity-made"), {})
    config = as_json(SimilarityConfig(measure=measure, sources=("scene",), components=3))
    update_tier_index(root, {"similarity": TierEntry("similarity-made", identity={"config": config})})


def run(study, variants=(FULL, RAW), count=3, trials=TRIALS, seed=0):
    return run_splits(study, variants, trials, count, seed, CLUSTER).set_index("variant")


def test_every_variant_is_trained_in_every_split_and_the_tables_say_so(study, calls):
    table = run(study)
    assert calls == ["_train_task"] * 6
    kept = study.root.read_table("study", "ablation", "folds.parquet").to_pandas()
    assert sorted(zip(kept["variant"], kept["fold"], strict=True)) == sorted(
        (v, k) for v in ("full", "raw alone") for k in range(3)
    )
    assert (kept["train"] + kept["val"] == 40).all()
    for name, rows in kept.groupby("variant"):
        assert table.loc[name, "splits_spearman"] == pytest.approx(rows["spearman"].mean())
        assert table.loc[name, "splits_spearman_std"] == pytest.approx(rows["spearman"].std(ddof=1))
    assert table.loc["full", "spearman"] == 0.5, "the root's own split stays the main result"
    written = study.root.read_table("study", "ablation", "trials.parquet").to_pandas().set_index("variant")
    assert written.loc["raw alone", "splits_delta"] == pytest.approx(table.loc["raw alone", "splits_delta"])


def test_a_killed_job_goes_on_with_what_was_trained(study, calls, monkeypatch, capsys):
    whole, done = folds.train_in_split, []

    def killed(*args):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(whole(*args))
        return done[-1]

    monkeypatch.setattr(folds, "train_in_split", killed)
    with pytest.raises(KeyboardInterrupt):
        run(study)
    monkeypatch.setattr(folds, "train_in_split", whole)
    calls.clear()
    capsys.readouterr()
    table = run(study)
    assert calls == ["_train_task"] * 2
    assert "2 variants x 3 splits x 2 runs; 4 trainings cached" in capsys.readouterr().out
    calls.clear()
    pd.testing.assert_frame_equal(run(study), table)
    assert calls == []


def test_progress_is_told_line_by_line(study, calls, monkeypatch, capsys):
    monkeypatch.setattr(folds, "_LINE_SECONDS", 0)
    monkeypatch.setattr(folds.ray, "wait", lambda waiting, **_: (waiting[:1], waiting[1:]))
    run(study)
    lines = [line for line in capsys.readouterr().out.splitlines() if "/6 trainings" in line]
    assert [line.split()[1] for line in lines] == ["1/6", "2/6", "3/6", "4/6", "5/6"]
    assert all(line.endswith(" left") for line in lines), "a tenth of them is done with the first"


def test_other_splits_runs_or_settings_are_trained_anew(study, calls):
    run(study)
    calls.clear()
    run(study, seed=1)
    assert len(calls) == 6
    run(replace(study, seeds=(5, 6)))
    assert len(calls) == 12
    run(study, [FULL, replace(RAW, training=replace(TINY, epochs=3))])
    assert len(calls) == 12 + 3


def test_a_training_that_breaks_is_undefined_and_tried_again(study, calls, monkeypatch, capsys):
    whole = folds.train_in_split

    def broken(splits, variant, fold, *rest):
        if (variant.name, fold) == ("raw alone", 1):
            raise RuntimeError("out of luck")
        return whole(splits, variant, fold, *rest)

    monkeypatch.setattr(folds, "train_in_split", broken)
    table = run(study)
    assert np.isnan(table.loc["raw alone", "splits_spearman"])
    assert np.isnan(table.loc["raw alone", "splits_delta"])
    assert table.loc["raw alone", "splits_reason"].startswith("undefined in 1 of 3 splits; split 2: failed: ")
    assert table.loc["full", "splits_spearman"] == pytest.approx(table.loc["full", "splits_spearman"])
    assert "raw alone failed in split 2" in capsys.readouterr().out
    monkeypatch.setattr(folds, "train_in_split", whole)
    calls.clear()
    assert np.isfinite(run(study).loc["raw alone", "splits_spearman"])
    assert calls == ["_train_task"]


def test_similarity_is_fitted_once_a_split_and_kept(tmp_path, calls):
    root = made_root(tmp_path, rows=40)
    add_similarity(root)
    study = make_study(root, ("raw", "scene", "similarity"))
    other = replace(SIMILAR, name="similarity alone", tiers=("similarity",), full=None)
    trials = pd.DataFrame({"variant": [v.name for v in (FULL, SIMILAR, other)], "full": [None, "full", None]})
    table = run(study, (FULL, SIMILAR, other), trials=trials)
    assert [calls.count(name) for name in ("_project_task", "_refit_task", "_train_task")] == [3, 3, 9]
    assert np.isfinite(table.loc["similarity alone", "splits_spearman"]), "the root's own column is constant"
    calls.clear()
    longer = replace(SIMILAR, training=replace(TINY, epochs=3))
    run(study, (FULL, longer, other), trials=trials)
    assert [calls.count(name) for name in ("_project_task", "_refit_task", "_train_task")] == [0, 3, 3], (
        "read, not fitted"
    )


def test_similarity_that_cannot_be_fitted_is_undefined(tmp_path, calls):
    root = made_root(tmp_path, rows=40)
    add_similarity(root, "euclidean_prototypes")
    study = make_study(root, ("raw", "scene", "similarity"))
    trials = pd.DataFrame({"variant": ["full", SIMILAR.name], "full": [None, "full"]})
    table = run(study, (FULL, SIMILAR), trials=trials)
    assert np.isnan(table.loc[SIMILAR.name, "splits_spearman"])
    assert "similarity: EuclideanPrototypes needs labels" in table.loc[SIMILAR.name, "splits_reason"]
    assert np.isfinite(table.loc["full", "splits_spearman"])


def test_projections_that_cannot_be_fitted_are_undefined(tmp_path, calls, monkeypatch):
    def fail(*_):
        raise StudyError("too few clips")

    root = made_root(tmp_path, rows=40)
    add_similarity(root)
    monkeypatch.setattr(folds.Splits, "project", fail)
    trials = pd.DataFrame({"variant": ["full", SIMILAR.name], "full": [None, "full"]})
    table = run(make_study(root, ("raw", "scene", "similarity")), (FULL, SIMILAR), trials=trials)
    assert table.loc[SIMILAR.name, "splits_reason"].endswith("similarity: too few clips")


def rewrite_catalogue(root, **columns):
    table = read_catalogue(root)
    for name, values in columns.items():
        at = table.column_names.index(name) if name in table.column_names else None
        array = pa.array(values)
        table = table.append_column(name, array) if at is None else table.set_column(at, name, array)
    root.write_table(table, "catalogue.parquet")


def sides(splits, names):
    """Folds in which the clips of each name are."""
    return {name: set(splits.fold_of[np.array(names) == name]) for name in set(names)}


def test_clips_of_one_group_or_of_one_video_are_never_on_both_sides(tmp_path, monkeypatch):
    root = made_root(tmp_path, rows=48)
    films = [f"film {k // 4}" for k in range(48)]
    # The last clip of each film shows the same file as the first of the next but one: they belong together too.
    uris = [f"{k}.mp4" for k in range(48)]
    uris[3], uris[9] = "same.mp4", "./same.mp4"
    rewrite_catalogue(root, film=films, uri=uris)
    monkeypatch.setattr(folds, "group_column", lambda _: "film")
    splits = read_splits(make_study(root), 4, 0)
    of_films = sides(splits, films)
    assert all(len(found) == 1 for found in of_films.values())
    assert of_films["film 0"] == of_films["film 2"], "by the video that they share"
    monkeypatch.setattr(folds, "group_column", lambda _: None)
    plain = read_splits(make_study(root), 4, 0)
    assert plain.fold_of[3] == plain.fold_of[9]
    assert any(len(found) > 1 for found in sides(plain, films).values())


def test_groups_that_are_too_few_are_told_before_work_is_spent(tmp_path, monkeypatch):
    root = made_root(tmp_path, rows=40)
    rewrite_catalogue(root, film=["a", "b"] * 20)
    monkeypatch.setattr(folds, "group_column", lambda _: "film")
    with pytest.raises(ConfigError, match="--folds 3: the 40 scored clips outside test are of 2 groups"):
        check_root_clips(3, root)
    check_root_clips(2, root)
    monkeypatch.setattr(folds, "group_column", lambda _: None)
    check_root_clips(3, root)


def test_clips_of_test_or_without_a_score_do_not_count(tmp_path):
    clips = pa.table(
        {
            "uri": [f"{k}.mp4" for k in range(8)],
            "split": ["train", "test", None, "val", "train", "train", "test", None],
            "score": [0.5, 0.5, 0.5, None, 0.1, 0.2, None, 0.3],
        }
    )
    check_enough_clips(2, clips, None)
    with pytest.raises(ConfigError, match="--folds 3: 5 scored clips outside test"):
        check_enough_clips(3, clips, None)
    check_enough_clips(0, clips, None)
    check_enough_clips(9, None, None)
    with pytest.raises(ConfigError, match="--folds 1"):
        check_enough_clips(1, None, None)


def test_a_root_without_a_catalogue_is_not_read_where_there_are_no_folds(tmp_path):
    check_root_clips(0, "no root")


def test_the_note_names_clips_parts_and_groups(study, monkeypatch):
    assert describe_splits(study.root, study.data, 0) == {}
    note = describe_splits(study.root, study.data, 3)["splits"]
    assert note.startswith(
        "Splits: 40 scored clips outside test, cut into 3 parts of like scores; each part is val once"
    )
    assert "HOG's PCA" in note
    monkeypatch.setattr(folds, "group_column", lambda _: "film")
    assert ", clips of one film always in one part;" in describe_splits(study.root, study.data, 3)["splits"]


@pytest.mark.parametrize(
    ("count", "message"), [(1, "--folds 1: expected 0"), (4, "--folds 4: 6 scored clips outside test")]
)
def test_a_job_says_so_before_it_begins(tmp_path, count, message):
    rows = [f"{k}.mp4,{k / 10},{'test' if k > 5 else ''}" for k in range(8)]
    (tmp_path / "clips.csv").write_text("\n".join(["uri,score,split", *rows]) + "\n")
    for k in range(8):
        (tmp_path / f"{k}.mp4").write_bytes(bytes([k]) * 100)
    out = tmp_path / "root"
    options = ReproduceOptions(out=str(out), dataset="table", root=str(tmp_path / "clips.csv"), folds=count)
    with pytest.raises(ConfigError, match=message):
        jobs.reproduce(options)
    assert not out.exists(), "nothing was written"
