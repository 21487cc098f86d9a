"""A search that goes on from its own table, without a cluster: what is tried next, and what is stopped early."""

from types import SimpleNamespace

import pyarrow as pa
import pytest

from m3ray.config.presets import ablation_training
from m3ray.errors import ConfigError, DamagedFileError
from m3ray.pipelines.runtime.search_state import begun, early_stopping, optimiser_of
from m3ray.storage.root import Root
from m3ray.study.search_space import SPACE, as_point
from m3ray.study.tried import DONE, Setting, Tried

FIRST = as_point(ablation_training())
ASKED = {"trials": 4, "metric": "spearman"}


@pytest.fixture
def study(tmp_path):
    return SimpleNamespace(root=Root(str(tmp_path)), name="search", folder=("study", "search"))


def ended(point, *values):
    epochs = [{"epoch": k, "spearman": v, "mse": 1 - v, "spearman_std": 0.0} for k, v in enumerate(values, start=1)]
    return Setting(point, tuple(epochs), DONE)


def tried_of(study, *settings):
    return Tried(study.root, study.folder, SPACE, settings)


def suggested(tried, number, seed=0):
    optimiser = optimiser_of(tried, FIRST, "spearman", seed)
    return [optimiser.suggest(str(k)) for k in range(number)]


def test_the_first_setting_is_the_preset_then_the_seed_decides(study):
    found = suggested(tried_of(study), 3)
    assert found[0] == FIRST
    assert found == suggested(tried_of(study), 3)
    assert found != suggested(tried_of(study), 3, seed=1)


def test_what_was_cut_short_is_tried_first_and_nothing_twice(study):
    drawn = suggested(tried_of(study), 4)
    before = [ended(drawn[0], 0.5), ended(drawn[1], 0.6), Setting(drawn[2]), Setting(drawn[3])]
    found = suggested(tried_of(study, *before), 6)
    assert found[:2] == drawn[2:]
    assert not [point for point in found[2:] if point in drawn], "nor drawn anew by the same seed"


def test_the_optimiser_knows_what_has_ended(study):
    points = suggested(tried_of(study), 3)
    tried = tried_of(study, *(ended(point, 0.1, 0.1 * k) for k, point in enumerate(points)))
    optimiser = optimiser_of(tried, FIRST, "spearman", 0)
    assert [(t.params, t.value) for t in optimiser._ot_study.trials] == [(p, 0.1 * k) for k, p in enumerate(points)]


def decisions(scheduler, curves):
    """What each curve's last epoch is answered with, one trial after the other."""
    found = []
    for name, curve in curves.items():
        trial = SimpleNamespace(trial_id=name)
        scheduler.on_trial_add(None, trial)
        for epoch, value in enumerate(curve, start=1):
            answer = scheduler.on_trial_result(None, trial, {"epoch": epoch, "spearman": value})
            if answer == "STOP":
                break
        found.append((epoch, answer))
    return found


def test_early_stopping_remembers_the_settings_that_ended(study):
    """As one scheduler that saw them all would: the weak one stops at the first rung, the strong one goes on."""
    good, weak, strong = [0.5] * 20, [0.1] * 20, [0.9] * 20
    whole = decisions(early_stopping(tried_of(study), "spearman", 20), {"g": good, "w": weak, "s": strong})
    resumed = early_stopping(tried_of(study, ended(FIRST, *good)), "spearman", 20)
    assert decisions(resumed, {"w": weak, "s": strong}) == whole[1:] == [(5, "STOP"), (20, "STOP")]
    assert decisions(early_stopping(tried_of(study), "spearman", 20), {"w": weak}) == [(20, "STOP")], "alone it goes on"


def test_a_search_goes_on_only_as_what_it_began_as(study):
    begun(study, SPACE, FIRST, ASKED)
    begun(study, SPACE, FIRST, ASKED)
    with pytest.raises(ConfigError, match="begun with other trials: give this one another --name"):
        begun(study, SPACE, FIRST, {**ASKED, "trials": 5})


def older(study, **columns):
    study.root.write_json(ASKED, *study.folder, "search.json")
    study.root.write_bytes(b"cos\nsystem\n(S'false'\ntR.", *study.folder, "tune", "tuner.pkl")
    if columns:
        study.root.write_table(pa.table({name: [v] for name, v in columns.items()}), *study.folder, "trials.parquet")


ROW = {**FIRST, "spearman": 0.5, "spearman_std": 0.1, "mse": 0.02, "epochs": 7, "status": "done", "complete": False}


def test_an_older_search_that_had_ended_is_kept_from_its_table(study, capsys):
    older(study, **ROW)
    found = begun(study, SPACE, FIRST, ASKED)
    assert [(s.point, s.last["epoch"], s.last["spearman"]) for s in found.ended] == [(FIRST, 7, 0.5)]
    said = capsys.readouterr().out
    assert "would run code out of the root: its finished table is taken" in said


def test_an_older_search_that_was_cut_short_begins_anew_and_says_so(study, capsys):
    older(study)
    assert begun(study, SPACE, FIRST, ASKED).all() == []
    assert "would run code out of the root: the search begins anew" in capsys.readouterr().out


def test_another_table_of_that_name_is_none_of_a_search(study, capsys):
    """`tune --unfrozen` trains the frozen model first, into the same folder."""
    older(study, variant="M3-S", spearman=0.5)
    assert begun(study, SPACE, FIRST, ASKED).all() == []
    assert "begins anew" in capsys.readouterr().out


def test_an_older_table_is_looked_at_too(study):
    older(study, **{**ROW, "hidden": "999999x999999"})
    with pytest.raises(DamagedFileError, match=r"trials\.parquet is damaged"):
        begun(study, SPACE, FIRST, ASKED)
