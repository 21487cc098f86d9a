"""Models of a library of image networks as tiers: what timm's and open_clip's have in common."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from m3ray.errors import WeightsError
from m3ray.tiers.image_network import ImageNetworkTier
from m3ray.tiers.network import Network
from m3ray.tiers.torchvision_tier import transform_frames


@dataclass(frozen=True)
class Preset:
    """How frames become a network's input.

    Args:
        resize_size: length of the shorter side that a picture is resized to, or height and width, pixels.
        crop_size: height and width of the middle that is cropped, pixels.
        way: how it is resized: `bicubic` or another name of torchvision's.
        mean: mean of each channel, RGB, in [0, 1].
        std: standard deviation of each channel, RGB, in [0, 1].
    """

    resize_size: list[int]
    crop_size: list[int]
    way: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    antialias = True

    @property
    def interpolation(self) -> Any:
        """How it is resized, as torchvision takes it."""
        # Imported once frames are there: it takes as long as torch itself.
        from torchvision.transforms import InterpolationMode

        return InterpolationMode(self.way)

    def __call__(self, frames: Tensor) -> Tensor:
        """Uint8 frames, (B, H, W, 3), to the model's input, (B, 3, h, w)."""
        return transform_frames(self, frames.movedim(-1, -3))


@dataclass(frozen=True)
class Library:
    """How a library's models are found, built and fed.

    Args:
        prefix: what the names of its tiers begin with, `timm:` say.
        check: function that raises ConfigError where the library, or a model of this name, is missing.
        build: function that builds a model of this name, without its weights.
        assemble: function that builds it with the weights of a file, by the library's own rules.
        cut: function that takes off what is not wanted of a model.
        read_preset: function that reads how a model wants its input.
    """

    prefix: str
    check: Callable[[str], None]
    build: Callable[[str], Any]
    assemble: Callable[[str, Path], Any]
    cut: Callable[[nn.Module], nn.Module]
    read_preset: Callable[[str], Preset]


@dataclass
class LibraryTier(ImageNetworkTier):
    """The vector of a model of a library; a subclass says which library, and how wide the vector is.

    Args:
        model: the library's name of the model, with that of its weights where there are several.
    """

    library: ClassVar[Library]

    def __post_init__(self) -> None:
        self.library.check(self.model)

    @property
    def name(self) -> str:
        """The tier's name, `timm:vit_base_patch16_224.augreg_in21k` say."""
        return f"{self.library.prefix}{self.model}"

    @property
    def column(self) -> str:
        """The name of its vector's column in Parquet: the model's."""
        return self.model

    @property
    def network(self) -> Network:
        """The model without what is not wanted of it, not yet built."""
        assert self.config.precision != "auto", "precision is resolved before a tier is made"
        # Not folded: only a model's own code knows in which order its layers run.
        return Network(
            partial(self.library.build, self.model),
            self._preset,
            self.source,
            self.config.precision,
            self.library.cut,
            foldable=False,
            assemble=partial(self.library.assemble, self.model),
        )

    @cached_property
    def _preset(self) -> Preset:
        return self.library.read_preset(self.model)

    def describe_input(self) -> str:
        """How frames become the network's input."""
        return repr(self._preset)


def other_model(path: Path, tier: str, error: Exception) -> WeightsError:
    """The error of a file that holds another model's weights.

    Args:
        path: path of the weight file.
        tier: name of the tier.
        error: what its library says.
    """
    said = textwrap.shorten(str(error), 300)
    return WeightsError(f"{path} is not a file of {tier}: {said}; give that model's file with --weights FILE.json")
