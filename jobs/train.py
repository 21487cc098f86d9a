"""Train the runs of one variant, and save a bundle under models/."""

from __future__ import annotations

import sys

from m3ray.cli import main
from m3ray.commands.jobs import train
from m3ray.config.options import TrainOptions

if __name__ == "__main__":
    sys.exit(main(TrainOptions, train, __doc__ or ""))
