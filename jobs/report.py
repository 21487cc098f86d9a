"""Make tables, figures and page of what a root holds, or figures of several beside one another; without Ray."""

from __future__ import annotations

import sys

from m3ray.cli import main
from m3ray.commands.jobs import report
from m3ray.config.options import ReportOptions

if __name__ == "__main__":
    sys.exit(main(ReportOptions, report, __doc__ or ""))
