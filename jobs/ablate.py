"""The study: every variant of the tables asked for, on a root whose tiers are there; and its report."""

import sys

from m3ray.cli import main
from m3ray.options import AblateOptions


def job(options: AblateOptions) -> None:
    # Imported once the options are sound: --help then answers at once.
    from m3ray.pipelines import jobs
    from m3ray.reports.page import build_report
    from m3ray.study.energy import parse_prices

    prices = parse_prices(options.price)
    jobs.ablate(options)
    if not options.dry_run:
        build_report(options.out, prices, options.carbon)


if __name__ == "__main__":
    sys.exit(main(AblateOptions, job, __doc__ or ""))
