"""The line at a terminal's foot: drawn in its place, as wide as the terminal, and gone when it is done."""

import io
import os
import pty
import re
import threading
import time

import pytest

from m3ray import status_line
from m3ray.status_line import StatusLine, can_redraw, fit_width, wants_colour

ERASE = "\r\x1b[K"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def count_threads():
    return sum(thread.name.endswith("(_redraw_until)") for thread in threading.enumerate())


def wait_until(condition):
    """Wait for what threads do, however busy the machine is; False after ten seconds."""
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


@pytest.fixture
def terminal():
    return Terminal()


@pytest.mark.parametrize(
    ("term", "stream", "expected"),
    [
        ("xterm", Terminal(), True),
        ("dumb", Terminal(), False),
        (None, Terminal(), False),
        ("xterm", io.StringIO(), False),
        ("xterm", None, False),
    ],
)
def test_only_a_terminal_that_erases_is_redrawn(monkeypatch, term, stream, expected):
    monkeypatch.delenv("TERM", raising=False)
    if term is not None:
        monkeypatch.setenv("TERM", term)
    assert can_redraw(stream) is expected


def test_a_closed_stream_is_not_redrawn(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    closed = Terminal()
    closed.close()
    closed.isatty = lambda: (_ for _ in ()).throw(ValueError("closed"))
    assert not can_redraw(closed)


def test_colours_are_off_where_no_color_is_set(monkeypatch):
    """https://no-color.org: present and not empty, whatever its value."""
    for value, expected in (("1", False), ("0", False), ("", True)):
        monkeypatch.setenv("NO_COLOR", value)
        assert wants_colour() is expected


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("extract: 3/4", 80, "extract: 3/4"),
        ("extract: 3/4", 8, "extract"),
        ("映像映像", 6, "映像"),  # two columns each
        ("e\u0301tude", 4, "e\u0301tu"),  # the accent takes none
        ("a\nb\x1b[2Jc", 80, "a b [2Jc"),
        ("x", 1, ""),
    ],
)
def test_the_line_fits_the_terminal(text, columns, expected):
    assert fit_width(text, columns) == expected


def test_the_line_is_redrawn_in_its_place_and_only_where_it_changed(terminal):
    line, text = StatusLine(terminal), ["one"]
    line.show(lambda: text[0])
    line.draw()
    text[0] = "two"
    line.draw()
    line.hide()
    line.hide()
    line.draw()
    assert terminal.getvalue() == f"{ERASE}one{ERASE}two{ERASE}"


def test_what_stays_is_printed_above_the_line(terminal):
    line = StatusLine(terminal)
    line.print_above("before")
    line.show(lambda: "at work")
    line.print_above("a line\nand another")
    line.hide()
    assert terminal.getvalue() == f"before\n{ERASE}at work{ERASE}a line\nand another\n{ERASE}at work{ERASE}"


def test_the_line_goes_on_by_itself_and_leaves_no_thread(terminal, monkeypatch):
    monkeypatch.setattr(status_line, "_EVERY_SECONDS", 0.01)
    numbers = iter(range(10_000))
    line = StatusLine(terminal)
    assert wait_until(lambda: count_threads() == 0), "those of the tests before"
    line.show(lambda: str(next(numbers)))
    line.show(lambda: str(next(numbers)))
    assert count_threads() == 1
    assert wait_until(lambda: terminal.getvalue().count(ERASE) > 5)
    line.hide()
    assert wait_until(lambda: count_threads() == 0)


def test_a_description_that_fails_ends_nothing(terminal, monkeypatch):
    monkeypatch.setattr(status_line, "_EVERY_SECONDS", 0.01)
    answers = iter(["one", ValueError("x"), "two"])

    def describe():
        answer = next(answers, "two")
        if isinstance(answer, Exception):
            raise answer
        return answer

    line = StatusLine(terminal)
    line.show(describe)
    assert wait_until(lambda: "two" in terminal.getvalue())
    line.hide()


def test_a_terminal_that_has_gone_ends_no_job(terminal):
    line = StatusLine(terminal)
    line.show(lambda: "one")
    terminal.close()
    with pytest.raises(ValueError, match="closed"):
        terminal.write("what the line must live with")
    line.hide()
    line.show(lambda: "two")
    line.hide()


def test_a_character_that_the_terminal_lacks_is_replaced(monkeypatch):
    class Ascii(Terminal):
        encoding = "ascii"

    terminal = Ascii()
    line = StatusLine(terminal)
    line.show(lambda: "映")
    line.hide()
    assert terminal.getvalue() == f"{ERASE}?{ERASE}"


def test_the_width_is_that_of_the_terminal():
    """A real pseudo-terminal of 12 columns."""
    master, slave = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 12, 0, 0))
    with os.fdopen(slave, "w") as stream:
        line = StatusLine(stream)
        line.show(lambda: "0123456789abcdef")
        line.hide()
        output = os.read(master, 1000).decode()
    os.close(master)
    assert re.sub(r"\r|\x1b\[K", "", output) == "0123456789a"
