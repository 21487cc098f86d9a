"""What workers print: it goes to the run's log; the screen has a line of what a person must see."""

import pytest
import ray._private.worker

from m3ray.console import LineKeeper
from m3ray.pipelines.runtime import ray_warnings, worker_output
from m3ray.pipelines.runtime.worker_output import WorkerPrinter, divert_worker_output, remove_traceback


@pytest.fixture(autouse=True)
def _fresh_notices(monkeypatch):
    monkeypatch.setattr(worker_output, "NOTICES", ray_warnings.Notices())
    monkeypatch.delenv("M3RAY_VERBOSE", raising=False)


def lines_of(keeper):
    return [line.partition(" ")[2] for line in keeper.lines]


def fail(*_, **__):
    raise AssertionError("Ray's printer was called")


def data(*lines, pid=7, **others):
    return {"pid": pid, "ip": "10.0.0.1", "localhost": "10.0.0.1", "is_err": False, "lines": list(lines), **others}


def test_a_worker_s_lines_stand_in_the_log_with_their_process(capsys):
    with LineKeeper() as keeper:
        WorkerPrinter(fail)(data("UserWarning: not writable", "two\nthree", actor_name="MapWorker"), "stdout")
        WorkerPrinter(fail)(data("\x1b[33mfar\x1b[0m", task_name="decode", ip="10.0.0.2"))
        WorkerPrinter(fail)(data("node_manager.cc:1: x", pid="raylet"))
    assert lines_of(keeper) == [
        "(MapWorker pid=7) UserWarning: not writable",
        "(MapWorker pid=7) two",
        "(MapWorker pid=7) three",
        "(decode pid=7, ip=10.0.0.2) far",
        "(raylet) node_manager.cc:1: x",
    ]
    assert capsys.readouterr().out == ""


def test_a_check_on_a_worker_s_node_is_shown_as_it_is(capsys):
    WorkerPrinter(fail)(data("preflight: node b: decoding is not isolated"))
    assert capsys.readouterr().out == "preflight: node b: decoding is not isolated\n"


@pytest.mark.parametrize("pid", ["raylet", 7])
def test_a_worker_that_was_killed_for_memory_is_one_line(capsys, pid):
    line = "[2026-11-27] (raylet) node_manager.cc:3: 4 Workers (tasks / actors) killed due to memory pressure (OOM)"
    printer = WorkerPrinter(fail)
    printer(data(line, line, pid=pid))
    printer(data("Task was killed due to the node running low on memory.", pid=pid))
    out = capsys.readouterr().out
    assert out.startswith("memory: a machine ran low on memory")
    assert out.count("\n") == 1


def test_the_autoscaler_s_events_are_shown_and_its_tables_are_dropped(capsys, monkeypatch):
    def no_cluster(lines):
        raise RuntimeError("no cluster")

    monkeypatch.setattr(ray._private.worker, "filter_autoscaler_events", no_cluster)
    printer = WorkerPrinter(fail)
    with LineKeeper() as keeper:
        printer(data("x :event_summary:Adding 2 node(s) of type gpu.", "======== Status", pid="autoscaler"))
    assert capsys.readouterr().out == "cluster: Adding 2 node(s) of type gpu.\n"
    assert lines_of(keeper) == ["cluster: Adding 2 node(s) of type gpu."]


def test_the_log_takes_so_many_lines_of_workers_and_says_where_the_rest_is(monkeypatch):
    monkeypatch.setattr(worker_output, "_MOST_LINES", 3)
    printer = WorkerPrinter(fail)
    with LineKeeper() as keeper:
        for number in range(4):
            printer(data(f"{number}a", f"{number}b"))
    assert lines_of(keeper) == [
        "(pid=7) 0a",
        "(pid=7) 0b",
        "(pid=7) 1a",
        "workers printed 3 lines: the rest stands in Ray's own logs alone",
    ]


def test_each_job_s_workers_are_counted_anew_and_ray_s_printer_is_kept(monkeypatch):
    monkeypatch.setattr(ray._private.worker, "print_worker_logs", fail)
    divert_worker_output()
    first = ray._private.worker.print_worker_logs
    divert_worker_output()
    second = ray._private.worker.print_worker_logs
    assert first is not second
    assert (first.printer, second.printer) == (fail, fail)


def test_all_is_printed_by_ray_where_the_user_asks_for_it_but_tracebacks(monkeypatch, capsys):
    monkeypatch.setenv("M3RAY_VERBOSE", "1")
    printed = []
    printer = WorkerPrinter(lambda data, *arguments, **named: printed.append((data, arguments, named)))
    with LineKeeper() as keeper:
        printer({"pid": 1, "lines": ["extract: 3 done"]}, "stdout", extra=1)
        printer({"pid": 2, "lines": ['Traceback (most recent call last):\n  File "x.py", line 1', "ValueError: x"]})
        printer({"pid": 3, "lines": []})
    assert printed == [
        ({"pid": 1, "lines": ["extract: 3 done"]}, ("stdout",), {"extra": 1}),
        ({"pid": 2, "lines": ["ValueError: x"]}, (), {}),
    ]
    assert lines_of(keeper) == ["Traceback (most recent call last):", '  File "x.py", line 1', "ValueError: x"]
    assert capsys.readouterr().out == ""


def test_a_worker_s_traceback_is_cut_down_to_what_was_raised():
    plain = ["(raylet) a worker died", "extract: 3 done"]
    assert remove_traceback(plain) == plain
    lines = [
        "Task MapWorker failed, it will be retried. Error: Traceback (most recent call last):",
        '  File "x.py", line 3, in setup',
        "    raise StudyError(x)",
        "    ^^^^^^^^^^^^^^^^^^^",
        "m3ray.errors.StudyError: too few clips",
    ]
    assert remove_traceback(lines) == [
        "Task MapWorker failed, it will be retried. Error:",
        "m3ray.errors.StudyError: too few clips",
    ]
