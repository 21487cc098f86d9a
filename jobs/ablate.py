"""Train the study's variants on a root that has its tiers, and make tables and report."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from m3ray.cli import main
from m3ray.config.options import AblateOptions
from m3ray.costs import parse_prices

if TYPE_CHECKING:
    from m3ray.request.checks import Request


def job(request: Request[AblateOptions]) -> None:
    # Imported once the request has been checked: a mistake in it is then reported within a second.
    from m3ray.pipelines import jobs
    from m3ray.reports.page import build_report

    jobs.ablate(request)
    options = request.options
    if not options.dry_run:
        build_report(options.out, parse_prices(options.price), options.carbon)


if __name__ == "__main__":
    sys.exit(main(AblateOptions, job, __doc__ or ""))
