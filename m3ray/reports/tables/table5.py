"""Table 5: the parameters of the training, read from the settings themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from m3ray.config import TrainConfig, as_json
from m3ray.config.presets import (
    authors_memento10k_training,
    authors_videomem_training,
    memento10k_training,
    videomem_training,
)
from m3ray.features.matrix import SCALED
from m3ray.reports.tables.table import Table

TITLE = (
    "Parameters of the training: this study's full model beside the paper's two data sets, and the authors' published "
    "command for each"
)
NOTE = (
    "With gain 2 and power 4, scores spread as Memento10k's weigh 0.999 to 1.04 in MSE (tails): nearly the plain MSE. "
    "Soft ranks of strength 1 are linear in scores in [0, 1], so that their correlation is Pearson's. A best epoch on "
    "val is optimistic."
)


def build_parameters_table(variant: Mapping[str, Any], tiers: Mapping[str, Any] | None = None) -> Table:
    """Build Table 5.

    Args:
        variant: the full model, as the study's `config.json` holds it.
        tiers: tier to its entry in the study's `config.json`; those of user-provided tiers say whether they are scaled.
    Returns:
        The table: this study beside the paper's two data sets, and the authors' commands for them.
    """
    columns = {
        variant["name"]: variant["training"],
        "Memento10k": as_json(memento10k_training()),
        "VideoMem": as_json(videomem_training()),
        "Memento10k, authors' code": as_json(authors_memento10k_training()),
        "VideoMem, authors' code": as_json(authors_videomem_training()),
    }
    frame = pd.DataFrame({"Parameter": list(_parameter_values(as_json(TrainConfig())))})
    for name, settings in columns.items():
        frame[name] = list(_parameter_values(settings).values())
    entries = tiers or {}
    scaled = [t for t in variant["tiers"] if t.partition(":")[0] in SCALED or entries.get(t, {}).get("scaled")]
    frame.loc[frame["Parameter"] == "Normalizing", variant["name"]] = ", ".join(scaled) or "none"
    return Table(5, TITLE, frame, frame, {}, {}, (NOTE,))


def _parameter_values(settings: Mapping[str, Any]) -> dict[str, str]:
    """Parameter to its text, in the paper's order, from a training's settings as JSON values."""
    losses = {
        "mse": "MSE",
        "mse_tails": f"MSE (tails: gain {settings['tails_gain']:g}, power {settings['tails_power']:g}, "
        f"{'train' if settings.get('tails_centre') == 'data' else 'batch'} mean)",
        "spearman": f"Spearman (strength {settings['strength']:g}, scale {settings['spearman_scale']:g})",
        "mse_to_spearman": f"MSE to Spearman (strength {settings['strength']:g}, scale {settings['spearman_scale']:g})",
    }
    return {
        "Hidden channels": str([*settings["hidden"], 1]),
        "Batch size": str(settings["batch"]),
        "Learning rate": f"{settings['learning_rate']:g}",
        "Scheduler": f"StepLR, gamma = {settings['gamma']:g}, step size = {settings['step_size']}",
        "Epochs": str(settings["epochs"]),
        "Loss": losses[settings["loss"]],
        "Weight decay": f"{settings['weight_decay']:g}",
        "Optimizer": "Adam",
        "Normalizing": ", ".join(SCALED),
        "Epoch reported": settings.get("report", "last"),
    }
