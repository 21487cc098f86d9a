"""The moving average of a model's weights, which is evaluated and kept in their place."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class MovingAverage(AveragedModel):
    """An exponential moving average of weights and statistics; counters and positions are the model's own.

    PyTorch's own averages whole numbers too and cuts what comes out, so that positions of columns would shift; and it
    sends its counter to the device each step, which waits for it.

    Args:
        model: Model whose weights are averaged; it is copied.
        decay: Share of the average that stays in each step, 0 to 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take a model's weights into the average; the first ones are the average.

        Args:
            model: Model of the same layers, on the average's device.
        """
        own, new = _list_tensors(self.module), _list_tensors(model)
        averaged = [k for k, value in enumerate(own) if value.is_floating_point() and self.n_averaged > 0]
        copied = sorted(set(range(len(own))) - set(averaged))
        # average = decay x average + (1 - decay) x weights
        if averaged:
            torch._foreach_lerp_([own[k] for k in averaged], [new[k] for k in averaged], 1 - self.decay)
        for k in copied:
            own[k].copy_(new[k])
        self.n_averaged += 1


def _list_tensors(module: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in itertools.chain(module.parameters(), module.buffers())]
