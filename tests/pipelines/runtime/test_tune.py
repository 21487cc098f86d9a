"""How Ray Tune is set up: its folder, its table, what a trial reserves."""

import logging
import os
import stat
from pathlib import Path

from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.tune import make_reporter, silence_tune, temporary_tune_folder, trial_resources


def test_trials_share_gpus_where_there_are_any():
    assert trial_resources(Resources(8, 0)) == {"cpu": 1}
    assert trial_resources(Resources(8, 2)) == {"cpu": 1, "gpu": 0.25}


def test_tune_s_folder_is_the_user_s_alone_and_gone_afterwards():
    with temporary_tune_folder() as folder:
        assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700
        (Path(folder) / "error.pkl").write_bytes(b"x")
    assert not Path(folder).exists()


def test_the_table_has_a_column_for_each_parameter():
    reporter = make_reporter("lr", "batch")
    assert reporter._parameter_columns == ["lr", "batch"]
    assert "best_epoch" in reporter._metric_columns


def test_tune_leaves_ctrl_c_to_the_job_unless_the_user_says_otherwise(monkeypatch):
    names = ("TUNE_DISABLE_SIGINT_HANDLER", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "RAY_AIR_NEW_OUTPUT")
    for name in names:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "1")
    monkeypatch.setattr(logging.getLogger("ray.tune"), "level", logging.INFO)
    silence_tune()
    assert [os.environ[name] for name in names] == ["1", "1", "1"]
    assert logging.getLogger("ray.tune").level == logging.ERROR
