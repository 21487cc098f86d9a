"""Finetuning step by step: plain PyTorch, in one process or as one of several workers."""

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
from m3ray.config.finetuning import FinetuneConfig
from m3ray.errors import M3RayError
from m3ray.training.finetuning.model import FinetuneModel
from m3ray.training.stacked import make_loss


@dataclass(frozen=True)
class MicroBatch:
    """The clips that a worker computes at once.

    Args:
        frames: Frames of each of B clips, (T, H, W, 3), uint8, on the device.
        rows: Rows of the matrix as the frozen model sees it, (B, F), float32.
        scores: Scores in [0, 1], (B,), float32.
        mask: 1 where a clip counts, 0 where it fills up the last step of an epoch, (B,), float32.
        positions: Rows of the clips in the study's matrix, (B,), int64.
    """

    frames: Sequence[Tensor]
    rows: Tensor
    scores: Tensor
    mask: Tensor
    positions: Tensor


class OutOfMemoryError(M3RayError):
    """A step did not fit the device."""


class DivergedError(M3RayError):
    """The loss is not finite."""


# Concatenates a tensor of each worker, in the workers' order.
Gather = Callable[[Tensor], Tensor]


def gather_alone(values: Tensor) -> Tensor:
    """Gather the tensors of a single process.

    Args:
        values: This process' tensor.
    Returns:
        The same.
    """
    return values


