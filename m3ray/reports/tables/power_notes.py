"""Sentences below a table: what it could have found, and what a small difference would need."""

from __future__ import annotations

from collections.abc import Sequence

from m3ray.reports.tables.corrections import LEAST_RUNS
from m3ray.study.power import POWER, Design, detectable_difference, needed_clips, needed_runs, typical_design
from m3ray.study.statistics import ALPHA, Difference

SOUGHT = 0.005
"""A difference in rank correlation as papers report them."""
_MANY = 100_000  # runs that nobody trains
_LARGEST = 1.0  # of one model from another that ranks clips at random


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
        return f"No star: {'; '.join(reasons)}." if reasons else ""
    if runs < LEAST_RUNS:
        return f"No star: {runs} runs say too little of how runs vary; take at least {LEAST_RUNS}, better 4 (--runs 4)."
    looks = sum(d.p is not None for d in differences)
    alpha = ALPHA / looks
    found = detectable_difference(design, alpha)
    corrected = f"after the correction for {looks} differences" if looks > 1 else "with one difference"
    if found > _LARGEST:
        return (
            f"With {runs} runs and {clips:,} val clips, {corrected}, no difference in rho that there could be is found "
            f"in {POWER:.0%} of studies: runs differ too much. {_describe_need(design, alpha, found)}"
        )
    return (
        f"With {runs} runs and {clips:,} val clips, {corrected}, a true difference in rho of {found:.4f} is found in "
        f"{POWER:.0%} of studies, a smaller one in fewer. {_describe_need(design, alpha, found)}"
    )


def _describe_need(design: Design, alpha: float, found: float) -> str:
    """What a difference of `SOUGHT` would need, in runs and in clips."""
    if found <= SOUGHT:
        return f"One of {SOUGHT} is within its reach."
    runs, clips = needed_runs(SOUGHT, design, alpha), needed_clips(SOUGHT, design, alpha)
    by_runs = "no number of runs is enough at these clips" if runs is None else f"{runs:,} runs at these clips"
    by_clips = "no number of clips with these runs" if clips is None else f"about {_round(clips)} clips with these runs"
    if runs is not None and clips is not None:
        need = f"it would take {by_runs}, or {by_clips}"
    elif runs is not None:
        need = f"it would take {by_runs}; {by_clips} is enough"
    elif clips is not None:
        both = _describe_both(design, alpha)
        more = "" if both.startswith(f"{design.runs:,} runs ") else f", or {both}"
        need = f"it would take {by_clips}{more}; {by_runs}"
    else:
        need = f"it would take {_describe_both(design, alpha)}; {by_runs}, {by_clips}"
    return f"For one of {SOUGHT} {need}. These numbers rest on how {design.runs} runs vary."


def _describe_both(design: Design, alpha: float) -> str:
    """Runs and clips that are enough together: as many runs as still save a fifth of the clips when doubled."""
    runs, clips = design.runs, needed_clips(SOUGHT, design, alpha)
    while runs < _MANY:
        fewer = needed_clips(SOUGHT, design.resize(runs=2 * runs), alpha)
        if clips is not None and (fewer is None or fewer > 0.8 * clips):
            break
        runs, clips = 2 * runs, fewer
    if clips is None:
        return f"more than {_MANY:,} runs"
    return f"{runs:,} runs with about {_round(clips)} clips"


def _round(number: int) -> str:
    """Two digits of a number: it is an estimate."""
    unit = 10 ** max(0, len(str(number)) - 2)
    return f"{-(-number // unit) * unit:,}"
