"""`python -m m3ray`: the command m3ray, where its script is not on the path."""

from __future__ import annotations

import sys

from m3ray.commands.dispatch import main

if __name__ == "__main__":
    sys.exit(main())