class FinetuneTrainer:
    """A model in training, its optimiser, its moving average and the number of its steps.

    Args:
        model: Model on its device.
        config: Settings of the finetuning.
        training: Settings that name the loss and its numbers.
        steps: Steps of all epochs together.
        distributed_model: What is called in the model's place, PyTorch's DistributedDataParallel around it; None: the
            model.
        gather: Concatenates a tensor of each worker.
        workers: Number of workers.
        rank: Rank of this worker, from 0.
    """

    def __init__(
        self,
        model: FinetuneModel,
        config: FinetuneConfig,
        training: TrainConfig,
        steps: int,
        *,
        distributed_model: nn.Module | None = None,
        gather: Gather = gather_alone,
        workers: int = 1,
        rank: int = 0,
    ) -> None:
        self.model, self.config, self.training = model, config, training
        self.distributed_model = model if distributed_model is None else distributed_model
        self.gather, self.workers, self.rank = gather, workers, rank
        self.device = next(model.parameters()).device
        self.optimiser = torch.optim.Adam(
            model.parameter_groups(config), weight_decay=config.weight_decay, fused=self.device.type in ("cuda", "cpu")
        )
        factor = partial(warmup_cosine, steps=steps, config=config)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, factor)
        mean = get_ema_multi_avg_fn(config.ema)
        self.average = AveragedModel(model, multi_avg_fn=mean, use_buffers=True) if config.ema else None
        self.step_number = 0

    @property
    def ema_model(self) -> FinetuneModel:
        """The model that is evaluated and kept: the moving average of the weights, or the model itself without one."""
        return self.model if self.average is None else self.average.module  # type: ignore[return-value]

    def step(self, micro_batches: Sequence[MicroBatch], progress: float) -> float:
        """Take one step of the optimiser on this worker's part of a batch.

        The loss is that of the whole batch, over all workers and micro-batches, whatever the loss is: its gradient with
        respect to all predictions is computed first, and each micro-batch is then driven by its own part.

        Args:
            micro_batches: This worker's micro-batches of the step.
            progress: Progress of the training, 0 at the first epoch to 1 at the last.
        Returns:
            The batch's loss.
        Raises:
            DivergedError: If the loss is not finite; the weights are as they were.
            OutOfMemoryError: If the step does not fit the device; it names the settings to lower.
        """
        try:
            return self._step(micro_batches, progress)
        except torch.OutOfMemoryError as error:
            first = micro_batches[0].frames
            raise OutOfMemoryError(
                f"a step of {len(first)} clips of up to {max(len(frames) for frames in first)} frames does not fit "
                f"{self.device}: lower micro_batch (now {self.config.micro_batch}), frames or size ({error})"
            ) from error

    def _step(self, micro_batches: Sequence[MicroBatch], progress: float) -> float:
        self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        if len(micro_batches) > 1 and self.training.loss == "mse":
            loss = self._accumulate_squared_error(micro_batches)
        else:
            loss = self._accumulate_any_loss(micro_batches, progress)
        if not math.isfinite(loss):
            raise DivergedError(f"the loss is {loss} at step {self.step_number + 1}: lower the learning rates")
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimiser.step()
        self.schedule.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        self.step_number += 1
        return loss

    def _accumulate_squared_error(self, micro_batches: Sequence[MicroBatch]) -> float:
        """Accumulate gradients of the squared error: a sum over clips, so each micro-batch has its own part at once."""
        clips = self.gather(torch.cat([part.mask for part in micro_batches])).sum()
        total = torch.zeros(1, device=self.device)
        for index, part in enumerate(micro_batches):
            last = index == len(micro_batches) - 1
            scores = self._forward(part, last)
            error = (scores.detach().float() - part.scores) * part.mask
            total += (error.square() / clips).sum()
            self._backward(scores, 2 * error / clips, last)
        return float(self.gather(total).sum())

    def _accumulate_any_loss(self, micro_batches: Sequence[MicroBatch], progress: float) -> float:
        """Accumulate gradients of a loss of the batch as a whole, which takes all predictions before the first one."""
        predictions = [self._predict(part) for part in micro_batches] if len(micro_batches) > 1 else []
        loss, gradients = 0.0, ()
        for index, part in enumerate(micro_batches):
            last = index == len(micro_batches) - 1
            scores = self._forward(part, last)
            if index == 0:
                loss, gradient = self._loss_and_gradient(micro_batches, predictions or [scores.detach()], progress)
                if not math.isfinite(loss):
                    return loss
                gradients = gradient.split([len(part.scores) for part in micro_batches])
            self._backward(scores, gradients[index], last)
        return loss

    def _forward(self, part: MicroBatch, last: bool) -> Tensor:
        with self._synchronise_only(last), self._autocast():
            return self.distributed_model(part.frames, part.rows)

    def _backward(self, scores: Tensor, gradient: Tensor, last: bool) -> None:
        with self._synchronise_only(last):
            # DistributedDataParallel takes the mean over workers; the batch's gradient is their sum.
            scores.backward(gradient.to(scores.dtype) * self.workers)

    @torch.no_grad()
    def _predict(self, part: MicroBatch) -> Tensor:
        with self._autocast():
            return self.model(part.frames, part.rows)

    def _loss_and_gradient(
        self, micro_batches: Sequence[MicroBatch], predictions: Sequence[Tensor], progress: float
    ) -> tuple[float, Tensor]:
        """The whole batch's loss, and its gradient with respect to this worker's predictions."""
        own = torch.cat([values.float() for values in predictions])
        scores, mask = (torch.cat([getattr(part, name) for part in micro_batches]) for name in ("scores", "mask"))
        batch = self.gather(torch.stack([own, scores, mask, torch.full_like(own, self.rank)], dim=1))
        counted = batch[:, 2] > 0
        prediction = batch[counted, 0].clone().requires_grad_(True)
        loss = batch_loss(prediction, batch[counted, 1], self.training, progress)
        (gradient,) = torch.autograd.grad(loss, prediction)
        gradients = torch.zeros(len(batch), dtype=gradient.dtype, device=gradient.device)
        gradients[counted] = gradient
        return float(loss.detach()), gradients[batch[:, 3] == self.rank]

    def _synchronise_only(self, last: bool) -> AbstractContextManager[Any]:
        """Sum gradients over workers in the last micro-batch alone."""
        no_sync = getattr(self.distributed_model, "no_sync", None)
        return nullcontext() if last or no_sync is None else no_sync()

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16")

    @torch.no_grad()
    def vectors(self, part: MicroBatch) -> tuple[dict[str, Tensor], Tensor]:
        """Vectors and scores of clips by `ema_model`, without a gradient.

        Args:
            part: The clips.
        Returns:
            Network to (B, width), float32; scores in [0, 1], (B,), float32.
        """
        self.ema_model.eval()
        with self._autocast():
            vectors = self.ema_model.vectors(part.frames)
            return vectors, self.ema_model.scores(vectors, part.rows).float()

    def state(self) -> dict[str, Any]:
        """All that the training needs to go on, as a checkpoint holds it."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "step": self.step_number,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from an earlier state.

        Args:
            state: What `state` returned, of a trainer with the same settings.
        """
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        if self.average is not None and state["average"] is not None:
            self.average.load_state_dict(state["average"])
        self.step_number = state["step"]


def batch_loss(prediction: Tensor, target: Tensor, config: TrainConfig, progress: float) -> Tensor:
    """Loss of a batch.

    Args:
        prediction: Predicted scores, (B,).
        target: Scores, (B,).
        config: Settings that name the loss and its numbers.
        progress: Progress of the training, 0 at the first epoch to 1 at the last.
    Returns:
        The loss, ().
    """
    return make_loss([config], progress, prediction)(prediction, target)


def warmup_cosine(step: int, steps: int, config: FinetuneConfig) -> float:
    """Factor of the learning rates: a linear warm-up, then a cosine down to 0 (Loshchilov and Hutter 2017).

    Args:
        step: Step, from 0.
        steps: Steps of all epochs together.
        config: Settings that give the share of the warm-up.
    Returns:
        A factor in [0, 1].
    """
    warm_up = max(1, round(config.warm_up * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1, steps - warm_up))))
