"""Lines on the console, and their copy for the run's record."""

import io
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from m3ray import console
from m3ray.console import (
    ConsoleHandler,
    LineKeeper,
    configure_console,
    escape_unencodable,
    is_verbose,
    log_details,
    log_progress,
    log_python_warnings,
    publish,
    show_work,
    write_temporary_log,
)

logger = logging.getLogger("m3ray.test")


def lines_of(keeper):
    return [line.partition(" ")[2] for line in keeper.lines]


class Ascii:
    encoding = "ascii"


def test_a_name_that_the_terminal_lacks_is_escaped():
    assert escape_unencodable("映像.mp4", Ascii()) == r"\u6620\u50cf.mp4"
    assert escape_unencodable("\udcff.mp4", Ascii()) == r"\udcff.mp4"


def test_a_reader_that_has_gone_ends_no_job(monkeypatch):
    import sys

    class Gone:
        encoding = "utf-8"

        def write(self, text):
            raise BrokenPipeError

        flush = write

    monkeypatch.setattr(sys, "stdout", Gone())
    with LineKeeper() as keeper:
        logger.info("100 % done")
    assert keeper.lines[0].endswith("100 % done")


def test_a_note_is_kept_and_not_shown(capsys):
    with LineKeeper() as keeper:
        log_details(logger, "Traceback:\n  File x")
        logger.info("shown")
    assert [line.split(" ", 1)[1] for line in keeper.lines] == ["Traceback:", "  File x", "shown"]
    assert capsys.readouterr().out == "shown\n"


def test_what_is_no_line_stands_in_no_log(capsys):
    received = []
    with LineKeeper() as keeper:
        keeper.subscriber = received.append
        logger.info("one")
        publish({"a": 1})
        log_details(logger, "two\n\nthree")
    assert lines_of(keeper) == ["one", "two", "", "three"]
    assert received == [{"a": 1}]
    assert capsys.readouterr().out == "one\n"


def test_lines_of_every_level_from_info_up_are_printed_once(capsys):
    configure_console()
    configure_console()
    logger.debug("a detail")
    logger.info("a line of %d", 1)
    logger.warning("a warning")
    logging.getLogger("other").error("another program's")
    assert capsys.readouterr().out == "a line of 1\na warning\n"


def test_a_library_is_silent_by_itself():
    """A program that merely imports m3ray sees no line, nor Python's complaint that there is no handler."""
    program = "import logging, m3ray; logging.getLogger('m3ray.features.load').warning('a line')"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (process.stdout, process.stderr) == ("", "")


def test_a_program_s_own_handler_gets_the_lines():
    program = (
        "import logging, m3ray; logging.basicConfig(level='INFO', format='%(name)s: %(message)s');"
        "logging.getLogger('m3ray.features.load').info('a line')"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert process.stderr == "m3ray.features.load: a line\n"


def test_a_keeper_works_without_a_console_and_leaves_the_level_as_it_was(capsys):
    package = logging.getLogger("m3ray")
    handlers, level = package.handlers[:], package.level
    try:
        package.handlers = [handler for handler in handlers if not isinstance(handler, ConsoleHandler)]
        package.setLevel(logging.NOTSET)
        with LineKeeper() as keeper:
            logger.info("a line")
            log_details(logger, "a detail")
        logger.info("after it")
        assert package.level == logging.NOTSET
    finally:
        package.handlers = handlers
        package.setLevel(level)
    assert lines_of(keeper) == ["a line", "a detail"]
    assert capsys.readouterr().out == ""


def test_a_line_bears_its_time_in_utc():
    record = logging.LogRecord("m3ray", logging.INFO, "x", 1, "a line", (), None)
    record.created = 1_800_000_000.9  # date -u -d @1800000000
    keeper = LineKeeper()
    keeper.emit(record)
    assert keeper.lines == ["2027-01-15T08:00:00Z a line"]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def open_terminal(monkeypatch):
    """Function that makes standard output a terminal; pytest sets it anew between a fixture and its test."""
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "M3RAY_VERBOSE"):
        monkeypatch.delenv(name, raising=False)

    def open_it():
        stream = Terminal()
        monkeypatch.setattr(sys, "stdout", stream)
        return stream

    return open_it


ERASE = "\r\x1b[K"


