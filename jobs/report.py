"""Tables, figures and page of what a root holds. Does not start Ray."""

import sys

from m3ray.cli import main
from m3ray.options import ReportOptions


def job(options: ReportOptions) -> None:
    from m3ray.reports.page import build_report

    build_report(options.out)


if __name__ == "__main__":
    sys.exit(main(ReportOptions, job, __doc__ or ""))
