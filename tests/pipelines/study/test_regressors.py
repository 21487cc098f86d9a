"""Which models are trained beside the MLP, what is cached, and that a failure is a line. Tasks run here, not in Ray."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from trained_studies import train_study

from m3ray.config.options import AblateOptions, ReproduceOptions, TrainOptions
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.study import out_of_fold, regressors
from m3ray.pipelines.study.regressors import describe_summary, needs_ensemble, train_beside
from m3ray.study import regressors as fits
from m3ray.study.store import collect_trials, is_trained, read_out_of_fold
from m3ray.study.variants import regressor_variants

CLUSTER = Resources(2, 0)
ALL = ["ensemble, all tiers", "ridge, all tiers", "svr, all tiers", "boosting, all tiers", "constant, all tiers"]


class Here:
    """A Ray task that runs where it is called; what fails fails where its value is asked for."""

    def __init__(self, function, done):
        self.function, self.done = function, done

    def options(self, **resources):
        assert "num_gpus" not in resources
        assert resources["max_retries"] == 2, "a worker that dies again and again ends"
        return self

    def remote(self, *arguments):
        self.done.append(next(a.name if hasattr(a, "tiers") else a for a in arguments[1:]))
        try:
            return SimpleTask(self.function(*arguments))
        except Exception as error:
            return SimpleTask(error)


class SimpleTask:
    def __init__(self, value):
        self.value = value


@pytest.fixture
def done(monkeypatch):
    """Names of the tasks that were started."""
    done = []

    def get(task):
        if isinstance(task.value, Exception):
            raise task.value
        return task.value

    monkeypatch.setattr(regressors, "fit_task", Here(regressors.fit_and_write, done))
    monkeypatch.setattr(regressors, "ensemble_task", Here(regressors.mix_and_write, done))
    monkeypatch.setattr(out_of_fold, "predict_fold_task", Here(out_of_fold.predict_in_fold, done))
    # Which regressor it is has no part in this; a ridge is there at once.
    whole = fits.fit_regressor
    named = {"constant": "constant"}
    monkeypatch.setattr(fits, "fit_regressor", lambda name, *a, **k: whole(named.get(name, "ridge"), *a, **k))
    fake = SimpleNamespace(put=lambda value: value, get=get, wait=lambda tasks, **_: (tasks, []))
    monkeypatch.setattr(regressors, "ray", fake)
    return done


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (AblateOptions(out="o"), True),
        (AblateOptions(out="o", fit="paper"), False),
        (ReproduceOptions(fit="each"), True),
        (TrainOptions(out="o", model="mlp"), True),  # it is calibrated on held-out fifths
        (TrainOptions(out="o", model="mlp", fit="paper"), False),
        (TrainOptions(out="o", fit="paper"), False),  # auto is then the MLP as it is
        (TrainOptions(out="o", model="ensemble", fit="paper"), True),
        (TrainOptions(out="o", model="ridge"), False),
    ],
)
def test_the_ensemble_is_trained_where_a_bundle_may_need_it(options, expected):
    assert needs_ensemble(options) is expected


def test_all_are_trained_once_and_a_second_job_trains_nothing(tmp_path, done, capsys):
    study, full, _ = train_study(tmp_path)
    variants = train_beside(study, full, CLUSTER, ensemble=True)
    assert [v.name for v in variants] == ALL
    assert all(is_trained(study, v) for v in variants)
    assert done == ["svr, all tiers", "boosting, all tiers", "ridge, all tiers", "constant, all tiers"] + [
        full.name
    ] * 5 + ["M3"]
    said = capsys.readouterr().out
    assert "study: 5 models beside M3; 0 cached" in said
    assert "each fifth of the train split is predicted by an MLP of the other four: about 4.0 times" in said
    done.clear()
    assert train_beside(study, full, CLUSTER, ensemble=True) == variants
    assert done == []
    assert "study: 5 models beside M3; 5 cached" in capsys.readouterr().out
    trials = collect_trials(study, [full, *variants]).set_index("variant")
    assert list(trials.index) == ["M3", *ALL]
    assert trials["status"].notna().all()


def test_without_the_ensemble_no_mlp_is_trained_anew(tmp_path, done):
    study, full, _ = train_study(tmp_path)
    variants = train_beside(study, full, CLUSTER, ensemble=False)
    assert [v.name for v in variants] == ALL[1:]
    assert len(done) == 4
    assert read_out_of_fold(study, full) is None
    train_beside(study, full, CLUSTER, ensemble=True)
    assert done[4:] == [full.name] * 5 + ["M3"], "a later job adds what it needs"


def test_one_that_fails_is_a_line_and_the_others_stand(tmp_path, done, monkeypatch, capsys):
    study, full, _ = train_study(tmp_path)
    whole = regressors.run_regressor

    def fail(variant, *rest):
        if variant.regressor == "svr":
            raise MemoryError("no room for the kernel")
        return whole(variant, *rest)

    monkeypatch.setattr(regressors, "run_regressor", fail)
    variants = train_beside(study, full, CLUSTER, ensemble=True)
    assert "svr, all tiers failed: " in capsys.readouterr().out
    trials = collect_trials(study, [full, *variants]).set_index("variant")
    assert trials.loc["svr, all tiers", "status"] == "failed"
    made_of = study.root.read_json(*study.trial_folder(variants[0]), "chosen.json")
    assert set(made_of["ensemble"]["weights"]) == {"mlp", "ridge", "boosting"}
    monkeypatch.setattr(regressors, "run_regressor", whole)
    done.clear()
    train_beside(study, full, CLUSTER, ensemble=True)
    assert done == ["svr, all tiers", "M3"], "the next job tries it again, and weighs it too"
    made_of = study.root.read_json(*study.trial_folder(variants[0]), "chosen.json")
    assert set(made_of["ensemble"]["weights"]) == {"mlp", "ridge", "svr", "boosting"}


def test_a_fold_that_fails_leaves_the_ensemble_out_alone(tmp_path, done, monkeypatch, capsys):
    study, full, _ = train_study(tmp_path)
    whole = out_of_fold.predict_in_fold

    def fail(study, variant, fold, cores):
        if fold == 2:
            raise RuntimeError("a worker died")
        return whole(study, variant, fold, cores)

    monkeypatch.setattr(out_of_fold, "predict_fold_task", Here(fail, done))
    variants = train_beside(study, full, CLUSTER, ensemble=True)
    said = capsys.readouterr().out
    assert "fold 3 of the train split failed: " in said
    assert "ensemble, all tiers failed, the table marks it: M3: has no predictions of held-out fifths" in said
    assert [is_trained(study, v) for v in variants] == [False, True, True, True, True]
    assert read_out_of_fold(study, full) is None


def test_too_small_a_train_split_has_nothing_beside_the_mlp(tmp_path, done, capsys):
    study, full, _ = train_study(tmp_path)
    few = replace(study.data, train=study.data.train[:6])
    small = replace(study, loaded=replace(study.loaded, data=few))
    assert train_beside(small, full, CLUSTER, ensemble=True) == []
    assert done == []
    assert "6 train clips are too few to hold some out" in capsys.readouterr().out


def test_clips_that_weigh_unlike_and_groups_are_seen_by_all(tmp_path, done):
    study, full, _ = train_study(tmp_path)
    rng = np.random.default_rng(0)
    data = replace(study.data, weights=rng.uniform(0.5, 2, 40).astype(np.float32), groups=np.arange(40) // 4)
    study = replace(study, loaded=replace(study.loaded, data=data, key="weighed"))
    from m3ray.pipelines.study import ablation

    result = ablation.run_trial(full, data, study.seeds, ablation.torch.device("cpu"))
    ablation.write_trial(study, full, result)
    variants = train_beside(study, full, CLUSTER, ensemble=True)
    trials = collect_trials(study, [full, *variants]).set_index("variant")
    val, ridge = study.data.val, regressor_variants(full)[1]
    predicted = study.root.read_table(*study.trial_folder(ridge), "predictions.parquet").to_pandas()
    errors = (predicted["score"] - predicted["truth"]) ** 2
    assert trials.loc["ridge, all tiers", "mse"] == pytest.approx(np.average(errors, weights=data.weights[val]))
    folds = read_out_of_fold(study, full).folds
    groups = data.groups[data.train]
    assert all(len(set(folds[groups == g])) == 1 for g in set(groups)), "clips of one source are held out together"


def test_a_summary_is_a_line_and_says_undefined():
    assert describe_summary({"spearman": 0.61412, "mse": 0.00714, "seconds": 16.04}) == (
        "val spearman 0.6141, mse 0.00714, 16.0 s"
    )
    assert describe_summary({"spearman": None, "mse": 0.1}) == "val spearman undefined, mse 0.10000"
