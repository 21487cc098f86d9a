"""Per-clip limits of a job on a root whose clips were extracted before."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from m3ray.config import LimitsConfig
from m3ray.config.options import RecordedLimitsOptions
from m3ray.storage.dataset_record import limits_from_record
from m3ray.storage.root import Root
from m3ray.storage.root_record import read_record

T = TypeVar("T", bound=RecordedLimitsOptions)


def apply_recorded_limits(options: T, root: Root) -> T:
    """Take the limits that the root's clips were extracted under in place of defaults.

    Args:
        options: A job's options.
        root: Root that the job works on.
    Returns:
        The options; as they are where the record was applied before, or limits are given.
    """
    if options.settled or options.limits != LimitsConfig():
        return options
    return replace(options, limits=limits_from_record(read_record(root)), settled=True)
