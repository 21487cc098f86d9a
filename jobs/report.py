"""Make tables, figures and page of what a root holds, or figures of several beside one another; without Ray."""

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
        print(_describe_plan(options))
        return
    # Imported once the request has been checked: a mistake in it is then reported within a second.
    from m3ray.reports.beside import build_report_beside
    from m3ray.reports.page import build_report

    if options.others:
        build_report_beside((options.out, *options.others))
    else:
        build_report(options.out, parse_prices(options.price), options.carbon)


def _describe_plan(options: ReportOptions) -> str:
    if not options.others:
        return f"plan: {options.out}/report: tables, figures and page of what the root holds"
    roots = ", ".join((options.out, *options.others))
    return f"plan: {options.out}/report/beside.html: Figures 2, 6 and 7 of {roots} beside one another"


if __name__ == "__main__":
    sys.exit(main(ReportOptions, job, __doc__ or ""))
