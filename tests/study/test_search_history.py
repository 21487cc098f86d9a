"""The table of settings that a search has tried: whole on the root after each change, and plain values alone."""

import json

import pytest

from m3ray.config.presets import ablation_training
from m3ray.errors import DamagedFileError
from m3ray.storage.root import Root
from m3ray.study.search_history import DONE, FAILED, RUNNING, SearchHistory, read_settings
from m3ray.study.search_space import SPACE, point_from_training

FIRST = point_from_training(ablation_training())
OTHER = {**FIRST, "batch": 64, "learning_rate": 0.00123456789012345678}
FOLDER = ("study", "search")
EPOCH = {"epoch": 1, "spearman": 0.5, "mse": 0.01, "spearman_std": 0.1}


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path))


def again(root, first=FIRST):
    return SearchHistory(root, FOLDER, SPACE, read_settings(root, FOLDER, SPACE, first))


def test_nothing_was_tried_before_the_first_call(root):
    assert read_settings(root, FOLDER, SPACE, FIRST) is None


def test_what_ended_is_kept_and_what_was_cut_short_waits(root):
    tried = SearchHistory(root, FOLDER, SPACE)
    tried.begin("a", FIRST)
    tried.begin("b", OTHER)
    tried.report("a", EPOCH)
    tried.report("a", {**EPOCH, "epoch": 2})
    tried.end("a", DONE)
    found = again(root)
    assert [(s.point, s.status, len(s.epochs)) for s in found.ended] == [(FIRST, DONE, 2)]
    assert found.ended[0].last == {**EPOCH, "epoch": 2}
    assert [s.point for s in found.waiting] == [OTHER], "to the last bit"
    assert found.waiting[0].status == RUNNING


def test_settings_stand_in_the_order_in_which_they_ended(root):
    tried = SearchHistory(root, FOLDER, SPACE)
    for key, point in (("a", FIRST), ("b", OTHER)):
        tried.begin(key, point)
        tried.report(key, EPOCH)
    tried.end("b", DONE)
    tried.end("a", DONE)
    assert [s.point for s in again(root).ended] == [OTHER, FIRST]


def test_a_failed_setting_is_shown_now_and_tried_again_next_time(root):
    tried = SearchHistory(root, FOLDER, SPACE)
    tried.begin("a", FIRST)
    tried.report("a", EPOCH)
    tried.end("a", FAILED)
    assert [s.status for s in tried.ended] == [FAILED]
    assert list(tried.settings_in_space()) == [], "no optimiser learns from it"
    found = again(root)
    assert (found.ended, [s.point for s in found.waiting]) == ([], [FIRST])
    found.begin("x", FIRST)
    assert found.waiting == []


def test_a_setting_that_never_reported_did_not_end_well(root):
    tried = SearchHistory(root, FOLDER, SPACE)
    tried.begin("a", FIRST)
    tried.end("a", DONE)
    assert [s.status for s in tried.ended] == [FAILED]


def test_a_setting_started_again_forgets_the_epochs_of_its_failure(root):
    tried = SearchHistory(root, FOLDER, SPACE)
    tried.begin("a", FIRST)
    tried.report("a", EPOCH)
    tried.begin("a", FIRST)
    tried.report("a", EPOCH)
    tried.end("a", DONE)
    assert len(again(root).ended[0].epochs) == 1


def entry(**changes):
    return {"point": FIRST, "epochs": [EPOCH], "status": DONE} | changes


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        '{"settings": 3}',
        json.dumps({"settings": [entry(point={})]}),
        json.dumps({"settings": [entry(point={**FIRST, "hidden": "999999x999999"})]}),
        json.dumps({"settings": [entry(point={**FIRST, "hidden": {"_type": "CLOUDPICKLE_FALLBACK", "value": "80"}})]}),
        json.dumps({"settings": [entry(point={**FIRST, "learning_rate": "0.1"})]}),
        json.dumps({"settings": [entry(epochs=[])]}),
        json.dumps({"settings": [entry(epochs=[{"epoch": 1}])]}),
        json.dumps({"settings": [entry(epochs=[{**EPOCH, "mse": float("nan")}])]}),
        json.dumps({"settings": [entry(epochs=[{**EPOCH, "mse": "0.1"}])]}),
        '{"settings": [{"poi',
    ],
)
def test_what_is_no_such_table_is_rejected_in_one_line(root, content):
    root.write_bytes(content.encode(), *FOLDER, "settings.json")
    with pytest.raises(DamagedFileError, match=r"settings\.json is damaged or cut short \(.*delete it") as caught:
        read_settings(root, FOLDER, SPACE, FIRST)
    assert "\n" not in str(caught.value)


def test_the_user_s_own_first_setting_may_lie_outside_the_space(root):
    """It is kept, and is no point for the optimiser."""
    far = {**FIRST, "learning_rate": 0.5}
    tried = SearchHistory(root, FOLDER, SPACE)
    tried.begin("a", far)
    tried.report("a", EPOCH)
    tried.end("a", DONE)
    found = again(root, first=far)
    assert [s.point for s in found.ended] == [far]
    assert list(found.settings_in_space()) == []
    with pytest.raises(DamagedFileError, match="lies outside the search's space"):
        again(root)
