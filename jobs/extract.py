"""Catalogue and tiers: decodes every clip once and computes the tiers that are missing."""

import sys

from m3ray.cli import main
from m3ray.options import ExtractOptions


def job(options: ExtractOptions) -> None:
    # Imported once the options are sound: --help then answers at once.
    from m3ray.pipelines import jobs

    jobs.extract(options)


if __name__ == "__main__":
    sys.exit(main(ExtractOptions, job, __doc__ or ""))
