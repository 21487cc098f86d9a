"""Score new videos with a bundle."""

from __future__ import annotations

import sys

from m3ray.cli import main
from m3ray.commands.jobs import predict
from m3ray.config.options import PredictOptions

if __name__ == "__main__":
    sys.exit(main(PredictOptions, predict, __doc__ or ""))
