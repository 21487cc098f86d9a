"""Pretrained scorers beside what a study predicts: which of them can be compared with it."""

from __future__ import annotations

from collections.abc import Iterable

from m3ray.tiers.pretrained.facts import SCORERS, find_scorer

_FALSE_ALARMS = "false_alarm_rate"


def suits_target(scorer: str, target: str) -> bool:
    """Tell whether a pretrained scorer's output can stand beside a study's own predictions.

    Args:
        scorer: Name of the scorer.
        target: What the study predicts, a column of the catalogue.
    Returns:
        Whether it can: one of false alarms beside their rate alone, one of memorability beside all else.
    Raises:
        ConfigError: If there is no scorer of this name.
    """
    return (find_scorer(scorer).predicts == _FALSE_ALARMS) == (target == _FALSE_ALARMS)


def list_pretrained(names: Iterable[str], target: str) -> list[str]:
    """List the pretrained scorers that can be rows of a study.

    Args:
        names: Names of tiers.
        target: What the study predicts.
    Returns:
        Those of them that are such scorers and suit the target, in one order.
    """
    wanted = set(names)
    return [name for name in SCORERS if name in wanted and suits_target(name, target)]
