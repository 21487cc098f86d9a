"""How fitted models do on data sets, their own and others: the table of generalisation."""

import sys

from m3ray.cli import main
from m3ray.options import EvaluateOptions


def job(options: EvaluateOptions) -> None:
    # Imported once the options are sound: --help then answers at once.
    from m3ray.pipelines import jobs

    jobs.evaluate(options)


if __name__ == "__main__":
    sys.exit(main(EvaluateOptions, job, __doc__ or ""))
