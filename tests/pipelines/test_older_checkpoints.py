"""Checkpoints that an older m3ray wrote are pickles: the run begins anew, in words."""

from m3ray.data.store import Root
from m3ray.pipelines.unfrozen import leave_older


def test_a_run_with_an_older_checkpoint_begins_anew_and_says_so(tmp_path, capsys):
    run = Root(str(tmp_path / "run"))
    run.write_bytes(b"pickle", "step-00000012", "state.pt")
    run.write_bytes(b"{}", "checkpoint_manager_snapshot.json")
    leave_older(run)
    assert not (tmp_path / "run").exists()
    assert "of a kind that may run code: it begins anew" in capsys.readouterr().out


def test_a_pickle_beside_our_own_state_changes_nothing(tmp_path, capsys):
    run = Root(str(tmp_path / "run"))
    run.write_bytes(b"tensors", "step-00000012", "state.safetensors")
    run.write_bytes(b"pickle", "step-00000012", "state.pt")
    leave_older(run)
    leave_older(Root(str(tmp_path / "none")))
    assert run.exists("step-00000012", "state.safetensors")
    assert capsys.readouterr().out == ""
