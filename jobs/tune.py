"""Search hyper-parameters on a root that has its tiers; the best setting becomes a file for train.py --config."""

from __future__ import annotations

import sys

from m3ray.cli import main
from m3ray.commands.jobs import tune
from m3ray.config.options import TuneOptions

if __name__ == "__main__":
    sys.exit(main(TuneOptions, tune, __doc__ or ""))
