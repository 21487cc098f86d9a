"""Tables, figures and page of what a root holds. Does not start Ray."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from m3ray.cli import main
from m3ray.config.options import ReportOptions
from m3ray.costs import parse_prices

if TYPE_CHECKING:
    from m3ray.request.checks import Request


def job(asked: Request[ReportOptions]) -> None:
    options = asked.options
    if options.dry_run:
        print(f"plan: {options.out}/report: tables, figures and page of what the root holds")
        return
    # Imported once the request is known to be sound: a mistake is then told in a second.
    from m3ray.reports.page import build_report

    build_report(options.out, parse_prices(options.price), options.carbon)


if __name__ == "__main__":
    sys.exit(main(ReportOptions, job, __doc__ or ""))
