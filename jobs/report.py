"""Tables, figures and page of what a root holds. Does not start Ray."""

import sys

from m3ray.cli import main
from m3ray.options import ReportOptions


def job(options: ReportOptions) -> None:
    from m3ray.reports.page import build_report
    from m3ray.study.energy import parse_prices

    prices = parse_prices(options.price)
    if options.dry_run:
        print(f"plan: {options.out}/report: tables, figures and page of what the root holds")
        return
    build_report(options.out, prices, options.carbon)


if __name__ == "__main__":
    sys.exit(main(ReportOptions, job, __doc__ or ""))
