"""The whole study: catalogue, tiers, similarity, tables, bundle, predictions, report. With no argument: the demo."""

import sys

from m3ray.cli import main
from m3ray.options import ReproduceOptions


def job(options: ReproduceOptions) -> None:
    # Imported once the options are sound: --help then answers at once.
    from m3ray.pipelines import jobs
    from m3ray.reports.page import build_report

    jobs.reproduce(options)
    if not options.dry_run:
        build_report(options.out)


if __name__ == "__main__":
    sys.exit(main(ReproduceOptions, job, __doc__ or ""))
