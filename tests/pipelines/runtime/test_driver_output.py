"""What Ray says in the driver's process: by Python's logging, and from its C++ side."""

import logging
import os

import pytest

from m3ray.console import LineKeeper
from m3ray.pipelines.runtime import driver_output, ray_warnings
from m3ray.pipelines.runtime.driver_output import (
    ActorPoolMapOperator,
    RayLogFilter,
    divert_actor_warnings,
    divert_native_errors,
    filter_ray_loggers,
)


@pytest.fixture(autouse=True)
def _fresh_notices(monkeypatch):
    monkeypatch.setattr(driver_output, "NOTICES", ray_warnings.Notices())
    monkeypatch.delenv("M3RAY_VERBOSE", raising=False)


def record(text, level=logging.WARNING, error=None, name="ray.data"):
    exc_info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord(name, level, "x.py", 1, text, (), exc_info)


def lines_of(keeper):
    return [line.partition(" ")[2] for line in keeper.lines]


def test_a_warning_of_ray_s_goes_to_the_log(capsys):
    with LineKeeper() as keeper:
        assert not RayLogFilter(all_errors=False).filter(record("Token authentication is enabled"))
    assert lines_of(keeper) == ["Token authentication is enabled"]
    assert capsys.readouterr().out == ""


def test_a_handler_that_serves_others_too_shows_their_records(capsys):
    assert RayLogFilter(all_errors=True).filter(record("x", logging.ERROR, name="raytracer.scene"))


def test_an_error_of_ray_s_is_one_line(capsys):
    assert not RayLogFilter(all_errors=False).filter(record("no route\nto host", logging.ERROR))
    assert capsys.readouterr().out == "ray: no route\n"


def test_an_error_that_the_job_tells_itself_is_in_the_log_alone(capsys):
    for level_filter in (RayLogFilter(all_errors=True), RayLogFilter(all_errors=False)):
        with LineKeeper() as keeper:
            assert not level_filter.filter(record("x", logging.ERROR, ValueError("y")))
        assert "ValueError: y" in lines_of(keeper)
    assert not RayLogFilter(all_errors=True).filter(record("plain", logging.ERROR))
    assert capsys.readouterr().out == ""


def test_a_dead_node_is_told(capsys):
    text = "The node with node id: ab has been marked dead because the detector has missed too many heartbeats"
    assert not RayLogFilter(all_errors=False).filter(record(text))
    assert capsys.readouterr().out.startswith("cluster: a node does not answer")


def test_the_user_may_have_all_but_tracebacks(monkeypatch):
    monkeypatch.setenv("M3RAY_VERBOSE", "1")
    assert RayLogFilter(all_errors=False).filter(record("a warning"))
    assert RayLogFilter(all_errors=False).filter(record("plain", logging.ERROR))
    assert not RayLogFilter(all_errors=True).filter(record("plain", logging.ERROR))
    assert not RayLogFilter(all_errors=False).filter(record("x", logging.ERROR, ValueError("y")))


def test_handlers_of_ray_on_the_screen_are_filtered_once_and_its_files_are_not(tmp_path):
    log = logging.getLogger("ray.tune")
    screen, file = logging.StreamHandler(), logging.FileHandler(tmp_path / "ray.log")
    log.addHandler(screen)
    log.addHandler(file)
    try:
        filter_ray_loggers()
        filter_ray_loggers()
    finally:
        log.removeHandler(screen)
        log.removeHandler(file)
        file.close()
    assert [type(each) for each in screen.filters] == [RayLogFilter]
    assert file.filters == []


_OF_ACTOR = "[2026-11-27 07:08:52,764 E 20970 20970] core_worker.cc:2465: Actor has constructor arguments"


def test_a_line_of_ray_s_c_side_goes_to_the_log_and_all_else_to_the_screen(capfd):
    with LineKeeper() as keeper, divert_native_errors():
        os.write(2, f"{_OF_ACTOR}\nffmpeg: a frame is broken\n".encode())
    assert lines_of(keeper) == [_OF_ACTOR]
    assert capfd.readouterr().err == "ffmpeg: a frame is broken\n"


def test_a_fatal_line_of_ray_s_c_side_is_shown(capfd):
    line = _OF_ACTOR.replace(" E ", " F ")
    with pytest.raises(ZeroDivisionError), divert_native_errors():
        1 / (os.write(2, f"{line}\n".encode()) - len(line) - 1)
    os.write(2, b"after\n")
    assert capfd.readouterr().err == f"{line}\nafter\n"


def test_ray_data_starts_its_actors_quietly(monkeypatch, capfd):
    def start(operator, labels, *, logical_actor_id):
        os.write(2, f"{_OF_ACTOR}\n".encode())
        return operator, labels, logical_actor_id

    monkeypatch.setattr(ActorPoolMapOperator, "_start_actor", start)
    divert_actor_warnings()
    divert_actor_warnings()
    operator = object()
    with LineKeeper() as keeper:
        assert ActorPoolMapOperator._start_actor(operator, {}, logical_actor_id=3) == (operator, {}, 3)
    assert lines_of(keeper) == [_OF_ACTOR]
    monkeypatch.setenv("M3RAY_VERBOSE", "1")
    ActorPoolMapOperator._start_actor(operator, {}, logical_actor_id=3)
    assert _OF_ACTOR in capfd.readouterr().err
