"""Ranges of the numbers that options may have, checked before any library sees them."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from m3ray.errors import ConfigError

_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?|\.[0-9]+")


def parse_max_rejects(text: str, clips: int) -> int:
    """Parse `--max-rejects`, a share (`20%`, `0.2`) or a number of clips (`50`).

    Args:
        text: Value of the option.
        clips: Number of clips in the catalogue.
    Returns:
        Number of clips that may be rejected.
    Raises:
        ConfigError: If the text is neither.
    """
    number, share = text.strip().removesuffix("%").strip(), text.strip().endswith("%") or "." in text
    # Exact: 29 % of 100 are 29, which 0.29 x 100 in floats is not.
    value = Fraction(number) / (100 if text.strip().endswith("%") else 1) if _NUMBER.fullmatch(number) else -1
    if value < 0 or (share and value > 1):
        raise ConfigError(f"--max-rejects {text}: expected a share (20% or 0.2) or a whole number of clips")
    return int(value * clips) if share else int(value)


@dataclass(frozen=True)
class Range:
    """A range of numbers.

    Args:
        low: Smallest number.
        high: Largest number; None: there is none.
        open: Whether `low` itself is left out.
    """

    low: float
    high: float | None = None
    open: bool = False

    def __contains__(self, value: float) -> bool:
        if not math.isfinite(value) or (value <= self.low if self.open else value < self.low):
            return False
        return self.high is None or value <= self.high

    def describe(self) -> str:
        """Say which numbers the range holds, for an error."""
        if self.high is not None:
            return f"expected {'above ' if self.open else ''}{self.low:g} to {self.high:g}"
        return f"expected more than {self.low:g}" if self.open else f"expected at least {self.low:g}"


COUNT, POSITIVE, FROM_ZERO = Range(1), Range(0, open=True), Range(0)
SEED = Range(0, 2**32 - 1)  # what NumPy and scikit-learn take
SHARE = Range(0, 0.999999)

# By the name of a field, wherever it stands among the options of a job.
RANGES = {
    "limit": COUNT,
    "fps": POSITIVE,
    "seed": SEED,
    "duplicate_threshold": Range(0, 1, open=True),
    "runs": COUNT,
    "folds": FROM_ZERO,
    "epochs": COUNT,
    "trials": COUNT,
    "carbon": FROM_ZERO,
    "delay": FROM_ZERO,
    "delay_base": FROM_ZERO,
    "window": POSITIVE,
    "step": POSITIVE,
    "threshold": Range(0, 255, open=True),
    "shortest": POSITIVE,
    "export_shots": COUNT,
    "actors": COUNT,
    "actors_per_gpu": COUNT,
    "threads": COUNT,
    "clips_per_batch": COUNT,
    "shard_clips": COUNT,
    "max_bytes": COUNT,
    "max_pixels": COUNT,
    "max_image_pixels": COUNT,
    "max_seconds": POSITIVE,
    "decode_seconds": POSITIVE,
    "storage_seconds": FROM_ZERO,
    "stall_minutes": FROM_ZERO,
    "memory_mb": COUNT,
    "crash_count": COUNT,
    "batch": COUNT,
    "micro_batch": COUNT,
    "size": Range(32, 256),
    "frames": COUNT,
    "backbone_learning_rate": POSITIVE,
    "head_learning_rate": POSITIVE,
    "ema": SHARE,
    "workers": COUNT,
    "cache_gb": FROM_ZERO,
    "checkpoint_minutes": POSITIVE,
    "budget": COUNT,
    "grid": COUNT,
    "segments": COUNT,
    "seeds": COUNT,
}


def check_numbers(options: Any) -> None:
    """Check every number among a job's options.

    Args:
        options: Options of a job; groups of options are dataclasses within.
    Raises:
        ConfigError: If a number is out of its range; the option is named as on the command line.
    """
    for path, value in _iter_numbers(options):
        allowed = RANGES.get(path[-1])
        if allowed is not None and value not in allowed:
            name = ".".join(path).replace("_", "-")
            raise ConfigError(f"--{name} {value}: {allowed.describe()}")


def _iter_numbers(options: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """Path and value of each option that is a number."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from _iter_numbers(value, (*above, field.name))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield (*above, field.name), value
