"""Device watch: what happens to a job's GPUs, as log lines of the driver, and as an error where none is left."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any

import ray

from m3ray.errors import LostDeviceError

logger = logging.getLogger(__name__)

_WATCH_SECONDS, _ANSWER_SECONDS = 2.0, 10.0


def ask_devices(ledger: Any, method: str, *args: Any, timeout: float | None = None) -> Any:
    """Call a method of a job's device ledger.

    Args:
        ledger: Handle of a `crash_guard.Ledger` actor.
        method: Name of a method of `DeviceLedger`.
        *args: Its arguments.
        timeout: Seconds to wait for the answer; None: until it comes, which takes a while where the ledger's process
            has only begun to start.
    Returns:
        What the method returns.
    """
    return ray.get(ledger.call_part.remote("devices", method, *args), timeout=timeout)


@contextmanager
def report_devices(ledger: Any) -> Iterator[None]:
    """Report failures of GPUs while the block runs; turn the loss of the last one into an error of one line.

    Args:
        ledger: Handle of the `crash_guard.Ledger` actor of the job's stages.
    Yields:
        Once, to the block.
    Raises:
        LostDeviceError: If no GPU is left to compute on.
    """
    stop = Event()
    thread = Thread(target=_watch, args=(ledger, _count_news(ledger), stop), daemon=True)
    thread.start()
    reason = ""
    try:
        yield
    except Exception:
        with suppress(Exception):  # Where Ray itself is gone, that is the error to show.
            reason = ask_devices(ledger, "stop_reason", timeout=_ANSWER_SECONDS)
        if not reason:
            raise
        raise LostDeviceError(reason) from None  # not the traceback of the worker that was the first to stop
    finally:
        stop.set()
        thread.join()


def _count_news(ledger: Any) -> int:
    return len(ask_devices(ledger, "read_news", 0))


def _watch(ledger: Any, reported: int, stop: Event) -> None:
    has_ended = False
    while not has_ended:
        has_ended = stop.wait(_WATCH_SECONDS)
        with suppress(Exception):  # An answer that the ledger does not give is a missed look, no error.
            for line in ask_devices(ledger, "read_news", reported, timeout=_ANSWER_SECONDS):
                logger.warning(f"extract: {line}")
                reported += 1
