"""The study: every variant of the tables asked for, on a root whose tiers are there."""

import sys

from m3ray.cli import main
from m3ray.options import AblateOptions


def job(options: AblateOptions) -> None:
    # Imported once the options are sound: --help then answers at once.
    from m3ray.pipelines import jobs

    jobs.ablate(options)


if __name__ == "__main__":
    sys.exit(main(AblateOptions, job, __doc__ or ""))
