"""List the clips, decode each once, and compute the tiers that it lacks."""

from __future__ import annotations

import sys

from m3ray.cli import main
from m3ray.commands.jobs import extract
from m3ray.config.options import ExtractOptions

if __name__ == "__main__":
    sys.exit(main(ExtractOptions, extract, __doc__ or ""))
