"""What workers print: tracebacks go to the run's log, not to the screen."""

import logging

from m3ray.console import LineKeeper
from m3ray.pipelines.runtime.worker_output import _TracebackFilter, _wrap_printer, remove_traceback


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


def test_ray_s_own_records_with_tracebacks_are_kept_off_the_screen(capsys):
    log_filter = _TracebackFilter(all_errors=False)
    record = logging.LogRecord("ray", logging.ERROR, "x", 1, "plain", (), None)
    assert log_filter.filter(record)
    assert not _TracebackFilter(all_errors=True).filter(record)
    try:
        raise ValueError("x")
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
    with LineKeeper() as keeper:
        assert not log_filter.filter(record)
    assert any("Traceback" in line for line in keeper.lines)
    assert "Traceback" not in capsys.readouterr().out


def test_ray_s_printer_gets_the_lines_without_the_traceback(capsys):
    printed = []
    printer = _wrap_printer(lambda data, *arguments, **named: printed.append((data, arguments, named)))
    with LineKeeper() as keeper:
        printer({"pid": 1, "lines": ["extract: 3 done"]}, "stdout", extra=1)
        printer({"pid": 2, "lines": ['Traceback (most recent call last):\n  File "x.py", line 1', "ValueError: x"]})
        printer({"pid": 3, "lines": []})
    assert printed == [
        ({"pid": 1, "lines": ["extract: 3 done"]}, ("stdout",), {"extra": 1}),
        ({"pid": 2, "lines": ["ValueError: x"]}, (), {}),
    ]
    assert [line.partition(" ")[2] for line in keeper.lines] == [
        "Traceback (most recent call last):",
        '  File "x.py", line 1',
        "ValueError: x",
    ]
    assert capsys.readouterr().out == ""
