"""The study: every variant of the tables asked for, on a root whose tiers are there; and its report."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from m3ray.cli import main
from m3ray.config.options import AblateOptions
from m3ray.costs import parse_prices

if TYPE_CHECKING:
    from m3ray.request.checks import Request


def job(asked: Request[AblateOptions]) -> None:
    # Imported once the request is known to be sound: a mistake is then told in a second.
    from m3ray.pipelines import jobs
    from m3ray.reports.page import build_report

    jobs.ablate(asked)
    options = asked.options
    if not options.dry_run:
        build_report(options.out, parse_prices(options.price), options.carbon)


if __name__ == "__main__":
    sys.exit(main(AblateOptions, job, __doc__ or ""))
