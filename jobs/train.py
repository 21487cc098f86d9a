"""Train the runs of one variant, and save a bundle under models/."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from m3ray.cli import main
from m3ray.config.options import TrainOptions

if TYPE_CHECKING:
    from m3ray.request.checks import Request


def job(request: Request[TrainOptions]) -> None:
    # Imported once the request has been checked: a mistake in it is then reported within a second.
    from m3ray.pipelines import jobs

    jobs.train(request)


if __name__ == "__main__":
    sys.exit(main(TrainOptions, job, __doc__ or ""))
