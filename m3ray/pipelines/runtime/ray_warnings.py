"""Which of Ray's lines a person must see while a job runs, in this project's words; all others go to the run's log."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import NamedTuple

logger = logging.getLogger(__name__)

_QUIET_SECONDS = 60.0
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Notice(NamedTuple):
    """What is shown in place of lines of one kind.

    Args:
        pattern: what the lines of Ray have in common.
        text: the line that is shown.
    """

    pattern: re.Pattern[str]
    text: str


_NOTICES = (
    Notice(
        re.compile("killed due to memory pressure|running low on memory"),
        "memory: a machine ran low on memory, and Ray killed a process there: its work is done again; fewer processes "
        "need less (--compute.actors)",
    ),
    Notice(
        re.compile("has been marked dead because the detector"),
        "cluster: a node does not answer and is taken for dead: its work is done elsewhere",
    ),
    Notice(
        re.compile("cannot be scheduled right now"),
        "cluster: work waits, as the cluster has no CPUs, GPUs or memory free for it (`ray status` shows them)",
    ),
    Notice(
        re.compile(r"is over \d+% full"),
        "disk: where Ray keeps its files a disk is nearly full: make room, or the job fails there",
    ),
)


def find_notice(line: str) -> str | None:
    """Find what to show of a line.

    Args:
        line: line that Ray or one of its processes printed.
    Returns:
        The line to show; None where it needs nobody's eyes.
    """
    return next((notice.text for notice in _NOTICES if notice.pattern.search(line)), None)


class Notices:
    """Show lines, each text at most once a minute.

    Args:
        clock: function that returns seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._shown: dict[str, float] = {}

    def show(self, text: str) -> None:
        """Show a line, unless it was shown within the last minute.

        Args:
            text: the line.
        """
        now = self._clock()
        self._shown = {line: at for line, at in self._shown.items() if now - at < _QUIET_SECONDS}
        if text not in self._shown:
            self._shown[text] = now
            logger.warning(text)


NOTICES = Notices()


def strip_colours(line: str) -> str:
    """Strip a terminal's colours.

    Args:
        line: any line.
    Returns:
        The line without them.
    """
    return _COLOURS.sub("", line)
