"""One line at the foot of a terminal that says what is going on, redrawn in its place."""

from __future__ import annotations

import os
import threading
import time
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

_EVERY_SECONDS = 1.0
_ERASE_LINE = "\r\x1b[K"
_COLUMNS = 80


def can_redraw(stream: TextIO) -> bool:
    """Whether lines on a stream can be redrawn: it is a terminal that knows how to erase them.

    Args:
        stream: where lines are printed.
    Returns:
        False for a file, a pipe, a closed stream, and a terminal of `TERM=dumb`.
    """
    with suppress(OSError, ValueError, AttributeError):
        return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return False


def wants_colour() -> bool:
    """Whether colours are wanted: not with NO_COLOR, whatever it is set to."""
    return not os.environ.get("NO_COLOR")


def fit_width(text: str, columns: int) -> str:
    """Cut a text so that it takes one line.

    Args:
        text: any text; line ends and other control characters become blanks.
        columns: width of the terminal.
    Returns:
        As much of the text as fits with a column to spare, since some terminals break a full line.
    """
    room, kept = columns - 1, []
    for character in text:
        sign = " " if unicodedata.category(character) == "Cc" else character
        room -= _count_columns(sign)
        if room < 0:
            break
        kept.append(sign)
    return "".join(kept)


def _count_columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


class StatusLine:
    """The line of one terminal.

    A thread redraws it each second, so that the times in it go on; it ends with the line.

    Args:
        stream: terminal; others print on it through `print_above` alone.
        clock: function that returns seconds, monotonic.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._describe: Callable[[], str] | None = None
        self._drawn = ""
        self._lock = threading.RLock()
        self._wake = threading.Event()

    def show(self, describe: Callable[[], str]) -> None:
        """Show what a function says from now on.

        Args:
            describe: function that gives the line's text; called each second.
        """
        with self._lock:
            is_new, self._describe = self._describe is None, describe
            if is_new:
                self._wake = threading.Event()
                threading.Thread(target=self._redraw_until, args=(self._wake,), daemon=True).start()
            self.draw()

    def hide(self) -> None:
        """Erase the line, until something is shown again."""
        with self._lock:
            self._describe = None
            self._wake.set()
            self._erase()

    def draw(self) -> None:
        """Draw the line where it has changed."""
        with self._lock:
            if self._describe is None:
                return
            text = fit_width(self._describe(), self._read_columns())
            if text != self._drawn:
                self._drawn = text  # before it is written: Ctrl-C may come in between
                self._write(_ERASE_LINE + text)

    def print_above(self, text: str) -> None:
        """Print lines that stay, above the line.

        Args:
            text: one or more lines, without the last line's end.
        """
        with self._lock:
            self._erase()
            self._stream.write(f"{text}\n")
            self._stream.flush()
            self.draw()

    def _erase(self) -> None:
        if self._drawn:
            self._write(_ERASE_LINE)
            self._drawn = ""

    def _redraw_until(self, end: threading.Event) -> None:
        while not end.wait(_EVERY_SECONDS):
            with suppress(Exception):  # a line for the eye must end nothing
                self.draw()

    def _write(self, text: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        # Whoever read along may have gone; the job goes on.
        with suppress(OSError, ValueError):
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
            self._stream.flush()

    def _read_columns(self) -> int:
        with suppress(OSError, ValueError, AttributeError):
            return os.get_terminal_size(self._stream.fileno()).columns or _COLUMNS
        return _COLUMNS
