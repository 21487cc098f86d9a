"""The whole study: catalogue, tiers, similarity, tables, bundle, predictions, report. With no argument: the demo."""

import sys

from m3ray.cli import main
from m3ray.options import ReproduceOptions


def job(options: ReproduceOptions) -> None:
    # Imported once the options are sound: --help then answers at once.
    from m3ray.pipelines import jobs
    from m3ray.reports.page import build_report
    from m3ray.study.energy import parse_prices

    prices = parse_prices(options.price)
    jobs.reproduce(options)
    if not options.dry_run:
        build_report(options.out, prices, options.carbon)


if __name__ == "__main__":
    sys.exit(main(ReproduceOptions, job, __doc__ or ""))
