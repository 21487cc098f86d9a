"""The aggregation model: an MLP, and R of them stacked into one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from m3ray.errors import ShapeError


def parameter_count(inputs: int, hidden: Sequence[int]) -> int:
    """The number of weights and biases of an MLP with one output.

    Args:
        inputs: number of features.
        hidden: widths of the hidden layers.
    """
    widths = (inputs, *hidden, 1)
    return sum(a * b + b for a, b in itertools.pairwise(widths))


class MLP(nn.Module):
    """A multilayer perceptron: layers of A x + b with Mish (Misra 2019), the last one with a sigmoid.

    Args:
        inputs: number of features.
        hidden: widths of the hidden layers; (512, 64) for M3-S, (64,) to evaluate a tier alone.
    """

    def __init__(self, inputs: int, hidden: Sequence[int] = (512, 64)) -> None:
        super().__init__()
        widths = (inputs, *hidden, 1)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Predict scores.

        Args:
            x: features, (..., inputs).
        Returns:
            Scores in [0, 1], (...).
        """
        for layer in self.layers[:-1]:
            x = functional.mish(layer(x))
        return torch.sigmoid(self.layers[-1](x)).squeeze(-1)


# Takes the gradient of a layer's output, (R, B, out), and its input, (R, B, in): the factors of its weights' gradient.
GradientConsumer = Callable[[Tensor, Tensor], None]


class _StackedLinear(torch.autograd.Function):
    """x A^T + b for stacked weights, the gradient of A laid out as A is.

    Autograd's own gradient of `matmul(x, A.mT)` comes transposed, and copying it over takes longer than all the
    products of a step together. A consumer gets the two factors of A's gradient instead, and A gets none.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, consume: GradientConsumer | None) -> Tensor:
        """(R, B, in), (R, out, in), (R, out) to (R, B, out)."""
        # y_r = x_r A_r' + b_r
        ctx.save_for_backward(x, weight)
        ctx.consume = consume
        return torch.baddbmm(bias.unsqueeze(1), x, weight.mT)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor, None]:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        inputs = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        if ctx.consume is None:
            return inputs, torch.bmm(gradient.mT, x), gradient.sum(dim=1), None
        ctx.consume(gradient, x)  # last: it may change the weights that this very layer was computed with
        return inputs, None, gradient.sum(dim=1), None


class StackedMLP(nn.Module):
    """R MLPs of one shape as one batched model: weights (R, out, in), biases (R, out).

    `consumers` maps the index of a layer to a function that takes the factors of its weights' gradient in training,
    in which case the weights get no `.grad`.

    Args:
        inputs: number of features.
        hidden: widths of the hidden layers.
        seeds: seed of each run; run k starts as `MLP` would after `torch.manual_seed(seeds[k])`.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], seeds: Sequence[int]) -> None:
        super().__init__()
        widths = (inputs, *hidden, 1)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.consumers: dict[int, GradientConsumer] = {}
        self._offset = 0.0
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for fan_in, fan_out in itertools.pairwise(widths):
            # nn.Linear's own initialisation: uniform within 1 / sqrt(fan_in), weights before biases.
            bound = 1 / math.sqrt(fan_in)
            self.weights.append(nn.Parameter(_uniform((fan_out, fan_in), bound, generators)))
            self.biases.append(nn.Parameter(_uniform((fan_out,), bound, generators)))

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> StackedMLP:
        """Build a model from its parameters.

        Args:
            state: parameters as `state_dict` names them: `weights.K`, (R, out, in), and `biases.K`, (R, out), of each
                layer K; other names are ignored.
        Returns:
            The model, of the parameters' type and on their device.
        """
        layers = [state[f"weights.{k}"] for k in range(sum(name.startswith("weights.") for name in state))]
        model = cls(layers[0].shape[2], [weight.shape[1] for weight in layers[:-1]], [0] * len(layers[0]))
        model.to(layers[0])
        model.load_state_dict({name: state[name] for name in model.state_dict()})
        return model

    def forward(self, x: Tensor) -> Tensor:
        """Predict scores with each run.

        Args:
            x: features of each run, (R, B, inputs), or the same for all runs, (B, inputs).
        Returns:
            Scores in [0, 1], (R, B).
        Raises:
            ShapeError: If `x` has another number of features or of runs.
        """
        runs, _, inputs = self.weights[0].shape
        if x.shape[-1] != inputs or (x.ndim == 3 and x.shape[0] != runs):
            raise ShapeError(f"expected (..., {inputs}) for {runs} runs, got {tuple(x.shape)}")
        last = len(self.weights) - 1
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            consume = self.consumers.get(index)
            x = _StackedLinear.apply(x.expand(runs, *x.shape[-2:]), weight, bias, consume)
            x = torch.sigmoid(x + self._offset if self._offset else x) if index == last else functional.mish(x)
        return x.squeeze(-1)

    def start_at(self, mean: float) -> None:
        """Start training at one score for all clips, which weight decay then pulls the model to.

        Args:
            mean: the score, in (0, 1); the output layer becomes zero, and the score stands beside its bias.
        """
        nn.init.zeros_(self.weights[-1])
        nn.init.zeros_(self.biases[-1])
        self._offset = math.log(mean / (1 - mean))

    def end_at_bias(self) -> None:
        """Make the score that training started at a part of the output layer's bias: predictions stay."""
        with torch.no_grad():
            self.biases[-1] += self._offset
        self._offset = 0.0

    def extract_run(self, index: int) -> MLP:
        """Copy one run to a plain `MLP`.

        Args:
            index: position of the run, from 0.
        """
        first = self.weights[0]
        plain = MLP(first.shape[-1], [w.shape[1] for w in self.weights[:-1]]).to(first.dtype)
        with torch.no_grad():
            for layer, weight, bias in zip(plain.layers, self.weights, self.biases, strict=True):
                assert isinstance(layer, nn.Linear)
                layer.weight.copy_(weight[index])
                layer.bias.copy_(bias[index])
        return plain


def _uniform(shape: tuple[int, ...], bound: float, generators: Sequence[torch.Generator]) -> Tensor:
    rows = [torch.empty(shape).uniform_(-bound, bound, generator=generator) for generator in generators]
    return torch.stack(rows)
