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
from m3ray.tiers.base import WeightedValue, Window, WindowFeatures
from m3ray.tiers.constants import constant
from m3ray.tiers.event import MIN_FRAMES
from m3ray.tiers.network import Network, compute_vectors
from m3ray.tiers.network_tier import VectorTier
from m3ray.tiers.scene import compute_first_frames
from m3ray.tiers.slab import Frames, repeat_last_frame, shape_of, take_frames

PREFIX = "torchvision:"
_CLIP_FRAMES = 16  # what torchvision's video models take unless their documentation says otherwise
# The published weights of these two models need constructor arguments that are not the defaults.
_WITH_HEADS = {"transform_input": True, "aux_logits": True, "init_weights": False}
_CONSTRUCTOR_ARGUMENTS = {"googlenet": _WITH_HEADS, "inception_v3": _WITH_HEADS}


@cache
def _models() -> ModuleType:
    # Imported once a tier needs it: it takes as long as torch itself, and most bundles have no such tier.
    from torchvision import models

    return models


@dataclass
class VisionTier(VectorTier):
    """The vector that a torchvision model's classifier would see.

    An image model is given the first frame. A video model is given consecutive pieces of as many frames as it was
    published with (16 for r3d_18, 32 for swin3d_t), at the job's own rate; the vector is the mean over the pieces,
    each counting by its frames. A shorter last piece is taken as it is, its last frame repeated where the model needs
    more.

    Args:
        model: torchvision's name of an image classification or a video model.
    """

    model: str = ""

    def __post_init__(self) -> None:
        check_model(self.model)

    @property
    def name(self) -> str:
        """The tier's name, `torchvision:r3d_18` say."""
        return f"{PREFIX}{self.model}"

    @property
    def column(self) -> str:
        """The name of its vector's column in Parquet: the model's."""
        return self.model

    @cached_property
    def width(self) -> int:
        """How many numbers its vector has: as many as the classifier takes."""
        with torch.device("meta"):
            layer = find_classifier(build_model(self.model), self._weights)[1]
        return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels

    @property
    def whole_clip(self) -> bool:
        """Whether it looks beyond the first frame, as video models do."""
        return is_video(self.model)

    @property
    def _weights(self) -> Any:
        """Torchvision's entry of the model's published weights: address, transforms, categories."""
        return _models().get_model_weights(self.model).DEFAULT

    @property
    def network(self) -> Network:
        """The model without its classifier, not yet built."""
        assert self.config.precision != "auto", "precision is resolved before a tier is made"
        transform, cut = _Transform(self._weights), partial(remove_classifier, published=self._weights)
        # Not folded: only a model's own code knows in which order its layers run.
        return Network(
            partial(build_model, self.model), transform, self.source, self.config.precision, cut, foldable=False
        )

    def identity(self) -> dict[str, Any]:
        """All that changes the tier's numbers, torchvision's transforms included."""
        return {
            **super().identity(),
            "transforms": repr(self._weights.transforms()),
            "frames": self._piece_lengths,
        }

    @property
    def piece_length(self) -> int:
        """How many frames a video model is given at once."""
        return self._piece_lengths[0]

    @property
    def fewest_frames(self) -> int:
        """How many frames a video model needs at least."""
        return self._piece_lengths[1]

    @property
    def _piece_lengths(self) -> tuple[int, int]:
        """Frames of a piece, and the fewest that the model takes."""
        documented = re.search(r"clip_len=(\d+)", self._weights.meta.get("_docs", ""))
        length = int(documented.group(1)) if documented else _CLIP_FRAMES
        return length, min(length, max(MIN_FRAMES, self._weights.meta.get("min_temporal_size") or 1))

    def compute(self, windows: Sequence[Window]) -> list[WindowFeatures]:
        """Compute one vector for each window, or with an image model for each clip.

        Args:
            windows: windows of one or of several clips.
        Returns:
            The model's column of each window, weighted by its frames; of an image model nothing for later windows.
        """
        if not self.whole_clip:
            return compute_first_frames(self, windows)
        length, minimum = self._piece_lengths
        pieces = [split_into_pieces(window, length) for window in windows]
        flat = [repeat_last_frame(piece, minimum) for group in pieces for piece in group]
        vectors = iter(compute_vectors(self.loaded, flat, self.column))
        return [self._average([(next(vectors), shape_of(piece)[0]) for piece in group]) for group in pieces]

    def _average(self, parts: Sequence[tuple[WindowFeatures, int]]) -> WindowFeatures:
        total = sum(frames for _, frames in parts)
        mean = sum(values[self.column].value * (frames / total) for values, frames in parts)
        return {self.column: WeightedValue(np.asarray(mean), total)}


