"""Catalogue and tiers: decodes every clip once and computes the tiers that are missing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from m3ray.cli import main
from m3ray.config.options import ExtractOptions

if TYPE_CHECKING:
    from m3ray.request.checks import Request


def job(asked: Request[ExtractOptions]) -> None:
    # Imported once the request is known to be sound: a mistake is then told in a second.
    from m3ray.pipelines import jobs

    jobs.extract(asked)


if __name__ == "__main__":
    sys.exit(main(ExtractOptions, job, __doc__ or ""))
