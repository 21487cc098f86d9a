"""Make tables, figures and page of what a root holds. Ray is not started."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from m3ray.cli import main
from m3ray.config.options import ReportOptions
from m3ray.costs import parse_prices

if TYPE_CHECKING:
    from m3ray.request.checks import Request


def job(request: Request[ReportOptions]) -> None:
    options = request.options
    if options.dry_run:
        print(f"plan: {options.out}/report: tables, figures and page of what the root holds")
        return
    # Imported once the request has been checked: a mistake in it is then reported within a second.
    from m3ray.reports.page import build_report

    build_report(options.out, parse_prices(options.price), options.carbon)


if __name__ == "__main__":
    sys.exit(main(ReportOptions, job, __doc__ or ""))
