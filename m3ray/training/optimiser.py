"""Adam for stacked runs: PyTorch's fused one where all runs share their settings, a batched one where they differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from m3ray.config import TrainConfig
from m3ray.model import StackedMLP

_BETAS, _EPS = (0.9, 0.999), 1e-8  # PyTorch's defaults
# Layers with this many weights a run are updated block by block, so that their gradient is never written to memory.
LARGE = 250_000
# Weights of a block: they, their gradient and their two moments stay in a core's cache.
BLOCK = 480_000


class Optimiser(Protocol):
    """An optimiser as the training loop of stacked runs uses it."""

    def zero_grad(self) -> None:
        """Discard all gradients."""

    def step(self) -> None:
        """Update the parameters from their gradients."""

    def end_epoch(self, epoch: int) -> None:
        """Set the learning rate of the next epoch.

        Args:
            epoch: Epoch that ended, from 0.
        """

    def close(self) -> None:
        """Detach the optimiser from the model."""


def make_optimiser(model: StackedMLP, configs: Sequence[TrainConfig]) -> Optimiser:
    """Make Adam with StepLR for a stacked model.

    Args:
        model: Stacked model of R runs.
        configs: Settings of each run.
    Returns:
        An optimiser of all parameters.
    """
    settings = {(c.learning_rate, c.weight_decay, c.step_size, c.gamma) for c in configs}
    return SharedAdam(model, configs[0]) if len(settings) == 1 else StackedAdam(model.parameters(), configs)


class SharedAdam:
    """PyTorch's fused Adam for runs with the same settings; on a CPU, large layers are updated in the backward pass.

    On a GPU its rate and its count of steps lie on the device, so that a step can be captured and replayed.

    Args:
        model: Stacked model; the gradients of its large layers are consumed in the backward pass.
        config: Settings of all runs.
    """

    def __init__(self, model: StackedMLP, config: TrainConfig) -> None:
        self._config = config
        self._model = model
        large = [k for k, w in enumerate(model.weights) if w.device.type == "cpu" and w[0].numel() >= LARGE]
        self._blocked = {k: BlockedAdam(model.weights[k], config) for k in large}
        model.consumers.update({k: blocked.consume for k, blocked in self._blocked.items()})
        rest = [*(w for k, w in enumerate(model.weights) if k not in large), *model.biases]
        self._adam = FusedAdam(rest, config)

    def zero_grad(self) -> None:
        """Free all gradients: the next backward pass then writes them instead of adding to zeros."""
        self._adam.zero_grad()

    def step(self) -> None:
        """Update the parameters that the backward pass has not updated yet."""
        self._adam.step()

    def end_epoch(self, epoch: int) -> None:
        """Set the learning rate of the next epoch.

        Args:
            epoch: Epoch that ended, from 0.
        """
        rate = _rate(self._config, epoch + 1)
        self._adam.set_rate(rate)
        for blocked in self._blocked.values():
            blocked.rate = rate

    def close(self) -> None:
        """Give the model's layers their own gradients back."""
        self._model.consumers.clear()


class FusedAdam:
    """`torch.optim.Adam(fused=True)`, through the function that it calls itself.

    PyTorch's class imports torch.compile's machinery when its first object is made. That takes a worker longer than
    importing all the rest of PyTorch, and longer than training a small model.

    Args:
        parameters: Parameters, all on one device.
        config: Their settings.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], config: TrainConfig) -> None:
        self._parameters = list(parameters)
        self._decay = config.weight_decay
        device = self._parameters[0].device
        self._on_gpu = device.type == "cuda"
        self.rate: float | Tensor = config.learning_rate
        if self._on_gpu:
            self.rate = torch.tensor(config.learning_rate, device=device)
        self._first = [torch.zeros_like(weights) for weights in self._parameters]
        self._second = [torch.zeros_like(weights) for weights in self._parameters]
        self._steps = [torch.zeros((), dtype=torch.float32, device=device) for _ in self._parameters]

    def zero_grad(self) -> None:
        """Free all gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the next steps.

        Args:
            rate: Learning rate.
        """
        if isinstance(self.rate, Tensor):
            self.rate.fill_(rate)  # in place: a captured step reads it there
        else:
            self.rate = rate

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters that have gradients."""
        held = [k for k, parameter in enumerate(self._parameters) if parameter.grad is not None]
        _fused_step(
            [self._parameters[k] for k in held],
            [self._parameters[k].grad for k in held],
            [self._first[k] for k in held],
            [self._second[k] for k in held],
            [self._steps[k] for k in held],
            self.rate,
            self._decay,
            on_gpu=self._on_gpu,
        )


