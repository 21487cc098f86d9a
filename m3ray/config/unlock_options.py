"""The options of `jobs/unlock.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from m3ray.config.options import RootOptions


@dataclass(frozen=True, kw_only=True)
class UnlockOptions(RootOptions):
    """Whose lock, and whether to ask if it lives."""

    work: Literal["study", "predict"] | None = None
    """Which lock: of the jobs that touch tiers, study, models and report, or of predict; left out: both."""
    force: bool = False
    """Remove the lock of a living job too; it stops at its next commit."""
