"""What torch.compile fuses: compiled a few times for all shapes of input, and uncompiled for good where it fails."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo import config as dynamo_config
from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

from m3ray.tiers.constants import constant

torch.compiler.assume_constant_result(constant)  # else each call would upload it

# Compilations of one code in a process. Sizes of 1 are compiled apart (one clip; eight frames, of which a CSN leaves
# one), so a network of clips takes four and one of images two; flow has four levels, each for one clip and for several;
# several networks may share their code.
_LIMIT = 32
_CLIP_DIMENSIONS = 5
Backend = str | Callable[..., Any]


class CompiledCall:
    """Something to call whose operations torch.compile has fused.

    A subclass says in `mark` which sizes are left open.

    Args:
        function: what is called.
        backend: torch.compile's backend; another than its default is for tests.
    """

    def __init__(self, function: Callable[..., Any], backend: Backend = "inductor") -> None:
        self._function = function
        self._run: Callable[..., Any] = torch.compile(function, backend=backend)

    @property
    def name(self) -> str:
        """What is called, in the words of the warning."""
        return type(self._function).__name__

    def mark(self, arguments: tuple[Any, ...]) -> None:
        """Tell torch.compile which sizes may change from call to call.

        Args:
            arguments: the positional arguments of a call.
        """
        raise TypeError(f"{type(self).__name__} marks nothing")

    def __call__(self, *arguments: Any) -> Any:
        """Make the call; uncompiled from the first arguments on that it cannot be compiled for.

        Args:
            arguments: its positional arguments.
        Returns:
            What it returns.
        """
        if self._run is self._function:
            return self._run(*arguments)
        try:
            self.mark(arguments)
            with dynamo_config.patch(recompile_limit=_LIMIT, fail_on_recompile_limit_hit=True):
                return self._run(*arguments)
        except (TorchDynamoException, FailOnRecompileLimitHit) as error:
            self._give_up(arguments, error)
            return self._run(*arguments)

    def _give_up(self, arguments: tuple[Any, ...], error: Exception) -> None:
        """All later batches too: were single ones to fail again and again, nobody would know why a job is slow."""
        self._run = self._function
        shapes = ", ".join(str(tuple(each.shape)) for each in arguments if isinstance(each, Tensor))
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(
            f"{self.name} runs without torch.compile from here on: it cannot be compiled for {shapes} ({reason}). Its "
            "numbers are the same, it is slower: leave out --compute.compile",
            stacklevel=3,
        )


class CompiledNetwork(CompiledCall):
    """A network whose operations torch.compile has fused.

    Numbers of clips and of frames are left open, so that other ones are not compiled anew. No CUDA graphs: these would
    have a replay overwrite the features of the one before, which wait on the device to the end of a batch.

    Args:
        module: the network, ready for inference; its input is (B, 3, [T,] H, W).
        backend: torch.compile's backend; another than its default is for tests.
    """

    def __init__(self, module: nn.Module, backend: Backend = "inductor") -> None:
        super().__init__(module, backend)

    def mark(self, arguments: tuple[Any, ...]) -> None:
        """Leave numbers of clips and of frames open.

        Args:
            arguments: the network's input.
        """
        (x,) = arguments
        for dimension in (0, 2) if x.ndim == _CLIP_DIMENSIONS else (0,):
            torch._dynamo.maybe_mark_dynamic(x, dimension)
