"""Searches hyper-parameters on a root whose tiers are there; the best setting becomes a file for train.py --config."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from m3ray.cli import main
from m3ray.config.options import TuneOptions

if TYPE_CHECKING:
    from m3ray.request.checks import Request


def job(asked: Request[TuneOptions]) -> None:
    # Imported once the request is known to be sound: a mistake is then told in a second.
    from m3ray.pipelines import jobs

    jobs.tune(asked)


if __name__ == "__main__":
    sys.exit(main(TuneOptions, job, __doc__ or ""))
