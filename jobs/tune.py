"""Search hyper-parameters on a root that has its tiers; the best setting becomes a file for train.py --config."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from m3ray.cli import main
from m3ray.config.options import TuneOptions

if TYPE_CHECKING:
    from m3ray.request.checks import Request


def job(request: Request[TuneOptions]) -> None:
    # Imported once the request has been checked: a mistake in it is then reported within a second.
    from m3ray.pipelines import jobs

    jobs.tune(request)


if __name__ == "__main__":
    sys.exit(main(TuneOptions, job, __doc__ or ""))
