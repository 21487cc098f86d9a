"""Any torchvision model as a tier: `torchvision:NAME`, pooled before its classifier, with its own transforms."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from m3ray.errors import ConfigError
from m3ray.tiers.base import Measured, Weighted, Window
from m3ray.tiers.event import FEWEST_FRAMES, padded
from m3ray.tiers.network import Network, batched
from m3ray.tiers.network_tier import VectorTier
from m3ray.tiers.scene import of_first_frames

PREFIX = "torchvision:"
_CLIP_FRAMES = 16  # what torchvision's video models take unless their documentation says otherwise
# These two are built otherwise for their published weights.
_WITH_HEADS = {"transform_input": True, "aux_logits": True, "init_weights": False}
_BUILT_WITH = {"googlenet": _WITH_HEADS, "inception_v3": _WITH_HEADS}


@cache
def _models() -> ModuleType:
    # Imported once a tier needs it: it takes as long as torch itself, and most bundles have no such tier.
    from torchvision import models

    return models


@dataclass
class VisionTier(VectorTier):
    """The vector that a torchvision model's classifier would see.

    An image model is shown the first frame. A video model is shown consecutive pieces of as many frames as it was
    published with (16 for r3d_18, 32 for swin3d_t), at the job's own rate; the vector is the mean over the pieces,
    each counting by its frames. A shorter last piece is taken as it is, its last frame repeated where the model needs
    more.

    Args:
        model: torchvision's name of it, an image classification or a video model.
    """

    model: str = ""

    def __post_init__(self) -> None:
        check_model(self.model)

    @property
    def name(self) -> str:
        return f"{PREFIX}{self.model}"

    @property
    def column(self) -> str:
        return self.model

    @cached_property
    def width(self) -> int:
        with torch.device("meta"):
            layer = classifier(build(self.model), self._entry)[1]
        return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels

    @property
    def whole_clip(self) -> bool:
        return is_video(self.model)

    @property
    def _entry(self) -> Any:
        return _models().get_model_weights(self.model).DEFAULT  # type: ignore[attr-defined]

    @property
    def network(self) -> Network:
        assert self.config.precision != "auto", "precision is resolved before a tier is made"
        transform, cut = _Transform(self._entry), partial(without_classifier, entry=self._entry)
        # Not folded: only a model's own code knows in which order its layers run.
        return Network(partial(build, self.model), transform, self.source, self.config.precision, cut, foldable=False)

    def identity(self) -> dict[str, Any]:
        """All that changes the tier's numbers, torchvision's transforms included."""
        return {**super().identity(), "transforms": repr(self._entry.transforms()), "frames": self._lengths}

    @property
    def _lengths(self) -> tuple[int, int]:
        """Frames of a piece, and the fewest that the model takes."""
        said = re.search(r"clip_len=(\d+)", self._entry.meta.get("_docs", ""))
        length = int(said.group(1)) if said else _CLIP_FRAMES
        return length, min(length, max(FEWEST_FRAMES, self._entry.meta.get("min_temporal_size") or 1))

    def measure(self, windows: Sequence[Window]) -> list[Measured]:
        """One vector a window, or for an image model a clip."""
        if not self.whole_clip:
            return of_first_frames(self, windows)
        length, fewest = self._lengths
        pieces = [pieces_of(window.frames, length) for window in windows]
        flat = [padded(piece, fewest) for group in pieces for piece in group]
        vectors = iter(batched(self.loaded, flat, self.column))
        return [self._mean([(next(vectors), len(piece)) for piece in group]) for group in pieces]

    def _mean(self, parts: Sequence[tuple[Measured, int]]) -> Measured:
        total = sum(frames for _, frames in parts)
        mean = sum(values[self.column].value * (frames / total) for values, frames in parts)
        return {self.column: Weighted(np.asarray(mean), total)}


@dataclass(frozen=True)
class _Transform:
    """The transforms that torchvision publishes with the weights."""

    entry: Any

    def __call__(self, frames: Tensor) -> Tensor:
        """(B, [T,] H, W, 3) uint8 to (B, 3, [T,] h, w)."""
        return self.entry.transforms()(frames.movedim(-1, -3))


def pieces_of(frames: np.ndarray, length: int) -> list[np.ndarray]:
    """Consecutive pieces of `length` frames, the last one perhaps shorter."""
    return [frames[k : k + length] for k in range(0, len(frames), length)]


def is_video(model: str) -> bool:
    """Whether the model takes clips rather than images."""
    return model in _models().list_models(module=_models().video)


def check_model(model: str) -> None:
    """Raises ConfigError for a name that is no classification or video model of torchvision."""
    known = [*_models().list_models(module=_models()), *_models().list_models(module=_models().video)]
    if model not in known:
        near = difflib.get_close_matches(model, known, 4) or ["resnet50", "vit_b_16", "r3d_18", "mvit_v2_s"]
        raise ConfigError(
            f"torchvision:{model} is none of torchvision's {len(known)} classification and video models: "
            f"did you mean {', '.join(near)}?"
        )


def published(model: str) -> str:
    """The address of the model's published weights."""
    return _models().get_model_weights(model).DEFAULT.url  # type: ignore[attr-defined]


def build(model: str) -> nn.Module:
    """The model as its published weights want it, not yet filled."""
    return _models().get_model(model, weights=None, **_BUILT_WITH.get(model, {}))


def classifier(network: nn.Module, entry: Any) -> tuple[str, nn.Linear | nn.Conv2d | nn.Conv3d]:
    """Name and module of the layer that makes classes: the last with as many outputs as there are categories."""
    classes = len(entry.meta["categories"])
    layers = [
        (name, module)
        for name, module in network.named_modules()
        if classes in (getattr(module, "out_features", None), getattr(module, "out_channels", None))
    ]
    return layers[-1]


def without_classifier(network: nn.Module, entry: Any) -> nn.Module:
    """`network` with its classifying layer passing on what it sees, the model's own pooling left as it is.

    Not by torchvision's create_feature_extractor: its trace drops operations whose result nobody takes, and with them
    the residuals that MViT adds in place, so its features differ from the model's without a word.
    """
    name, _ = classifier(network, entry)
    owner, _, last = name.rpartition(".")
    setattr(network.get_submodule(owner), last, nn.Identity())
    return network
