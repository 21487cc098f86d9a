"""The raw tier's work through torch.compile: once for all numbers of frames, and uncompiled for good where it fails."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._dynamo import config as dynamo_config
from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

from m3ray.tiers.constants import constant
from m3ray.tiers.raw_batch import Steps

torch.compiler.assume_constant_result(constant)  # else each call would upload it

# Compilations of one function in a process: flow has four levels, each for one clip and for several, and a size of 1
# (one pair) is compiled apart.
_LIMIT = 32


class CompiledFunction:
    """A function of tensors whose operations torch.compile has fused.

    The first dimension of its tensors, of frames or pairs, is left open. The others are those of a level of the
    pyramid, which gets code of its own, as are those of tuples of constants.

    Args:
        function: function of tensors and of tuples of constants.
        backend: torch.compile's backend; another than its default is for tests.
    """

    def __init__(self, function: Callable[..., Any], backend: str | Callable[..., Any] = "inductor") -> None:
        self._function = function
        self._run: Callable[..., Any] = torch.compile(function, backend=backend)

    def __call__(self, *arguments: Any) -> Any:
        """Call the function; uncompiled from the first arguments on that it cannot be compiled for.

        Args:
            arguments: the function's positional arguments.
        Returns:
            What the function returns.
        """
        if self._run is self._function:
            return self._run(*arguments)
        try:
            return self._run_compiled(*arguments)
        except (TorchDynamoException, FailOnRecompileLimitHit) as error:
            self._give_up(error)
            return self._run(*arguments)

    def _run_compiled(self, *arguments: Any) -> Any:
        for argument in arguments:
            if isinstance(argument, Tensor):
                torch._dynamo.maybe_mark_dynamic(argument, 0)
                torch._dynamo.mark_static(argument, list(range(1, argument.ndim)))
            else:
                for tensor in argument:
                    torch._dynamo.mark_static(tensor)
        with dynamo_config.patch(recompile_limit=_LIMIT, fail_on_recompile_limit_hit=True):
            return self._run(*arguments)

    def _give_up(self, error: Exception) -> None:
        """All later batches too: were single ones to fail again and again, nobody would know why a job is slow."""
        self._run = self._function
        name = getattr(self._function, "__name__", type(self._function).__name__)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(
            f"the raw tier's {name} runs without torch.compile from here on: it cannot be compiled ({reason}). Its "
            "numbers are the same, it is slower: leave out --compute.compile",
            stacklevel=2,
        )


def compile_steps(steps: Steps, backend: str | Callable[..., Any] = "inductor") -> Steps:
    """Let torch.compile fuse each step by itself.

    Args:
        steps: the functions.
        backend: torch.compile's backend; another than its default is for tests.
    Returns:
        The same functions, compiled when they are first called.
    """
    return Steps(*(CompiledFunction(step, backend) for step in (steps.hog, steps.flow)))
