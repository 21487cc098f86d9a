"""Checkpoints of a run: names, Ray Train's index, and what an older m3ray left, which were pickles."""

import json

import pytest

from m3ray.pipelines.finetuning.checkpoints import (
    INDEX,
    checkpoint_name,
    delete_pickled_run,
    delete_truncated_index,
    final_checkpoint,
    parse_step,
    read_completed_steps,
)
from m3ray.storage.root import Root


def test_a_run_with_an_older_checkpoint_begins_anew_and_says_so(tmp_path, capsys):
    run = Root(str(tmp_path / "run"))
    run.write_bytes(b"pickle", "step-00000012", "state.pt")
    run.write_bytes(b"{}", "checkpoint_manager_snapshot.json")
    delete_pickled_run(run)
    assert not (tmp_path / "run").exists()
    assert "of a kind that may run code: it begins anew" in capsys.readouterr().out


def test_a_pickle_beside_our_own_state_changes_nothing(tmp_path, capsys):
    run = Root(str(tmp_path / "run"))
    run.write_bytes(b"tensors", "step-00000012", "state.safetensors")
    run.write_bytes(b"pickle", "step-00000012", "state.pt")
    delete_pickled_run(run)
    delete_pickled_run(Root(str(tmp_path / "none")))
    assert run.exists("step-00000012", "state.safetensors")
    assert capsys.readouterr().out == ""


def test_a_folder_that_is_no_checkpoint_does_not_make_a_run_an_older_one(tmp_path):
    run = Root(str(tmp_path / "run"))
    run.write_bytes(b"pickle", "steps", "state.pt")
    delete_pickled_run(run)
    assert run.exists("steps", "state.pt")


@pytest.mark.parametrize("step", [0, 12, 123456789])
@pytest.mark.parametrize("final", [False, True])
def test_a_name_tells_its_step(step, final):
    name = checkpoint_name(step, final=final)
    assert parse_step(name) == step
    assert final_checkpoint([name]) == (name if final else None)


def test_names_are_those_of_earlier_runs():
    assert checkpoint_name(12, final=False) == "step-00000012"
    assert checkpoint_name(12, final=True) == "step-00000012-end"
    assert [parse_step(name) for name in ("step-", "step-12-ended", "xstep-12", INDEX)] == [None] * 4


def test_the_latest_final_checkpoint_is_the_outcome():
    assert final_checkpoint(["step-00000009-end", "step-00000012-end", "step-00000013", "a-end"]) == "step-00000012-end"
    assert final_checkpoint([]) is None


def test_a_whole_index_tells_the_steps_and_a_truncated_one_goes(tmp_path, capsys):
    run = Root(str(tmp_path / "run"))
    assert read_completed_steps(run) == 0
    delete_truncated_index(run)
    whole = {"latest_checkpoint_result": {"checkpoint_dir_name": "step-00000012"}}
    run.write_json(whole, INDEX)
    delete_truncated_index(run)
    assert read_completed_steps(run) == 12
    assert capsys.readouterr().out == ""
    run.write_bytes(json.dumps(whole).encode()[:-9], INDEX)
    delete_truncated_index(run)
    assert not run.exists(INDEX)
    assert "is truncated: this run begins anew" in capsys.readouterr().out


@pytest.mark.parametrize("index", [{}, {"latest_checkpoint_result": None}, {"latest_checkpoint_result": {}}])
def test_an_index_without_a_checkpoint_is_at_the_start(tmp_path, index):
    run = Root(str(tmp_path))
    run.write_json(index, INDEX)
    assert read_completed_steps(run) == 0
