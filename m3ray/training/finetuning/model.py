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

from m3ray.config.finetuning import UnfrozenConfig
from m3ray.model import MLP
from m3ray.tiers import event, scene
from m3ray.tiers.backbones import csn, hrnet

# Recomputed one at a time: their inputs are what is kept of the forward pass.
_BLOCKS = (csn.Bottleneck, hrnet.Bottleneck, hrnet.HighResolutionModule)
_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)


class FullModel(nn.Module):
    """The unfrozen model: networks whose vectors take the place of the frozen ones in the matrix that the MLP sees.

    Args:
        networks: `scene`, `event` or both, filled.
        head: the MLP, over all columns of the model.
        columns: network to the positions of its vector among the columns.
        config: batch norms, checkpointing.
    """

    def __init__(
        self, networks: Mapping[str, nn.Module], head: MLP, columns: Mapping[str, np.ndarray], config: UnfrozenConfig
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(networks)
        self.head = head
        self.frozen_norms = config.batch_norm == "frozen"
        for name in networks:
            self.register_buffer(f"columns_{name}", torch.from_numpy(np.array(columns[name])), persistent=False)
        if config.checkpointing:
            for block in self.networks.modules():
                if isinstance(block, _BLOCKS):
                    block.forward = _recomputed(block.forward)  # type: ignore[method-assign]

    def train(self, mode: bool = True) -> FullModel:
        """As any module's, but for batch norms that keep their statistics."""
        super().train(mode)
        if self.frozen_norms:
            for module in self.modules():
                if isinstance(module, _NORMS):
                    module.eval()
        return self

    def vectors(self, frames: Sequence[Tensor]) -> dict[str, Tensor]:
        """Each network's vectors of clips.

        Args:
            frames: of each clip, uint8 (T, H, W, 3), on the device.
        Returns:
            Network to (B, width), float32.
        """
        found = {}
        if "scene" in self.networks:
            pixels = scene.NORMALISE(torch.stack([clip[0] for clip in frames]))
            found["scene"] = self.networks["scene"](pixels.contiguous(memory_format=torch.channels_last)).float()
        if "event" in self.networks:
            found["event"] = self._events(frames)
        return found

    def _events(self, frames: Sequence[Tensor]) -> Tensor:
        """Clips of one length together: a network that pools over time must not see padding."""
        groups: dict[int, list[int]] = defaultdict(list)
        for position, clip in enumerate(frames):
            groups[max(len(clip), event.FEWEST_FRAMES)].append(position)
        out: dict[int, Tensor] = {}
        for positions in groups.values():
            pixels = event.NORMALISE(torch.stack([_padded(frames[p]) for p in positions]))
            vectors = self.networks["event"](pixels.contiguous(memory_format=torch.channels_last_3d)).float()
            out.update(zip(positions, vectors, strict=True))
        return torch.stack([out[position] for position in range(len(frames))])

    def forward(self, frames: Sequence[Tensor], rows: Tensor) -> Tensor:
        """Scores of clips.

        Args:
            frames: of each clip, uint8 (T, H, W, 3).
            rows: the matrix of all tiers as the frozen model sees it, (B, F); the networks' columns are replaced.
        Returns:
            (B,), in [0, 1].
        """
        return self.scores(self.vectors(frames), rows)

    def scores(self, vectors: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        """Scores from vectors, as `forward`."""
        for name, values in vectors.items():
            rows = rows.index_copy(1, getattr(self, f"columns_{name}"), values)
        return self.head(rows)

    def groups(self, config: UnfrozenConfig) -> list[dict[str, object]]:
        """Parameters with the learning rate of networks and of the head."""
        return [
            {"params": list(self.networks.parameters()), "lr": config.backbone_learning_rate},
            {"params": list(self.head.parameters()), "lr": config.head_learning_rate},
        ]


def _padded(frames: Tensor) -> Tensor:
    """As the event tier pads a short clip: its last frame repeated."""
    lacking = event.FEWEST_FRAMES - len(frames)
    return frames if lacking <= 0 else torch.cat([frames, frames[-1:].expand(lacking, *frames.shape[1:])])


def _recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    return partial(checkpoint, forward, use_reentrant=False)
