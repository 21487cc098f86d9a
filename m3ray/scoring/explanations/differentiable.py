"""Networks of tiers as functions whose gradients can be taken: which tiers have one, and how frames go in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from m3ray.errors import ConfigError
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.open_bundle import AnyBundle
from m3ray.tiers.backbones.csn import Bottleneck
from m3ray.tiers.backbones.fused import FusedConvolution
from m3ray.tiers.base import Tier
from m3ray.tiers.event import MIN_FRAMES, EventTier
from m3ray.tiers.finetuned import FinetunedEvent
from m3ray.tiers.image_network import ImageNetworkTier
from m3ray.tiers.network import Normalise
from m3ray.tiers.network_tier import VectorTier
from m3ray.tiers.pretrained.tier import ScorerTier
from m3ray.tiers.torchvision_tier import VisionTier
from m3ray.video.frame_cache import shrink_frames


def check_gradients(bundle: AnyBundle, tiers: Sequence[Tier]) -> None:
    """Check whether gradients can be taken of a bundle's score.

    Args:
        bundle: the bundle.
        tiers: tiers that it computes from frames.
    Raises:
        ConfigError: If not; it names the tiers, or the model, that have none.
    """
    without = [tier.name for tier in tiers if not isinstance(tier, VectorTier)]
    without += [name for name in bundle.tiers if name == "similarity"]
    if without:
        raise ConfigError(
            f"method gradient: {', '.join(without)} of {bundle.name} {'has' if len(without) == 1 else 'have'} no "
            "gradient, which networks alone have: use the method occlusion"
        )
    if isinstance(bundle, Bundle) and bundle.mixture is not None:
        raise ConfigError(
            f"method gradient: {bundle.name} scores with {', '.join(bundle.mixture.members)} together, and gradients "
            "are taken of an MLP alone: use the method occlusion"
        )


class DifferentiableTier:
    """The network of a tier, from frames to what it gives for a unit.

    Args:
        tier: the tier, set up.
        device: device to compute on.
    """

    def __init__(self, tier: VectorTier, device: torch.device) -> None:
        self.tier, self.device = tier, device
        self.takes_clips = bool(tier.whole_clip) and not isinstance(tier, ImageNetworkTier)  # type: ignore[attr-defined]
        self._module = _take_module(tier, device)
        transform = tier.loaded.transform
        # Ours scale bytes themselves; those of libraries take bytes or values in [0, 1].
        keeps_bytes = isinstance(transform, Normalise | partial)
        self._transform: Callable[[Tensor], Tensor] = transform
        self._scale = 1.0 if keeps_bytes else 1 / 255

    def prepare(self, frames: np.ndarray) -> Tensor:
        """Bring frames to the size that the network's input is made of.

        Args:
            frames: RGB, uint8, (T, H, W, 3).
        Returns:
            The same values, float32, on the device, (T, h, w, 3).
        """
        size = getattr(self.tier.config, "size", None)  # of the settings of some tiers
        if size is not None:
            frames = shrink_frames(frames, size)
        return torch.from_numpy(np.array(frames)).to(self.device).float()

    def __call__(self, frames: Tensor) -> Tensor:
        """Compute what the network gives.

        Args:
            frames: values in [0, 255], (T, h, w, 3): the frames of one unit.
        Returns:
            Its output, (width,).
        """
        shown = self._pad(frames) * self._scale
        inputs = shown[None] if self.takes_clips else shown
        return self._module(self._transform(inputs))[0]

    def _pad(self, frames: Tensor) -> Tensor:
        """The last frame repeated, as the tier does where there are too few."""
        least = _count_least(self.tier) if self.takes_clips else 1
        missing = least - len(frames)
        return frames if missing <= 0 else torch.cat([frames, frames[-1:].expand(missing, *frames.shape[1:])])

    def average(self, outputs: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """Make the tier's columns from the outputs of its units.

        Args:
            outputs: what the network gave, (U, width).
            weights: what each counts, (U,).
        Returns:
            Column to value.
        """
        share = weights / weights.sum()
        mean = share @ outputs
        if not isinstance(self.tier, ScorerTier):
            return {self.tier.column: mean}
        name = self.tier.name
        spread = (share @ (outputs[:, 0] - mean[0]).square()).clamp_min(1e-12).sqrt()
        return {name: mean[0], f"{name}_spread": spread, f"{name}_hidden": mean[1:]}


def _count_least(tier: VectorTier) -> int:
    if isinstance(tier, VisionTier):
        return tier.fewest_frames
    return MIN_FRAMES if isinstance(tier, EventTier | FinetunedEvent) else 1


def _take_module(tier: VectorTier, device: torch.device) -> nn.Module:
    """The tier's network in float32, without what has no gradient: layers that were fused for speed."""
    loaded = tier.loaded
    module = loaded.module
    is_fused = any(isinstance(layer, FusedConvolution) for layer in module.modules())
    if is_fused or loaded.precision != torch.float32:
        network = tier.network
        module = network.build_with_weights()
        module = module if network.cut is None else network.cut(module)
        module = module.eval().float().to(device)
    for layer in module.modules():
        if isinstance(layer, Bottleneck):  # of clips: their activations together would take gigabytes
            layer.forward = partial(checkpoint, type(layer).forward, layer, use_reentrant=False)  # type: ignore[method-assign]
    for weights in module.parameters():
        weights.requires_grad_(False)
    return module


def score_columns(bundle: AnyBundle, values: dict[str, Any]) -> Tensor:
    """Score a clip from its tiers' columns, in a way that has a gradient.

    Args:
        bundle: the bundle.
        values: name of each number (`scene_3`, say) of each tier, `tier/name`, to its value, ().
    Returns:
        The score in the target's units, mean over runs, ().
    """
    ordered = torch.stack([values[f"{block.tier}/{name}"] for block in bundle.blocks for name in block.names])
    if not isinstance(bundle, Bundle):
        return ordered[0]
    mean, deviation = (
        torch.from_numpy(np.asarray(x, np.float32)) for x in (bundle.scaling.mean, bundle.scaling.deviation)
    )
    scaled = (ordered.float().cpu() - mean) / deviation
    assert bundle.model is not None
    low, high = (float(bundle.metadata.units.from_unit(np.array(end))) for end in (0.0, 1.0))
    return low + (high - low) * bundle.model(scaled[None]).mean()