def test_in_a_terminal_progress_is_a_line_in_place(open_terminal):
    terminal = open_terminal()
    with LineKeeper() as keeper, show_work(lambda: "extract: 3/4"):
        log_progress(logger, "extract: 2/4 done")
        logger.info("a line")
    assert terminal.getvalue() == f"{ERASE}extract: 3/4{ERASE}a line\n{ERASE}extract: 3/4{ERASE}"
    assert lines_of(keeper) == ["extract: 2/4 done", "a line"]


def test_elsewhere_progress_is_a_line(capsys):
    with show_work(lambda: "extract: 3/4"):
        log_progress(logger, "extract: 100 % of 4 done")
    assert capsys.readouterr().out == "extract: 100 % of 4 done\n"


def test_in_a_terminal_progress_of_no_work_that_is_shown_is_a_line(open_terminal):
    terminal = open_terminal()
    log_progress(logger, "2/4 done")
    assert terminal.getvalue() == "2/4 done\n"


def test_what_began_last_is_shown_and_ends_with_what_it_is_part_of(open_terminal):
    terminal = open_terminal()
    with show_work(lambda: "job"):
        with show_work(lambda: "stage"):
            publish(console.Work(str, begins=True))  # and nobody ends it
        assert terminal.getvalue().endswith("job")
    assert terminal.getvalue().endswith(ERASE)


def test_an_interrupt_leaves_no_line_behind(open_terminal):
    terminal = open_terminal()
    with pytest.raises(KeyboardInterrupt), show_work(lambda: "extract: 3/4"):
        raise KeyboardInterrupt
    assert terminal.getvalue() == f"{ERASE}extract: 3/4{ERASE}"


@pytest.mark.parametrize(("no_color", "expected"), [("", "\x1b[33ma warning\x1b[0m\n"), ("1", "a warning\n")])
def test_warnings_are_yellow_in_a_terminal_unless_colours_are_off(open_terminal, monkeypatch, no_color, expected):
    terminal = open_terminal()
    monkeypatch.setenv("NO_COLOR", no_color)
    logger.warning("a warning")
    assert terminal.getvalue() == expected


@pytest.mark.parametrize(("name", "value"), [("TERM", "dumb"), ("M3RAY_VERBOSE", "1")])
def test_a_terminal_without_a_line_in_place_has_plain_lines(open_terminal, monkeypatch, name, value):
    terminal = open_terminal()
    monkeypatch.setenv(name, value)
    with show_work(lambda: "extract: 3/4"):
        log_progress(logger, "extract: 2/4 done")
        logger.warning("a warning")
    assert terminal.getvalue() == "extract: 2/4 done\na warning\n"


def test_verbose_is_asked_for_by_the_environment(monkeypatch):
    for value, expected in (("1", True), ("0", False), ("", False)):
        monkeypatch.setenv("M3RAY_VERBOSE", value)
        assert is_verbose() is expected
    monkeypatch.delenv("M3RAY_VERBOSE")
    assert not is_verbose()


def test_a_warning_of_python_s_goes_to_the_log(capsys, monkeypatch):
    monkeypatch.delenv("M3RAY_VERBOSE", raising=False)
    before = warnings.showwarning
    with LineKeeper() as keeper, warnings.catch_warnings():
        warnings.simplefilter("always")
        with log_python_warnings():
            warnings.warn("the array is not writable", UserWarning, stacklevel=1)
    assert "UserWarning: the array is not writable" in lines_of(keeper)[0]
    assert warnings.showwarning is before
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "")


def test_a_warning_of_python_s_is_shown_where_the_user_asks_for_all(capsys, monkeypatch):
    monkeypatch.setenv("M3RAY_VERBOSE", "1")
    shown = []
    monkeypatch.setattr(warnings, "showwarning", lambda *arguments: shown.append(str(arguments[0])))
    with LineKeeper() as keeper, log_python_warnings():
        warnings.showwarning(UserWarning("x"), UserWarning, "file.py", 1)
    assert (shown, keeper.lines) == (["x"], [])


def test_a_temporary_log_holds_any_text():
    path = Path(write_temporary_log("one\n\udcff"))
    assert path.read_bytes() == b"one\n\\udcff\n"
    path.unlink()


def test_a_full_temporary_folder_is_no_second_error(monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(console.tempfile, "NamedTemporaryFile", fail)
    assert write_temporary_log("text") is None
