"""The options of `jobs/unlock.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from m3ray.config.options import RootOptions


@dataclass(frozen=True, kw_only=True)
class UnlockOptions(RootOptions):
    """Removing the lock of a job that was killed."""

    work: Literal["study", "predict"] | None = None
    """Lock to remove: study, of the jobs that write tiers, study, models and report, or predict; none: both."""
    force: bool = False
    """Remove the lock of a living job too; it stops at its next commit."""
