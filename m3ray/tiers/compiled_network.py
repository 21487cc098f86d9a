"""A network through torch.compile: a few compilations for all shapes of input, and eager for good where it fails."""

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

# Compilations of one network's code in a process. Sizes of 1 are compiled apart (one clip; eight frames, of which a CSN
# leaves one), so a network of clips takes four and one of images two; several may share their code.
_LIMIT = 32
_CLIP_DIMENSIONS = 5


class CompiledNetwork:
    """A network whose operations torch.compile has fused.

    Numbers of clips and of frames are left open, so that other ones are not compiled anew. No CUDA graphs: these would
    have a replay overwrite the features of the one before, which wait on the device to the end of a batch.

    Args:
        module: the network, ready for inference.
        backend: torch.compile's backend; another than its default is for tests.
    """

    def __init__(self, module: nn.Module, backend: str | Callable[..., Any] = "inductor") -> None:
        self._module = module
        self._run: Callable[[Tensor], Tensor] = torch.compile(module, backend=backend)

    def __call__(self, x: Tensor) -> Tensor:
        """Run the network; uncompiled from the first input on that it cannot be compiled for.

        Args:
            x: input of the network, (B, 3, [T,] H, W).
        Returns:
            Its output.
        """
        if self._run is self._module:
            return self._run(x)
        try:
            return self._run_compiled(x)
        except (TorchDynamoException, FailOnRecompileLimitHit) as error:
            self._give_up(x, error)
            return self._run(x)

    def _run_compiled(self, x: Tensor) -> Tensor:
        for dimension in (0, 2) if x.ndim == _CLIP_DIMENSIONS else (0,):
            torch._dynamo.maybe_mark_dynamic(x, dimension)
        with dynamo_config.patch(recompile_limit=_LIMIT, fail_on_recompile_limit_hit=True):
            return self._run(x)

    def _give_up(self, x: Tensor, error: Exception) -> None:
        """All later batches too: were single ones to fail again and again, nobody would know why a job is slow."""
        self._run = self._module
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(
            f"{type(self._module).__name__} runs without torch.compile from here on: it cannot be compiled for "
            f"{tuple(x.shape)} ({reason}). Its numbers are the same, it is slower: leave out --compute.compile",
            stacklevel=2,
        )
