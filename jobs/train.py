"""Trains one variant, as many runs as asked for, and writes a bundle under models/."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from m3ray.cli import main
from m3ray.config.options import TrainOptions

if TYPE_CHECKING:
    from m3ray.request.checks import Request


def job(asked: Request[TrainOptions]) -> None:
    # Imported once the request is known to be sound: a mistake is then told in a second.
    from m3ray.pipelines import jobs

    jobs.train(asked)


if __name__ == "__main__":
    sys.exit(main(TrainOptions, job, __doc__ or ""))