def _fused_step(
    weights: list[Tensor],
    gradients: list[Any],
    first: list[Tensor],
    second: list[Tensor],
    steps: list[Tensor],
    rate: float | Tensor,
    decay: float,
    *,
    on_gpu: bool = False,
) -> None:
    """A step of PyTorch's fused Adam in place, which counts the steps itself."""
    adam(
        weights,
        gradients,
        first,
        second,
        [],
        steps,
        fused=True,
        capturable=on_gpu,
        amsgrad=False,
        beta1=_BETAS[0],
        beta2=_BETAS[1],
        lr=rate,
        weight_decay=decay,
        eps=_EPS,
        maximize=False,
    )


# Updates weights in place: weights, gradient, moments, step from 1, learning rate.
BlockUpdate = Callable[[Tensor, Tensor, Tensor, Tensor, int, float], None]


class BlockedAdam:
    """Adam of one layer's weights, a block of rows at a time, so that a block's gradient never leaves the cache.

    Written out whole, the gradient of M3-S's first layer would cross memory twice more a step, in pages that the system
    hands out anew. The numbers are those of `torch.optim.Adam(fused=True)`, in float32 within its rounding.

    Args:
        weights: Weights of the layer, (R, out, in).
        config: Settings of all runs.
    """

    def __init__(self, weights: nn.Parameter, config: TrainConfig) -> None:
        self.rate = config.learning_rate
        self._steps = 0
        runs, rows, columns = weights.shape
        step = max(1, BLOCK // columns)
        plain = weights.detach()
        self._update = make_update(plain, config.weight_decay)
        first, second = torch.zeros_like(plain), torch.zeros_like(plain)
        self._buffer = plain.new_empty(min(step, rows), columns)
        self._blocks = [
            (run, slice(k, k + step), [t[run, k : k + step] for t in (plain, first, second)])
            for run in range(runs)
            for k in range(0, rows, step)
        ]

    def consume(self, gradient: Tensor, x: Tensor) -> None:
        """Update the weights from the two factors of their gradient, gradient^T x.

        Args:
            gradient: Gradient of the layer's output, (R, B, out).
            x: Input of the layer, (R, B, in).
        """
        self._steps += 1
        for run, rows, (weights, first, second) in self._blocks:
            product = self._buffer[: len(weights)]
            torch.mm(gradient[run, :, rows].T, x[run], out=product)
            self._update(weights, product, first, second, self._steps, self.rate)


def make_update(weights: Tensor, decay: float) -> BlockUpdate:
    """Choose how blocks of a layer are updated: compiled, or PyTorch's where that is not to be had.

    PyTorch's is also taken for other types than float32, and where it has several threads to itself.

    Args:
        weights: Weights of the layer.
        decay: Weight decay.
    Returns:
        A function that updates a block.
    """
    kernel = _load_kernel() if weights.dtype == torch.float32 and torch.get_num_threads() == 1 else None
    return make_torch_update(decay) if kernel is None else make_compiled_update(kernel, decay)


def _load_kernel() -> Callable[..., None] | None:
    """The compiled update; None where Numba is missing, or finds no folder for what it compiles."""
    try:
        from m3ray.training.adam_kernel import update_weights  # late: only training needs Numba
    except (ImportError, RuntimeError):
        return None
    return update_weights


def make_compiled_update(kernel: Callable[..., None], decay: float) -> BlockUpdate:
    """Make an update of the compiled kernel.

    Args:
        kernel: `update_weights`.
        decay: Weight decay.
    Returns:
        A function that updates a block, contiguous and of float32.
    """
    constants = (decay, 1 - _BETAS[0], _BETAS[1], 1 - _BETAS[1], _EPS)

    def update(weights: Tensor, gradient: Tensor, first: Tensor, second: Tensor, step: int, rate: float) -> None:
        arrays = [t.view(-1).numpy() for t in (weights, gradient, first, second)]
        corrected, scale = rate / (1 - _BETAS[0] ** step), 1 / math.sqrt(1 - _BETAS[1] ** step)
        kernel(*arrays, np.array([corrected, scale, *constants], np.float32))

    return update


def make_torch_update(decay: float) -> BlockUpdate:
    """Make an update of PyTorch's fused Adam.

    Args:
        decay: Weight decay.
    Returns:
        A function that updates a block.
    """

    def update(weights: Tensor, gradient: Tensor, first: Tensor, second: Tensor, step: int, rate: float) -> None:
        _fused_step([weights], [gradient], [first], [second], [torch.tensor(float(step - 1))], rate, decay)

    return update


def _rate(config: TrainConfig, epoch: int) -> float:
    """StepLR's learning rate of an epoch, counted from 0."""
    return config.learning_rate * config.gamma ** (epoch // config.step_size)


class StackedAdam:
    """Adam (Kingma and Ba 2015) with a learning rate and a weight decay for each run.

    The arithmetic is that of `torch.optim.Adam` with L2 weight decay, a run a row of each parameter.

    Args:
        parameters: Parameters of the stacked model, each (R, ...).
        configs: Settings of each run.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], configs: Sequence[TrainConfig]) -> None:
        self._parameters = list(parameters)
        self._configs = list(configs)
        self._first = [torch.zeros_like(p) for p in self._parameters]
        self._second = [torch.zeros_like(p) for p in self._parameters]
        # On the device and in float64: a captured step counts there, and 1 - 0.999^t loses four digits in float32.
        where = self._parameters[0].device if self._parameters else None
        self._steps = torch.zeros((), dtype=torch.float64, device=where)
        self._decays = _per_run([c.weight_decay for c in configs], self._parameters)
        self._rates_by_parameter = _per_run([c.learning_rate for c in configs], self._parameters)
        self._rates = [c.learning_rate for c in configs]

    def zero_grad(self) -> None:
        """Discard all gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    def end_epoch(self, epoch: int) -> None:
        """Set each run's learning rate of the next epoch.

        Args:
            epoch: Epoch that ended, from 0.
        """
        self._set_rates([_rate(config, epoch + 1) for config in self._configs])

    def _set_rates(self, rates: Sequence[float]) -> None:
        # Uploaded once an epoch: an upload a step would hold up the device's queue each time. And in place: a captured
        # step reads them there; the parameters share one row of rates.
        self._rates = list(rates)
        if self._parameters:
            row = torch.tensor(rates, dtype=self._parameters[0].dtype)
            self._rates_by_parameter[0].view(-1).copy_(row)

    def close(self) -> None:
        """Do nothing: the model was not changed."""

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters from their gradients."""
        # m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  p -= rate m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)
        self._steps += 1
        corrections = [1 - torch.pow(beta, self._steps) for beta in _BETAS]
        numbers = zip(self._parameters, self._first, self._second, self._decays, self._rates_by_parameter, strict=True)
        for parameter, first, second, decay, rate in numbers:
            assert parameter.grad is not None
            gradient = parameter.grad + decay * parameter
            first.lerp_(gradient, 1 - _BETAS[0])
            second.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
            parameter.sub_(rate / corrections[0] * first / ((second / corrections[1]).sqrt_() + _EPS))


def _per_run(values: Sequence[float], parameters: Sequence[Tensor]) -> list[Tensor]:
    """A number of each run, for each parameter shaped to be multiplied with it, (R, ...); uploaded once for all."""
    if not parameters:
        return []
    row = torch.tensor(values, dtype=parameters[0].dtype).to(parameters[0].device)
    return [row.reshape(-1, *[1] * (parameter.ndim - 1)) for parameter in parameters]
