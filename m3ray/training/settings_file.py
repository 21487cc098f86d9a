"""What was selected for the tiers of a root, as a file: `train`, `ablate`, `tune` and `reproduce` share it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from m3ray.config import TrainConfig, as_json, fingerprint
from m3ray.errors import ConfigError
from m3ray.features.dataset import StudyData
from m3ray.training.config_file import parse_training
from m3ray.training.contenders import Candidate
from m3ray.training.model_selection import VERSION, Selection

FOLDER = ("artifacts", "settings")


@dataclass(frozen=True)
class ChosenSettings:
    """Settings that were selected, as a file holds them.

    Args:
        training: The settings.
        name: Name of the candidate that they are.
        beats_preset: Whether they beat the paper's on held-out clips by more than one standard error; None: unknown.
    """

    training: TrainConfig
    name: str
    beats_preset: bool | None


def identify_selection(data: StudyData, columns: np.ndarray, candidates: Mapping[str, TrainConfig]) -> str:
    """Hash all that a selection depends on: the train rows as the model sees them, and the candidates.

    Args:
        data: Data of the study.
        columns: Positions of the columns that the model sees.
        candidates: Name to settings.
    Returns:
        Ten hexadecimal digits.
    """
    digest = hashlib.sha256()
    for values in (data.scaled[np.ix_(data.train, columns)], data.target.to_unit(data.scores[data.train])):
        digest.update(values.tobytes())
    # Groups by their first train clip: clips of other splits may change their numbers.
    groups = None if data.groups is None else np.unique(data.groups[data.train], return_inverse=True)[1]
    for more in (None if data.weights is None else data.weights[data.train], groups):
        digest.update(b"none" if more is None else more.tobytes())
    return fingerprint(VERSION, digest.hexdigest(), candidates)


def describe_choice(selection: Selection, tiers: Sequence[str], job: str) -> dict[str, Any]:
    """Make the content of a file of settings, which `--config` takes too.

    Args:
        selection: What was selected.
        tiers: Names of the tiers that the model sees.
        job: Name of the job that selected.
    Returns:
        JSON values.
    """
    gain = selection.gain
    return {
        "training": as_json(selection.training),
        "chosen": selection.chosen,
        "chosen_on": "train",
        "chosen_among": [_make_row(c, selection) for c in selection.candidates.values()],
        "tried": selection.tried,
        "beats_preset": selection.beats_preset,
        "gain_over_preset": None if gain is None else {"score": gain[0], "standard_error": _number(gain[1])},
        "cost": {"plain_trainings": selection.cost, "seconds": selection.seconds},
        "tiers": list(tiers),
        "made_by": job,
    }


def _make_row(candidate: Candidate, selection: Selection) -> dict[str, Any]:
    return {
        "name": candidate.name,
        "held_out_parts": len(candidate.curves),
        "score": candidate.best_score,
        "spearman": _number(candidate.measure("spearman")),
        "mse": _number(candidate.measure("mse")),
        "epochs": candidate.epochs,
        "chosen": candidate.name == selection.chosen,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def read_choice(content: Any, origin: str) -> ChosenSettings:
    """Read the content of a file of settings that a job left on a root.

    Args:
        content: JSON value.
        origin: Name of the file, for messages.
    Returns:
        The settings.
    Raises:
        ConfigError: If it holds no such settings.
    """
    if not isinstance(content, dict) or not isinstance(content.get("training"), dict):
        raise ConfigError(f"{origin} holds no training settings")
    beats = content.get("beats_preset")
    return ChosenSettings(
        parse_training(content["training"], origin),
        str(content.get("chosen", "settings")),
        beats if isinstance(beats, bool) else None,
    )


def list_candidates(selection: Selection) -> str:
    """List the candidates that had all of their epochs, the chosen one marked, for the log.

    Args:
        selection: What was selected.
    Returns:
        A line a candidate, after a heading.
    """
    heading = f"  {'settings':<46} {'held out':>8} {'spearman':>8} {'mse/var':>8} {'epochs':>6}"
    lines = [
        f"  {c.name:<46} {len(c.curves):>7}x {c.measure('spearman'):>8.4f} {c.measure('mse'):>8.4f} {c.epochs:>6}"
        + ("  <- chosen" if c.name == selection.chosen else "")
        for c in selection.candidates.values()
    ]
    return "\n".join([heading, *lines])
