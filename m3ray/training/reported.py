"""Which epoch of a run is kept and reported: the last, or the best one on val."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from m3ray.model import StackedMLP


class ReportedEpochs:
    """The epoch of each run that is reported: its predictions and, where it need not be the last, its weights.

    Args:
        model: Stacked model that is trained.
        report: Which epoch: the last, or the best one on val.
    """

    def __init__(self, model: StackedMLP, report: Literal["last", "best"]) -> None:
        self._model, self._best = model, report == "best"
        self._state: dict[str, Tensor] = {}
        self._spearman = np.empty(0)
        self.predictions = np.empty(0)
        self.epochs = np.empty(0, np.int64)

    def keep(self, epoch: int, predictions: np.ndarray, spearman: np.ndarray) -> None:
        """Take an epoch in place of those before it, for the runs that report it.

        Args:
            epoch: The epoch, from 0.
            predictions: Predictions on val after it, (R, V).
            spearman: Rank correlation on val after it, (R,); not a number counts as the worst.
        """
        value = np.nan_to_num(spearman, nan=-np.inf)
        if not self._best or not len(self.epochs):
            self.predictions, self._spearman = predictions, value
            self.epochs = np.full(len(predictions), epoch + 1)
            self._state = {k: v.clone() for k, v in self._model.state_dict().items()} if self._best else {}
            return
        # A run that has no correlation yet goes on to its last epoch.
        better = (value > self._spearman) | np.isneginf(self._spearman)
        self._spearman = np.where(better, value, self._spearman)
        self.epochs = np.where(better, epoch + 1, self.epochs)
        self.predictions = np.where(better[:, None], predictions, self.predictions)
        runs = torch.from_numpy(np.flatnonzero(better)).to(next(iter(self._state.values())).device)
        for name, values in self._model.state_dict().items():
            self._state[name][runs] = values[runs]

    def load_weights(self) -> StackedMLP:
        """The model, with the weights of each run's reported epoch."""
        if self._state:
            self._model.load_state_dict(self._state)
        return self._model
