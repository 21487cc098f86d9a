"""Evaluate fitted models on data sets, their own and others: the table of generalisation."""

from __future__ import annotations

import sys

from m3ray.cli import main
from m3ray.commands.jobs import evaluate
from m3ray.config.options import EvaluateOptions

if __name__ == "__main__":
    sys.exit(main(EvaluateOptions, evaluate, __doc__ or ""))
