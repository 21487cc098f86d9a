"""Finetuning step by step: plain PyTorch, in one process or as one of several workers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from m3ray.config import TrainConfig
from m3ray.config.finetuning import FinetuneConfig
from m3ray.errors import M3RayError
from m3ray.tiers.precision import float32_precision
from m3ray.training.finetuning.average import MovingAverage
from m3ray.training.finetuning.feed import MicroBatch
from m3ray.training.finetuning.model import FinetuneModel
from m3ray.training.finetuning.sampler import StepLayout
from m3ray.training.stacked import make_loss


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
        config: Settings of the finetuning, its precision resolved.
        training: Settings that name the loss and its numbers.
        steps: Steps of all epochs together.
        distributed_model: What is called in the model's place, PyTorch's DistributedDataParallel around it; None: the
            model.
        gather: Concatenates a tensor of each worker.
        layout: Layout of a step over workers; None: a single worker, whose steps are what it is given.
        rank: Rank of this worker, from 0.

    Its `score_mean` may be set to the mean of the train split's scores, for mse_tails; None: that of each batch.
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
        layout: StepLayout | None = None,
        rank: int = 0,
    ) -> None:
        self.model, self.config, self.training = model, config, training
        self.distributed_model = model if distributed_model is None else distributed_model
        self.gather, self.layout, self.rank = gather, layout, rank
        self.score_mean: float | None = None
        self.workers = 1 if layout is None else layout.workers
        self.device = next(model.parameters()).device
        self.optimiser = torch.optim.Adam(
            model.parameter_groups(config), weight_decay=config.weight_decay, fused=self.device.type in ("cuda", "cpu")
        )
        factor = partial(warmup_cosine, steps=steps, config=config)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, factor)
        self.average = MovingAverage(model, config.ema) if config.ema else None
        self.step_number = 0

    @property
    def ema_model(self) -> FinetuneModel:
        """The model that is evaluated and kept: the moving average of the weights, or the model itself without one."""
        return self.model if self.average is None else self.average.module  # type: ignore[return-value]

    def step(self, micro_batches: Sequence[MicroBatch], progress: float, clips: int | None = None) -> float:
        """Take one step of the optimiser on this worker's part of a batch.

        The loss is that of the whole batch, over all workers and micro-batches, whatever the loss is: its gradient with
        respect to all predictions is computed first, and each micro-batch is then driven by its own part. The host
        waits for the device once, for the loss, when all of the gradient has been asked for.

        Args:
            micro_batches: This worker's micro-batches of the step.
            progress: Progress of the training, 0 at the first epoch to 1 at the last.
            clips: Number of the step's clips that count, over all workers, the first places of the layout; None: those
                that a single worker's masks let count.
        Returns:
            The batch's loss.
        Raises:
            DivergedError: If the loss is not finite; the weights are as they were.
            OutOfMemoryError: If the step does not fit the device; it names the settings to lower.
        """
        try:
            counted = self._find_counted(micro_batches, clips)
            loss = float(self.compute_gradients(micro_batches, progress, counted))
            if not math.isfinite(loss):
                raise DivergedError(f"the loss is {loss} at step {self.step_number + 1}: lower the learning rates")
            self.apply_gradients()
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError(self._describe_lack_of_memory(micro_batches[0], error)) from error
        return loss

    def _find_counted(self, micro_batches: Sequence[MicroBatch], clips: int | None) -> np.ndarray:
        """Rows of the gathered batch that count, in the batch's own order, which no number of workers changes."""
        if self.layout is not None and clips is not None:
            return self.layout.gathered_rows(clips)
        assert self.workers == 1, "with several workers, a step is told how many clips count"
        return np.flatnonzero(torch.cat([part.mask for part in micro_batches]).cpu().numpy())

    def _describe_lack_of_memory(self, part: MicroBatch, error: BaseException) -> str:
        longest = max(len(frames) for frames in part.frames)
        return (
            f"a step of {len(part.frames)} clips of up to {longest} frames does not fit {self.device} with blocks "
            f"{'recomputed' if self.config.recomputes else 'kept'}: lower --finetune.micro-batch (now "
            f"{self.config.micro_batch}), --finetune.frames or --finetune.size ({error})"
        )

    def compute_gradients(self, micro_batches: Sequence[MicroBatch], progress: float, counted: np.ndarray) -> Tensor:
        """Add up the gradients of a step on the device; nothing waits for it.

        Args:
            micro_batches: This worker's micro-batches of the step.
            progress: Progress of the training, 0 at the first epoch to 1 at the last.
            counted: Rows of the gathered batch that count, int64.
        Returns:
            The batch's loss, float32, ().
        """
        self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        with self._set_float32():
            if len(micro_batches) > 1 and self.training.loss == "mse":
                return self._accumulate_squared_error(micro_batches, len(counted))
            return self._accumulate_any_loss(micro_batches, progress, self._send(counted))

    def apply_gradients(self) -> None:
        """Clip the gradients and change the weights by them, and the average; nothing waits for the device."""
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimiser.step()
        self.schedule.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        self.step_number += 1

    def _send(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)

    def _accumulate_squared_error(self, micro_batches: Sequence[MicroBatch], clips: int) -> Tensor:
        """Accumulate gradients of the squared error: a sum over clips, so each micro-batch has its own part at once."""
        total = torch.zeros(1, device=self.device)
        for index, part in enumerate(micro_batches):
            last = index == len(micro_batches) - 1
            scores = self._forward(part, last)
            mask = part.mask.to(self.device, non_blocking=True)
            error = (scores.detach().float() - part.scores) * mask
            total += (error.square() / clips).sum()
            self._backward(scores, 2 * error / clips, last)
        return self.gather(total).sum()

    def _accumulate_any_loss(self, micro_batches: Sequence[MicroBatch], progress: float, counted: Tensor) -> Tensor:
        """Accumulate gradients of a loss of the batch as a whole, which takes all predictions before the first one."""
        if len(micro_batches) == 1:
            scores = self._forward(micro_batches[0], last=True)
            loss, gradient = self._differentiate_loss(micro_batches, [scores.detach()], progress, counted)
            self._backward(scores, gradient, last=True)
            return loss
        predictions = [self._predict(part) for part in micro_batches]
        loss, gradient = self._differentiate_loss(micro_batches, predictions, progress, counted)
        gradients = gradient.split([len(part.scores) for part in micro_batches])
        for index, part in enumerate(micro_batches):
            last = index == len(micro_batches) - 1
            self._backward(self._forward(part, last), gradients[index], last)
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

    def _differentiate_loss(
        self, micro_batches: Sequence[MicroBatch], predictions: Sequence[Tensor], progress: float, counted: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The whole batch's loss, and its gradient with respect to this worker's predictions."""
        own = torch.cat([values.float() for values in predictions])
        pairs = torch.stack([own, torch.cat([part.scores for part in micro_batches])], dim=1)
        # Workers exchange as many rows each; one that has fewer clips adds rows that do not count.
        share = len(own) if self.layout is None else self.layout.share
        batch = self.gather(functional.pad(pairs, (0, 0, 0, share - len(own))))
        prediction, target = batch[counted].unbind(dim=1)
        prediction = prediction.clone().requires_grad_(True)
        loss = batch_loss(prediction, target, self.training, progress, self.score_mean)
        (gradient,) = torch.autograd.grad(loss, prediction)
        gradients = torch.zeros_like(batch[:, 0]).index_copy(0, counted, gradient)
        return loss.detach(), gradients[self.rank * share :][: len(own)]

    def _synchronise_only(self, last: bool) -> AbstractContextManager[Any]:
        """Sum gradients over workers in the last micro-batch alone."""
        no_sync = getattr(self.distributed_model, "no_sync", None)
        return nullcontext() if last or no_sync is None else no_sync()

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.config.precision != "bfloat16":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def _set_float32(self) -> AbstractContextManager[None]:
        return float32_precision(tf32=self.config.precision == "tf32")

    @torch.inference_mode()
    def vectors(self, part: MicroBatch) -> tuple[dict[str, Tensor], Tensor]:
        """Vectors and scores of clips by `ema_model`, without a gradient.

        Args:
            part: The clips.
        Returns:
            Network to (B, width), float32; scores in [0, 1], (B,), float32.
        """
        self.ema_model.eval()
        with self._set_float32(), self._autocast():
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


def batch_loss(
    prediction: Tensor, target: Tensor, config: TrainConfig, progress: float, score_mean: float | None = None
) -> Tensor:
    """Loss of a batch.

    Args:
        prediction: Predicted scores, (B,).
        target: Scores, (B,).
        config: Settings that name the loss and its numbers.
        progress: Progress of the training, 0 at the first epoch to 1 at the last.
        score_mean: Mean of the train split's scores, for mse_tails; None: the batch's.
    Returns:
        The loss, ().
    """
    return make_loss([config], progress, prediction, score_mean)(prediction, target)


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
