"""Training the full model step by step: plain PyTorch, in one process or as one of several workers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from m3ray.config import TrainConfig
from m3ray.config.finetuning import UnfrozenConfig
from m3ray.errors import M3RayError
from m3ray.model import losses
from m3ray.training.finetuning.model import FullModel


@dataclass(frozen=True)
class Clips:
    """What a worker computes at once.

    Args:
        frames: of each clip, uint8 (T, H, W, 3), on the device.
        rows: the matrix as the frozen model sees it, (B, F).
        scores: (B,).
        counts: whether each clip counts, (B,), float.
        positions: of the clips in the study's matrix, (B,).
    """

    frames: Sequence[Tensor]
    rows: Tensor
    scores: Tensor
    counts: Tensor
    positions: Tensor


class OutOfMemoryError(M3RayError):
    """A step did not fit the device."""


class DivergedError(M3RayError):
    """The loss is not finite."""


# Concatenates a tensor of each worker, in the workers' order.
Gather = Callable[[Tensor], Tensor]


def alone(values: Tensor) -> Tensor:
    """One process has nothing to gather."""
    return values


class FullTraining:
    """A model, its optimiser and how far it is.

    Args:
        model: on its device.
        config: of the unfrozen training.
        training: names the loss and its numbers.
        steps: of all epochs together.
        wrapped: what is called in the model's place: PyTorch's DistributedDataParallel around it; None: the model.
        gather: over all workers.
        workers: their number.
        rank: of this one.
    """

    def __init__(
        self,
        model: FullModel,
        config: UnfrozenConfig,
        training: TrainConfig,
        steps: int,
        *,
        wrapped: nn.Module | None = None,
        gather: Gather = alone,
        workers: int = 1,
        rank: int = 0,
    ) -> None:
        self.model, self.config, self.training = model, config, training
        self.wrapped = model if wrapped is None else wrapped
        self.gather, self.workers, self.rank = gather, workers, rank
        self.device = next(model.parameters()).device
        self.optimiser = torch.optim.Adam(
            model.groups(config), weight_decay=config.weight_decay, fused=self.device.type in ("cuda", "cpu")
        )
        factor = partial(warmed_cosine, steps=steps, config=config)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, factor)
        mean = get_ema_multi_avg_fn(config.ema)
        self.average = AveragedModel(model, multi_avg_fn=mean, use_buffers=True) if config.ema else None
        self.step_number = 0

    @property
    def judged(self) -> FullModel:
        """The model that is judged and kept: the moving average where there is one."""
        return self.model if self.average is None else self.average.module  # type: ignore[return-value]

    def step(self, rounds: Sequence[Clips], progress: float) -> float:
        """One step of the optimiser on this worker's part of a batch.

        The loss is that of the whole batch, over all workers and rounds, whatever the loss is: its gradient by the
        predictions is computed on all of them together, and each round is then driven by its own part.

        Args:
            rounds: one micro-batch each.
            progress: from 0 at the first epoch to 1 at the last.
        Returns:
            The batch's loss.
        Raises:
            DivergedError: it is not finite; the weights are as they were.
            OutOfMemoryError: names the setting to lower.
        """
        try:
            return self._step(rounds, progress)
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError(
                f"a step of {len(rounds[0].frames)} clips of up to {max(len(f) for f in rounds[0].frames)} frames does "
                f"not fit {self.device}: lower micro_batch (now {self.config.micro_batch}), frames or size ({error})"
            ) from error

    def _step(self, rounds: Sequence[Clips], progress: float) -> float:
        self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        one_by_one = len(rounds) > 1 and self.training.loss == "mse"
        loss = self._squares(rounds) if one_by_one else self._together(rounds, progress)
        if not math.isfinite(loss):
            raise DivergedError(f"the loss is {loss} at step {self.step_number + 1}: lower the learning rates")
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimiser.step()
        self.schedule.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        self.step_number += 1
        return loss

    def _squares(self, rounds: Sequence[Clips]) -> float:
        """The squared error is a sum over clips: each round has its gradient without a look at the others."""
        counting = self.gather(torch.cat([clips.counts for clips in rounds])).sum()
        total = torch.zeros(1, device=self.device)
        for index, clips in enumerate(rounds):
            last = index == len(rounds) - 1
            scores = self._forward(clips, last)
            error = (scores.detach().float() - clips.scores) * clips.counts
            total += (error.square() / counting).sum()
            self._backward(scores, 2 * error / counting, last)
        return float(self.gather(total).sum())

    def _together(self, rounds: Sequence[Clips], progress: float) -> float:
        """Any loss: predictions of all rounds first, without a gradient, as it may look at the batch as a whole."""
        known = [self._predicted(clips) for clips in rounds] if len(rounds) > 1 else []
        loss, parts = 0.0, ()
        for index, clips in enumerate(rounds):
            last = index == len(rounds) - 1
            scores = self._forward(clips, last)
            if index == 0:
                loss, gradient = self._loss(rounds, known or [scores.detach()], progress)
                if not math.isfinite(loss):
                    return loss
                parts = gradient.split([len(part.scores) for part in rounds])
            self._backward(scores, parts[index], last)
        return loss

    def _forward(self, clips: Clips, last: bool) -> Tensor:
        with self._unsynchronised(last), self._autocast():
            return self.wrapped(clips.frames, clips.rows)

    def _backward(self, scores: Tensor, gradient: Tensor, last: bool) -> None:
        with self._unsynchronised(last):
            # DistributedDataParallel takes the mean over workers; the batch's gradient is their sum.
            scores.backward(gradient.to(scores.dtype) * self.workers)

    @torch.no_grad()
    def _predicted(self, clips: Clips) -> Tensor:
        with self._autocast():
            return self.model(clips.frames, clips.rows)

    def _loss(self, rounds: Sequence[Clips], known: Sequence[Tensor], progress: float) -> tuple[float, Tensor]:
        """The whole batch's loss, and its gradient by this worker's predictions."""
        own = torch.cat([values.float() for values in known])
        scores, counts = (torch.cat([getattr(c, name) for c in rounds]) for name in ("scores", "counts"))
        everything = self.gather(torch.stack([own, scores, counts, torch.full_like(own, self.rank)], dim=1))
        kept = everything[:, 2] > 0
        predictions = everything[kept, 0].clone().requires_grad_(True)
        loss = batch_loss(predictions, everything[kept, 1], self.training, progress)
        (gradient,) = torch.autograd.grad(loss, predictions)
        spread = torch.zeros(len(everything), dtype=gradient.dtype, device=gradient.device)
        spread[kept] = gradient
        return float(loss.detach()), spread[everything[:, 3] == self.rank]

    def _unsynchronised(self, last: bool) -> AbstractContextManager[Any]:
        """Gradients are summed over workers in the last round alone."""
        quiet = getattr(self.wrapped, "no_sync", None)
        return nullcontext() if last or quiet is None else quiet()

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16")

    @torch.no_grad()
    def vectors(self, clips: Clips) -> tuple[dict[str, Tensor], Tensor]:
        """The judged model's vectors and scores of clips, without a gradient."""
        self.judged.eval()
        with self._autocast():
            vectors = self.judged.vectors(clips.frames)
            return vectors, self.judged.scores(vectors, clips.rows).float()

    # What a checkpoint holds.

    def state(self) -> dict[str, Any]:
        """All that the training needs to go on."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "step": self.step_number,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a `state`."""
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        if self.average is not None and state["average"] is not None:
            self.average.load_state_dict(state["average"])
        self.step_number = state["step"]


def batch_loss(prediction: Tensor, target: Tensor, config: TrainConfig, progress: float) -> Tensor:
    """The loss that `config` names: (B,) and (B,) to a number."""
    return {
        "mse": lambda: losses.mse(prediction, target),
        "mse_tails": lambda: losses.mse_tails(prediction, target, config.tails_gain, config.tails_power),
        "spearman": lambda: losses.spearman(prediction, target, config.strength, config.spearman_scale),
        "mse_to_spearman": lambda: losses.mse_to_spearman(
            prediction, target, progress, config.strength, config.spearman_scale
        ),
    }[config.loss]()


def warmed_cosine(step: int, steps: int, config: UnfrozenConfig) -> float:
    """Factor of the learning rates: a straight rise, then a cosine down to 0 (Loshchilov and Hutter 2017)."""
    rise = max(1, round(config.warm_up * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))
