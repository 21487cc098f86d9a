"""HRNet, CSN and the MLP over the tiers as one module, from frames to a score."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from m3ray.config.finetuning import FinetuneConfig
from m3ray.model import MLP
from m3ray.tiers import event, scene
from m3ray.tiers.backbones import bottleneck, csn, hrnet

# Where blocks are recomputed, only their inputs are kept of the forward pass; each is computed once more in the
# backward pass.
_BLOCKS = (csn.Bottleneck, bottleneck.Bottleneck, hrnet.HighResolutionModule)
_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)


class FinetuneModel(nn.Module):
    """Networks whose vectors take the place of the frozen ones in the matrix that the MLP sees.

    Args:
        networks: `scene`, `event` or both to the network, its weights loaded.
        head: MLP over all columns of the model.
        columns: Network to the positions of its vector among the columns.
        config: Settings of batch norms and of recomputation.
    """

    def __init__(
        self, networks: Mapping[str, nn.Module], head: MLP, columns: Mapping[str, np.ndarray], config: FinetuneConfig
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(networks)
        self.head = head
        self.frozen_norms = config.batch_norm == "frozen"
        for name in networks:
            self.register_buffer(f"columns_{name}", torch.from_numpy(np.array(columns[name])), persistent=False)
        if config.recomputes:
            for block in self.networks.modules():
                if isinstance(block, _BLOCKS):
                    block.forward = _recompute_in_backward(block.forward)  # type: ignore[method-assign]

    def train(self, mode: bool = True) -> FinetuneModel:
        """Switch between training and evaluation, as any module does, but for batch norms that keep their statistics.

        Args:
            mode: Whether to train.
        Returns:
            This module.
        """
        super().train(mode)
        if self.frozen_norms:
            for module in self.modules():
                if isinstance(module, _NORMS):
                    module.eval()
        return self

    def vectors(self, frames: Sequence[Tensor]) -> dict[str, Tensor]:
        """Vectors of clips by each network.

        Args:
            frames: Frames of each of B clips, (T, H, W, 3), uint8, on the model's device.
        Returns:
            Network to (B, width), float32.
        """
        vectors = {}
        if "scene" in self.networks:
            pixels = scene.NORMALISE(torch.stack([clip[0] for clip in frames]))
            vectors["scene"] = self.networks["scene"](pixels.contiguous(memory_format=torch.channels_last)).float()
        if "event" in self.networks:
            vectors["event"] = self._events(frames)
        return vectors

    def _events(self, frames: Sequence[Tensor]) -> Tensor:
        """Clips of one length together: a network that pools over time must not see padding."""
        groups: dict[int, list[int]] = defaultdict(list)
        for position, clip in enumerate(frames):
            groups[max(len(clip), event.MIN_FRAMES)].append(position)
        out: dict[int, Tensor] = {}
        for positions in groups.values():
            pixels = event.NORMALISE(torch.stack([_pad_frames(frames[p]) for p in positions]))
            vectors = self.networks["event"](pixels.contiguous(memory_format=torch.channels_last_3d)).float()
            out.update(zip(positions, vectors, strict=True))
        return torch.stack([out[position] for position in range(len(frames))])

    def forward(self, frames: Sequence[Tensor], rows: Tensor) -> Tensor:
        """Scores of clips.

        Args:
            frames: Frames of each of B clips, (T, H, W, 3), uint8, on the model's device.
            rows: Rows of the matrix as the frozen model sees it, (B, F); the networks' columns are replaced.
        Returns:
            Scores in [0, 1], (B,).
        """
        return self.scores(self.vectors(frames), rows)

    def scores(self, vectors: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        """Scores from vectors.

        Args:
            vectors: Network to the clips' vectors, (B, width).
            rows: Rows of the matrix as the frozen model sees it, (B, F); the networks' columns are replaced.
        Returns:
            Scores in [0, 1], (B,).
        """
        for name, values in vectors.items():
            rows = rows.index_copy(1, getattr(self, f"columns_{name}"), values)
        return self.head(rows)

    def parameter_groups(self, config: FinetuneConfig) -> list[dict[str, object]]:
        """Parameters of the networks and of the head, each with its learning rate.

        Args:
            config: Settings that give the learning rates.
        Returns:
            Parameter groups for an optimiser of PyTorch.
        """
        return [
            {"params": list(self.networks.parameters()), "lr": config.backbone_learning_rate},
            {"params": list(self.head.parameters()), "lr": config.head_learning_rate},
        ]


def _pad_frames(frames: Tensor) -> Tensor:
    """Repeat the last frame of a short clip, as the event tier does."""
    missing = event.MIN_FRAMES - len(frames)
    return frames if missing <= 0 else torch.cat([frames, frames[-1:].expand(missing, *frames.shape[1:])])


def _recompute_in_backward(forward: Callable[..., Any]) -> Callable[..., Any]:
    # A partial, as a copy of the model copies the bound method in it, too.
    return partial(_run_block, forward)


def _run_block(forward: Callable[..., Any], *inputs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs)
    # No block draws random numbers, so their generators' states need not be kept.
    return checkpoint(forward, *inputs, use_reentrant=False, preserve_rng_state=False)
