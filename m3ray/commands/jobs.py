"""The jobs as functions of a checked request: `jobs/*.py` and the subcommands run these."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from m3ray.config.options import (
        AblateOptions,
        EvaluateOptions,
        ExtractOptions,
        PredictOptions,
        ReportOptions,
        ReproduceOptions,
        TrainOptions,
        TuneOptions,
    )
    from m3ray.config.unlock_options import UnlockOptions
    from m3ray.request.checks import Request

# Everything is imported once the request has been checked: a mistake in it is then reported within a second.


def ablate(request: Request[AblateOptions]) -> None:
    """Train the study's variants on a root that has its tiers, and make tables and report."""
    from m3ray.pipelines import jobs

    jobs.ablate(request)
    _build_report(request.options)


def evaluate(request: Request[EvaluateOptions]) -> None:
    """Evaluate fitted models on data sets, their own and others: the table of generalisation."""
    from m3ray.pipelines import jobs

    jobs.evaluate(request)


def extract(request: Request[ExtractOptions]) -> None:
    """List the clips, decode each once, and compute the tiers that it lacks."""
    from m3ray.pipelines import jobs

    jobs.extract(request)


def predict(request: Request[PredictOptions]) -> None:
    """Score new videos with a bundle."""
    from m3ray.pipelines import jobs

    jobs.predict(request)


def report(request: Request[ReportOptions]) -> None:
    """Make tables, figures and page of what a root holds, or figures of several beside one another; without Ray."""
    options = request.options
    if options.dry_run:
        print(_describe_report(options))
    elif options.others:
        from m3ray.reports.beside import build_report_beside

        build_report_beside((options.out, *options.others))
    else:
        _build_report(options)


def reproduce(request: Request[ReproduceOptions]) -> None:
    """Run the whole study, from the catalogue to the report. Without options: the demo."""
    from m3ray.pipelines import jobs

    jobs.reproduce(request)
    _build_report(request.options)
    _show_planted(request.options)


def train(request: Request[TrainOptions]) -> None:
    """Train the runs of one variant, and save a bundle under models/."""
    from m3ray.pipelines import jobs

    jobs.train(request)


def tune(request: Request[TuneOptions]) -> None:
    """Search hyper-parameters on a root that has its tiers; the best setting becomes a file for train --config."""
    from m3ray.pipelines import jobs

    jobs.tune(request)


def unlock(request: Request[UnlockOptions]) -> None:
    """Tell which job holds a root, and remove its lock if that job is dead."""
    from m3ray.storage.lock import WORKS
    from m3ray.storage.root import Root
    from m3ray.storage.unlocking import unlock as unlock_root

    options = request.options
    works = WORKS if options.work is None else (options.work,)
    unlock_root(Root(options.out), works, force=options.force, dry=options.dry_run, tell=_print_line)


def _print_line(line: str) -> None:
    print(line, flush=True)


def _build_report(options: AblateOptions | ReportOptions | ReproduceOptions) -> None:
    from m3ray.costs import parse_prices
    from m3ray.reports.page import build_report

    if not options.dry_run:
        build_report(options.out, parse_prices(options.price), options.carbon)


def _show_planted(options: ReproduceOptions) -> None:
    """Print what was planted in the demo and found by its study; nothing for other data sets."""
    from m3ray.reports.planted_section import describe_planted
    from m3ray.storage.root import Root

    text = "" if options.dry_run else describe_planted(Root(options.out))
    if text:
        _print_line(text)


def _describe_report(options: ReportOptions) -> str:
    if not options.others:
        return f"plan: {options.out}/report: tables, figures and page of what the root holds"
    roots = ", ".join((options.out, *options.others))
    return f"plan: {options.out}/report/beside.html: Figures 2, 6 and 7 of {roots} beside one another"
