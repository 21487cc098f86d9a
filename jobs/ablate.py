"""Train the study's variants on a root that has its tiers, and make tables and report."""

from __future__ import annotations

import sys

from m3ray.cli import main
from m3ray.commands.jobs import ablate
from m3ray.config.options import AblateOptions

if __name__ == "__main__":
    sys.exit(main(AblateOptions, ablate, __doc__ or ""))
