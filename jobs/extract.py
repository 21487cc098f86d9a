"""List the clips, decode each once, and compute the tiers that it lacks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from m3ray.cli import main
from m3ray.config.options import ExtractOptions

if TYPE_CHECKING:
    from m3ray.request.checks import Request


def job(request: Request[ExtractOptions]) -> None:
    # Imported once the request has been checked: a mistake in it is then reported within a second.
    from m3ray.pipelines import jobs

    jobs.extract(request)


if __name__ == "__main__":
    sys.exit(main(ExtractOptions, job, __doc__ or ""))
