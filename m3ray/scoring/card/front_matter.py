"""The YAML at the head of a model card, as Hugging Face's hub reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from m3ray.scoring.card.energy import Used
from m3ray.scoring.card.measured import Measured

LIBRARY = "m3ray"
_TAGS = ("memorability", "video-memorability", "regression")
_GRAMS = 1000
# Names of the hub's own for what a card calls otherwise.
_METRICS = {"rho": ("spearmanr", "Spearman's rho"), "MSE": ("mse", "MSE"), "MAE": ("mae", "MAE")}


def make_front_matter(
    name: str,
    measured: Sequence[Measured],
    dataset: str | None,
    licence: tuple[str, str] | None,
    *,
    used: Used | None = None,
    tags: Sequence[str] = (),
) -> str:
    """Make the head of a card.

    Args:
        name: name of the model.
        measured: its numbers.
        dataset: name of the data set; None: unknown.
        licence: identifier of the hub's, and its own name where that is `other`; None: nobody chose one.
        used: energy of the jobs that made it; None: unknown.
        tags: further tags.
    Returns:
        YAML between two lines of three hyphens. What is unknown is left out, and so are numbers of very few clips: the
        hub shows them without a caution.
    """
    values: dict[str, Any] = {}
    if licence is not None:
        values["license"] = licence[0]
        if licence[0] == "other":
            values["license_name"] = licence[1]
    values |= {"library_name": LIBRARY, "pipeline_tag": "video-classification", "tags": [*_TAGS, *tags]}
    rows = [row for row in measured if row.metric in _METRICS and row.value is not None and not row.is_of_few]
    if rows:
        values["metrics"] = list(dict.fromkeys(_METRICS[row.metric][0] for row in rows))
        values["model-index"] = [{"name": name, "results": _list_results(rows, dataset)}]
    if used is not None:
        how = "; ".join(dict.fromkeys(device.how for device in used.devices))
        values["co2_eq_emissions"] = {"emissions": float(f"{used.kilograms * _GRAMS:.3g}"), "source": f"m3ray: {how}"}
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)}---"


def _list_results(rows: Sequence[Measured], dataset: str | None) -> list[dict[str, Any]]:
    """The hub's results: one a set of clips."""
    results = []
    for where in dict.fromkeys(row.where for row in rows):
        named = [(*_METRICS[row.metric], row.value) for row in rows if row.where == where]
        metrics = [
            {"type": kind, "value": float(f"{value:.4g}"), "name": f"{text}, {where}"} for kind, text, value in named
        ]
        own = {"name": dataset or "unknown", "type": dataset or "unknown", "split": where}
        task = {"type": "video-classification", "name": "Prediction of memorability"}
        results.append({"task": task, "dataset": own, "metrics": metrics})
    return results
