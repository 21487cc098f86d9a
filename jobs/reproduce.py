"""Run the whole study: catalogue, tiers, similarity, tables, bundle, predictions, report. Without options: the demo."""

from __future__ import annotations

import sys

from m3ray.cli import main
from m3ray.commands.jobs import reproduce
from m3ray.config.options import ReproduceOptions

if __name__ == "__main__":
    sys.exit(main(ReproduceOptions, reproduce, __doc__ or ""))
