"""Sentences below a table: what it could have found, and what a small difference would need."""

from __future__ import annotations

from collections.abc import Sequence

from m3ray.reports.tables.corrections import LEAST_RUNS
from m3ray.study.power import POWER, Design, detectable_difference, needed_clips, needed_runs, typical_design
from m3ray.study.statistics import ALPHA, Difference

SOUGHT = 0.005
"""A difference in rank correlation as papers report them."""


def describe_power(differences: Sequence[Difference], runs: int, clips: int) -> str:
    """Describe which differences a table could have found.

    Args:
        differences: The table's differences in rank correlation on val.
        runs: Number of runs of each.
        clips: Number of val clips.
    Returns:
        Sentences; why there is no interval where no difference has one; empty where there is no difference.
    """
    design = typical_design(differences, runs, clips)
    if design is None:
        reasons = dict.fromkeys(d.reason for d in differences if d.reason)
        return f"No interval and no star: {'; '.join(reasons)}." if reasons else ""
    if runs < LEAST_RUNS:
        return f"No star: {runs} runs say too little of how runs vary; take at least {LEAST_RUNS}, better 4 (--runs 4)."
    looks = sum(d.p is not None for d in differences)
    alpha = ALPHA / looks
    found = detectable_difference(design, alpha)
    corrected = f"after the correction for {looks} differences" if looks > 1 else "with one difference"
    return (
        f"With {runs} runs and {clips:,} val clips, {corrected}, a true difference in rho of {found:.4f} is found in "
        f"{POWER:.0%} of studies, a smaller one in fewer. {_describe_need(design, alpha, found)}"
    )


def _describe_need(design: Design, alpha: float, found: float) -> str:
    """What a difference of `SOUGHT` would need, in runs and in clips."""
    if found <= SOUGHT:
        return f"One of {SOUGHT} is within its reach."
    runs, clips = needed_runs(SOUGHT, design, alpha), needed_clips(SOUGHT, design, alpha)
    by_runs = "no number of runs at these clips" if runs is None else f"{runs:,} runs at these clips"
    by_clips = "no number of clips with these runs" if clips is None else f"about {_round(clips)} clips with these runs"
    if runs is not None or clips is not None:
        return f"For one of {SOUGHT} it would take {by_runs}, {by_clips}."
    return f"For one of {SOUGHT} {by_runs} and {by_clips} would do; {_describe_both(design, alpha)}."


def _describe_both(design: Design, alpha: float) -> str:
    """The fewest doublings of the runs with which some number of clips is enough."""
    runs = design.runs
    while (clips := needed_clips(SOUGHT, design.resize(runs=runs), alpha)) is None:
        runs *= 2
    return f"{runs:,} runs with about {_round(clips)} clips would"


def _round(number: int) -> str:
    """Two digits of a number: it is an estimate."""
    unit = 10 ** max(0, len(str(number)) - 2)
    return f"{-(-number // unit) * unit:,}"
