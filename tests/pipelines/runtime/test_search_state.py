"""A search that goes on from its own table, without a cluster: what is tried next, and what is stopped early."""

from types import SimpleNamespace

import pyarrow as pa
import pytest

from m3ray.config.presets import ablation_training
from m3ray.errors import ConfigError, DamagedFileError
from m3ray.pipelines.runtime.search_state import make_optimiser, make_scheduler, resume_search
from m3ray.storage.root import Root
from m3ray.study.search_history import DONE, SearchHistory, Setting
from m3ray.study.search_space import SPACE, point_from_training

FIRST = point_from_training(ablation_training())
ASKED = {"trials": 4, "metric": "spearman"}


@pytest.fixture
def study(tmp_path):
    return SimpleNamespace(root=Root(str(tmp_path)), name="search", folder=("study", "search"))


def make_finished(point, *values):
    others = {"mse": 0.1, "calibrated_mse": 0.1, "balanced": 0.5, "spearman_std": 0.0}
    epochs = [{"epoch": k, "spearman": v, **others} for k, v in enumerate(values, start=1)]
    return Setting(point, tuple(epochs), DONE)


def make_history(study, *settings):
    return SearchHistory(study.root, study.folder, SPACE, settings)


def suggest(history, number, seed=0, first=(FIRST,)):
    optimiser = make_optimiser(history, first, "spearman", seed)
    return [optimiser.suggest(str(k)) for k in range(number)]


def test_the_first_setting_is_the_preset_then_the_seed_decides(study):
    points = suggest(make_history(study), 3)
    assert points[0] == FIRST
    assert points == suggest(make_history(study), 3)
    assert points != suggest(make_history(study), 3, seed=1)


def test_all_settings_that_are_given_are_tried_first(study):
    second = {**FIRST, "hidden": "linear", "weight_decay": 1e-2}
    assert suggest(make_history(study), 3, first=(FIRST, second))[:2] == [FIRST, second]


def test_no_option_of_optuna_s_is_one_that_it_gives_up(study, recwarn):
    """It warns of those with FutureWarning, and of a point outside its space with UserWarning."""
    history = make_history(study, make_finished(FIRST, 0.1))
    optimiser = make_optimiser(history, (FIRST,), "spearman", 0)
    for k in range(12):
        optimiser.suggest(str(k))
        optimiser.on_trial_complete(str(k), {"spearman": 0.1 * k})
    assert [str(w.message) for w in recwarn if "optuna" in w.filename.lower()] == []


def test_what_was_cut_short_is_tried_first_and_nothing_twice(study):
    drawn = suggest(make_history(study), 4)
    before = [make_finished(drawn[0], 0.5), make_finished(drawn[1], 0.6), Setting(drawn[2]), Setting(drawn[3])]
    points = suggest(make_history(study, *before), 6)
    assert points[:2] == drawn[2:]
    assert not [point for point in points[2:] if point in drawn], "nor drawn anew by the same seed"


def test_the_optimiser_knows_what_has_ended(study):
    points = suggest(make_history(study), 3)
    history = make_history(study, *(make_finished(point, 0.1, 0.1 * k) for k, point in enumerate(points)))
    optimiser = make_optimiser(history, (FIRST,), "spearman", 0)
    assert [(t.params, t.value) for t in optimiser._ot_study.trials] == [(p, 0.1 * k) for k, p in enumerate(points)]


def decisions(scheduler, curves):
    """What each curve's last epoch is answered with, one trial after the other."""
    answers = []
    for name, curve in curves.items():
        trial = SimpleNamespace(trial_id=name)
        scheduler.on_trial_add(None, trial)
        for epoch, value in enumerate(curve, start=1):
            answer = scheduler.on_trial_result(None, trial, {"epoch": epoch, "spearman": value})
            if answer == "STOP":
                break
        answers.append((epoch, answer))
    return answers


def test_early_stopping_remembers_the_settings_that_ended(study):
    """As one scheduler that saw them all would: the weak one stops at the first rung, the strong one goes on."""
    good, weak, strong = [0.5] * 20, [0.1] * 20, [0.9] * 20
    whole = decisions(make_scheduler(make_history(study), "spearman", 20), {"g": good, "w": weak, "s": strong})
    resumed = make_scheduler(make_history(study, make_finished(FIRST, *good)), "spearman", 20)
    assert decisions(resumed, {"w": weak, "s": strong}) == whole[1:] == [(5, "STOP"), (20, "STOP")]
    assert decisions(make_scheduler(make_history(study), "spearman", 20), {"w": weak}) == [(20, "STOP")], (
        "alone it goes on"
    )


def test_a_search_goes_on_only_as_what_it_began_as(study):
    resume_search(study, SPACE, FIRST, ASKED)
    resume_search(study, SPACE, FIRST, ASKED)
    with pytest.raises(ConfigError, match="begun with other trials: give this one another --name"):
        resume_search(study, SPACE, FIRST, {**ASKED, "trials": 5})


def older(study, **columns):
    study.root.write_json(ASKED, *study.folder, "search.json")
    study.root.write_bytes(b"cos\nsystem\n(S'false'\ntR.", *study.folder, "tune", "tuner.pkl")
    if columns:
        study.root.write_table(pa.table({name: [v] for name, v in columns.items()}), *study.folder, "trials.parquet")


ROW = {**FIRST, "spearman": 0.5, "spearman_std": 0.1, "mse": 0.02, "epochs": 7, "status": "done", "complete": False}


def test_an_older_search_that_had_ended_is_kept_from_its_table(study, capsys):
    older(study, **ROW)
    search = resume_search(study, SPACE, FIRST, ASKED)
    assert [(s.point, s.last["epoch"], s.last["spearman"]) for s in search.ended] == [(FIRST, 7, 0.5)]
    output = capsys.readouterr().out
    assert "would run code out of the root: its finished table is taken" in output


def test_a_setting_of_a_table_that_is_undefined_is_tried_again(study):
    older(study, **{**ROW, "spearman": float("nan"), "calibrated_mse": float("nan")})
    search = resume_search(study, SPACE, FIRST, ASKED)
    assert (search.ended, [s.point for s in search.waiting]) == ([], [FIRST])


def test_an_older_search_that_was_cut_short_begins_anew_and_says_so(study, capsys):
    older(study)
    assert resume_search(study, SPACE, FIRST, ASKED).all() == []
    assert "would run code out of the root: the search begins anew" in capsys.readouterr().out


def test_another_table_of_that_name_is_none_of_a_search(study, capsys):
    """`tune --unfrozen` trains the frozen model first, into the same folder."""
    older(study, variant="M3-S", spearman=0.5)
    assert resume_search(study, SPACE, FIRST, ASKED).all() == []
    assert "begins anew" in capsys.readouterr().out


def test_an_older_table_is_looked_at_too(study):
    older(study, **{**ROW, "hidden": "999999x999999"})
    with pytest.raises(DamagedFileError, match=r"trials\.parquet is damaged"):
        resume_search(study, SPACE, FIRST, ASKED)
