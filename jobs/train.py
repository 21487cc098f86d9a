"""Trains one variant, as many runs as asked for, and writes a bundle under models/."""

import sys

from m3ray.cli import main
from m3ray.options import TrainOptions


def job(options: TrainOptions) -> None:
    # Imported once the options are sound: --help then answers at once.
    from m3ray.pipelines import jobs

    jobs.train(options)


if __name__ == "__main__":
    sys.exit(main(TrainOptions, job, __doc__ or ""))
