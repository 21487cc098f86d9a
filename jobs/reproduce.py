"""Run the whole study: catalogue, tiers, similarity, tables, bundle, predictions, report. Without options: the demo."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from m3ray.cli import main
from m3ray.config.options import ReproduceOptions
from m3ray.costs import parse_prices

if TYPE_CHECKING:
    from m3ray.request.checks import Request


def job(request: Request[ReproduceOptions]) -> None:
    # Imported once the request has been checked: a mistake in it is then reported within a second.
    from m3ray.pipelines import jobs
    from m3ray.reports.page import build_report

    jobs.reproduce(request)
    options = request.options
    if not options.dry_run:
        build_report(options.out, parse_prices(options.price), options.carbon)


if __name__ == "__main__":
    sys.exit(main(ReproduceOptions, job, __doc__ or ""))
