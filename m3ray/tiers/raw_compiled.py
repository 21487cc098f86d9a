"""The raw tier's work through torch.compile: once for all numbers of frames, and uncompiled for good where it fails."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from m3ray.tiers.compiled_network import Backend, CompiledCall
from m3ray.tiers.raw_batch import Steps


class CompiledFunction(CompiledCall):
    """A function of tensors, and of tuples of constants, whose operations torch.compile has fused."""

    @property
    def name(self) -> str:
        """The function's name, in the words of the warning."""
        return f"the raw tier's {getattr(self._function, '__name__', type(self._function).__name__)}"

    def mark(self, arguments: tuple[Any, ...]) -> None:
        """Leave the first dimension of tensors open, of frames or pairs; a level of the pyramid gets code of its own.

        Args:
            arguments: tensors, and tuples of constants.
        """
        for argument in arguments:
            if isinstance(argument, Tensor):
                torch._dynamo.maybe_mark_dynamic(argument, 0)
                torch._dynamo.mark_static(argument, list(range(1, argument.ndim)))
            else:
                for tensor in argument:
                    torch._dynamo.mark_static(tensor)


def compile_steps(steps: Steps, backend: Backend = "inductor") -> Steps:
    """Let torch.compile fuse each step by itself.

    Args:
        steps: the functions.
        backend: torch.compile's backend; another than its default is for tests.
    Returns:
        The same functions, compiled when they are first called.
    """
    return Steps(*(CompiledFunction(step, backend) for step in (steps.hog, steps.flow)))