@dataclass(frozen=True)
class _Transform:
    """The transforms that torchvision publishes with the weights."""

    published: Any

    def __call__(self, frames: Tensor) -> Tensor:
        """Uint8 frames, (B, [T,] H, W, 3), to the model's input, (B, 3, [T,] h, w)."""
        return transform_frames(self.published.transforms(), frames.movedim(-1, -3))


def transform_frames(preset: Any, frames: Tensor) -> Tensor:
    """Transform frames as torchvision does, to the last bit, without holding up a GPU.

    torchvision's own normalisation uploads its constants for each batch, and waits to see that none is 0.

    Args:
        preset: torchvision's transforms of a classification or a video model.
        frames: uint8, (B, [T,] 3, H, W).
    Returns:
        The model's input, float32, (B, 3, [T,] h, w).
    """
    from torchvision.transforms import functional

    # Presets of video models leave no choice: they resize without antialiasing.
    antialias = getattr(preset, "antialias", False)
    pictures = frames.flatten(0, -4)
    pictures = functional.resize(pictures, preset.resize_size, preset.interpolation, antialias=antialias)
    pictures = functional.convert_image_dtype(functional.center_crop(pictures, preset.crop_size), torch.float)
    mean, std = (constant(_columns, *values, device=frames.device) for values in (preset.mean, preset.std))
    return pictures.sub_(mean).div_(std).unflatten(0, frames.shape[:-3]).movedim(-3, 1)


def _columns(*values: float) -> Tensor:
    return torch.tensor(values)[:, None, None]


def split_into_pieces(window: Window, length: int) -> list[Frames]:
    """Split a window into consecutive pieces, from the slab if it is there.

    Args:
        window: the window, of T frames.
        length: frames of a piece.
    Returns:
        The pieces, (length, H, W, 3) each; the last one may be shorter.
    """
    return [take_frames(window, k, k + length) for k in range(0, len(window.frames), length)]


def is_video(model: str) -> bool:
    """Whether a model takes clips rather than images.

    Args:
        model: torchvision's name of the model.
    """
    return model in _models().list_models(module=_models().video)


def check_model(model: str) -> None:
    """Check that torchvision has a model, for classification of images or of videos.

    Args:
        model: name to look up.
    Raises:
        ConfigError: If it has none of this name; similar names are suggested.
    """
    names = [*_models().list_models(module=_models()), *_models().list_models(module=_models().video)]
    if model not in names:
        near = difflib.get_close_matches(model, names, 4) or ["resnet50", "vit_b_16", "r3d_18", "mvit_v2_s"]
        raise ConfigError(
            f"torchvision:{model} is none of torchvision's {len(names)} classification and video models: "
            f"did you mean {', '.join(near)}?"
        )


def weights_url(model: str) -> str:
    """The URL of a model's published weights.

    Args:
        model: torchvision's name of the model.
    """
    return _models().get_model_weights(model).DEFAULT.url


def build_model(model: str) -> nn.Module:
    """Build a model with the layers that its published weights have, before they are loaded.

    Args:
        model: torchvision's name of the model.
    """
    return _models().get_model(model, weights=None, **_CONSTRUCTOR_ARGUMENTS.get(model, {}))


def find_classifier(network: nn.Module, published: Any) -> tuple[str, nn.Linear | nn.Conv2d | nn.Conv3d]:
    """Find a model's classifier: the last layer with as many outputs as the weights have categories.

    Args:
        network: a model of torchvision.
        published: torchvision's entry of its published weights.
    Returns:
        Name and module of the layer.
    """
    classes = len(published.meta["categories"])
    layers = [
        (name, module)
        for name, module in network.named_modules()
        if classes in (getattr(module, "out_features", None), getattr(module, "out_channels", None))
    ]
    return layers[-1]


def remove_classifier(network: nn.Module, published: Any) -> nn.Module:
    """Replace a model's classifier by an identity, and leave the model's own pooling as it is.

    Not by torchvision's create_feature_extractor: its trace drops operations whose result nobody takes, and with them
    the residuals that MViT adds in place, so its features differ from the model's without a word.

    Args:
        network: a model of torchvision; it is changed.
        published: torchvision's entry of its published weights.
    Returns:
        `network`.
    """
    name, _ = find_classifier(network, published)
    owner, _, last = name.rpartition(".")
    setattr(network.get_submodule(owner), last, nn.Identity())
    return network
