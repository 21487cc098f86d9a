"""How Ray Tune is set up: its folder, its table, what a trial reserves."""

import logging
import os
import stat
from pathlib import Path
from types import SimpleNamespace

from m3ray.console import LineKeeper
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.tune import (
    describe_trials,
    make_reporter,
    silence_tune,
    temporary_tune_folder,
    trial_resources,
)


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


def test_the_table_goes_to_the_log_and_the_counts_to_the_screen(monkeypatch, capsys):
    reporter = make_reporter("lr")
    monkeypatch.setattr(reporter, "_progress_str", lambda trials, done, *sys_info: "== Status ==\n| a wall |")
    trials = [SimpleNamespace(status="TERMINATED"), SimpleNamespace(status="RUNNING")]
    with LineKeeper() as keeper:
        reporter.report(trials, False, "memory")
        reporter.report(trials, True, "memory")
    # The table is logged at the start and at the end, the line at the end alone: half a minute has not passed.
    assert capsys.readouterr().out == "trials: 1 done, 1 running\n"
    assert sum("| a wall |" in line for line in keeper.lines) == 2


def test_the_table_is_logged_now_and_then_alone(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("m3ray.pipelines.runtime.tune.time.monotonic", lambda: now[0])
    reporter = make_reporter("lr")
    monkeypatch.setattr(reporter, "_progress_str", lambda trials, done, *sys_info: "| a wall |")
    with LineKeeper() as keeper:
        for second in range(0, 1202, 2):  # twenty minutes, in which a trial ends each two seconds
            now[0] = float(second)
            reporter.report([SimpleNamespace(status="TERMINATED")] * (second + 1), False)
    assert sum("| a wall |" in line for line in keeper.lines) == 3  # at 0, 10 and 20 minutes
    assert capsys.readouterr().out.count("trials: ") == 40  # each 30 s
    assert reporter.describe() == "trials: 1201 done, 20 min so far"


def test_trials_are_counted_by_what_became_of_them():
    assert describe_trials(["PENDING", "ERROR", "PAUSED", "TERMINATED", "TERMINATED"]) == (
        "2 done, 1 waiting, 1 failed"
    )
    assert describe_trials([]) == "0 done"


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
