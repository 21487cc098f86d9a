"""Runs that diverged: a weight or a prediction is no finite number. A bundle's scores are the mean of the others.

A run that predicts one score for all clips stays: it ranks nothing, but its scores are numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from m3ray.errors import BundleError
from m3ray.model import StackedMLP


@torch.inference_mode()
def find_finite_runs(model: StackedMLP, features: np.ndarray) -> np.ndarray:
    """Find the runs that did not diverge.

    Args:
        model: Stacked model of R runs.
        features: Scaled features of N clips, (N, F), that they are tried on.
    Returns:
        Whether all weights and predictions of each run are finite, bool, (R,).
    """
    parameters = [value.reshape(len(value), -1).isfinite().all(dim=1) for value in model.state_dict().values()]
    scores = model(torch.tensor(np.asarray(features, np.float32)))
    return torch.stack([*parameters, scores.isfinite().all(dim=1)]).all(dim=0).cpu().numpy()


def drop_runs(model: StackedMLP, kept: np.ndarray, name: str) -> StackedMLP:
    """Drop the runs that diverged.

    Args:
        model: Stacked model of R runs.
        kept: Which runs stay, bool, (R,).
        name: Name of the bundle, for the error.
    Returns:
        The others as one model; the same one where all stay.
    Raises:
        BundleError: If none stays.
    """
    if kept.all():
        return model
    if not kept.any():
        runs = "its run" if len(kept) == 1 else f"all {len(kept)} runs"
        raise BundleError(
            f"{name}: {runs} diverged (weights or scores that are not finite): nothing can be scored; "
            "train again with a lower learning rate, or look for features that are not finite"
        )
    rows = torch.from_numpy(np.flatnonzero(kept))
    state = {name: value.index_select(0, rows.to(value.device)) for name, value in model.state_dict().items()}
    return StackedMLP.from_state(state)


def split_seeds(seeds: Sequence[int], kept: np.ndarray) -> tuple[list[int], list[int]]:
    """Split the seeds of the runs.

    Args:
        seeds: Seed of each run, R; where they are unknown, the runs are numbered from 0 instead.
        kept: Which runs stay, bool, (R,).
    Returns:
        Seeds of the runs that stay, and of those that are dropped.
    """
    known = list(seeds) if len(seeds) == len(kept) else list(range(len(kept)))
    stays = [seed for seed, keep in zip(known, kept, strict=True) if keep]
    return stays, [seed for seed, keep in zip(known, kept, strict=True) if not keep]


def describe_dropped(dropped: Sequence[int]) -> str:
    """Say which runs were dropped.

    Args:
        dropped: Their seeds, at least one.
    Returns:
        Part of a sentence.
    """
    what = "1 more run diverged and was" if len(dropped) == 1 else f"{len(dropped)} more runs diverged and were"
    return f"{what} dropped (seed {', '.join(map(str, dropped))})"
