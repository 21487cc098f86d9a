"""Scores for new videos, with a bundle."""

import sys

from m3ray.cli import main
from m3ray.options import PredictOptions


def job(options: PredictOptions) -> None:
    # Imported once the options are sound: --help then answers at once.
    from m3ray.pipelines import jobs

    jobs.predict(options)


if __name__ == "__main__":
    sys.exit(main(PredictOptions, job, __doc__ or ""))
