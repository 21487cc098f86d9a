"""Tell which job holds a root, and remove its lock if that job is dead."""

from __future__ import annotations

import sys

from m3ray.cli import main
from m3ray.commands.jobs import unlock
from m3ray.config.unlock_options import UnlockOptions

if __name__ == "__main__":
    sys.exit(main(UnlockOptions, unlock, __doc__ or ""))
