"""Adam for stacked runs: torch's fused one where all share their settings, a batched one where each has its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from m3ray.config import TrainConfig

_BETAS, _EPS = (0.9, 0.999), 1e-8  # Adam's own


class Optimiser(Protocol):
    """What a training loop asks of it."""

    def zero_grad(self) -> None:
        """Forgets gradients."""

    def step(self) -> None:
        """Moves the parameters along their gradients."""

    def end_epoch(self, epoch: int) -> None:
        """Sets the learning rate of the epoch after `epoch`, counted from 0."""


def make_optimiser(parameters: Iterable[nn.Parameter], configs: Sequence[TrainConfig]) -> Optimiser:
    """Adam with StepLR for stacked parameters (R, ...), settings from `configs`, one a run."""
    settings = {(c.learning_rate, c.weight_decay, c.step_size, c.gamma) for c in configs}
    return _Shared(parameters, configs[0]) if len(settings) == 1 else StackedAdam(parameters, configs)


class _Shared:
    """torch's fused Adam: one pass over weights, gradients and moments a step."""

    def __init__(self, parameters: Iterable[nn.Parameter], config: TrainConfig) -> None:
        self._adam = torch.optim.Adam(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
        self._schedule = torch.optim.lr_scheduler.StepLR(self._adam, config.step_size, config.gamma)

    def zero_grad(self) -> None:
        # Freed, not zeroed: the next backward pass then writes instead of adding to zeros.
        self._adam.zero_grad(set_to_none=True)

    def step(self) -> None:
        self._adam.step()

    def end_epoch(self, epoch: int) -> None:
        self._schedule.step()


class StackedAdam:
    """Adam (Kingma and Ba 2015) whose learning rate and weight decay are each run's own.

    The arithmetic of `torch.optim.Adam` with L2 weight decay, a run a row of each parameter.

    Args:
        parameters: each (R, ...).
        configs: one a run.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], configs: Sequence[TrainConfig]) -> None:
        self._parameters = list(parameters)
        self._configs = list(configs)
        self._first = [torch.zeros_like(p) for p in self._parameters]
        self._second = [torch.zeros_like(p) for p in self._parameters]
        self._steps = 0
        self._rates = [c.learning_rate for c in configs]

    def zero_grad(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def end_epoch(self, epoch: int) -> None:
        self._rates = [c.learning_rate * c.gamma ** ((epoch + 1) // c.step_size) for c in self._configs]

    @torch.no_grad()
    def step(self) -> None:
        self._steps += 1
        corrections = [1 - beta**self._steps for beta in _BETAS]
        for parameter, first, second in zip(self._parameters, self._first, self._second, strict=True):
            assert parameter.grad is not None
            decay = _a_run([c.weight_decay for c in self._configs], parameter)
            rate = _a_run(self._rates, parameter) / corrections[0]
            gradient = parameter.grad + decay * parameter
            first.lerp_(gradient, 1 - _BETAS[0])
            second.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
            parameter.sub_(rate * first / ((second / corrections[1]).sqrt_() + _EPS))


def _a_run(values: Sequence[float], like: Tensor) -> Tensor:
    """A number a run, to be multiplied with (R, ...)."""
    return torch.tensor(values, dtype=like.dtype, device=like.device).reshape(-1, *[1] * (like.ndim - 1))
