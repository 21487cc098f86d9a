"""Searches hyper-parameters on a root whose tiers are there; the best setting becomes a file for train.py --config."""

import sys

from m3ray.cli import main
from m3ray.options import TuneOptions


def job(options: TuneOptions) -> None:
    # Imported once the options are sound: --help then answers at once.
    from m3ray.pipelines import jobs

    jobs.tune(options)


if __name__ == "__main__":
    sys.exit(main(TuneOptions, job, __doc__ or ""))
