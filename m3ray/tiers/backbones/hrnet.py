"""HRNetV2-W48 (Wang et al. 2020, Deep High-Resolution Representation Learning), pooled over its four branches.

Layout and `state_dict` keys are those of the encoder of CSAIL's `ade20k-hrnetv2-c1`: `conv1`, `bn1`, `layer1`,
`transitionN`, `stageN.M.branches.*`, `stageN.M.fuse_layers.*`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from m3ray.errors import ShapeError
from m3ray.tiers.backbones.bottleneck import Bottleneck
from m3ray.tiers.constants import constant

WIDTH = 48
MODULES = {2: 1, 3: 4, 4: 3}  # high-resolution modules in each stage
BLOCKS = 4  # residual blocks in each branch of a module
FEATURES = WIDTH * (1 + 2 + 4 + 8)


def _conv_norm(inputs: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs, momentum=0.1),
    ]


def _widths(branches: int) -> list[int]:
    return [WIDTH * 2**index for index in range(branches)]


class BasicBlock(nn.Module):
    """The branches' residual block: two 3x3 convolutions.

    Args:
        channels: channels of its input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv_norm(channels, channels, 3)
        self.conv2, self.bn2 = _conv_norm(channels, channels, 3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """ReLU of the block's convolutions plus its input.

        Args:
            x: (B, channels, H, W).
        Returns:
            (B, channels, H, W).
        """
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)).add_(x))

    def residual_layers(self) -> tuple[nn.Sequential, None]:
        """Layers before the addition, in order; the shortcut is the block's own input."""
        return nn.Sequential(self.conv1, self.bn1, self.relu, self.conv2, self.bn2), None


def _upward(source: int, target: int) -> nn.Module:
    """From a coarser branch, a 1x1 convolution to the target's width; `HighResolutionModule.forward` enlarges it."""
    return nn.Sequential(*_conv_norm(WIDTH * 2**source, WIDTH * 2**target, 1))


def _downward(source: int, target: int) -> nn.Module:
    """From a finer branch, a 3x3 convolution of stride 2 for each halving; the last one changes the width."""
    inputs = WIDTH * 2**source
    steps: list[nn.Module] = []
    for step in range(source, target):
        last = step == target - 1
        outputs = WIDTH * 2**target if last else inputs
        layers = _conv_norm(inputs, outputs, 3, stride=2)
        steps.append(nn.Sequential(*layers) if last else nn.Sequential(*layers, nn.ReLU(inplace=True)))
    return nn.Sequential(*steps)


def _fusion(source: int, target: int) -> nn.Module | None:
    if source == target:
        return None
    return _upward(source, target) if source > target else _downward(source, target)


class HighResolutionModule(nn.Module):
    """Parallel branches at falling resolutions, each of which ends with the sum of all.

    Args:
        branches: how many branches; branch k has 48 * 2^k channels at 1 / 2^k of the first one's size.
    """

    def __init__(self, branches: int) -> None:
        super().__init__()
        widths = _widths(branches)
        self.branches = nn.ModuleList(nn.Sequential(*(BasicBlock(w) for _ in range(BLOCKS))) for w in widths)
        # None where a branch feeds itself: the published keys skip that index.
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_fusion(source, target) for source in range(branches))  # type: ignore[misc]
            for target in range(branches)
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        """Run each branch, then fuse all branches into each.

        Args:
            x: input of each branch, (B, 48 * 2^k, H / 2^k, W / 2^k).
        Returns:
            Output of each branch, of the same shapes.
        """
        x = [branch(value) for branch, value in zip(self.branches, x, strict=True)]
        return [self.relu(self._fuse(x, target)) for target in range(len(x))]

    def _fuse(self, x: list[Tensor], target: int) -> Tensor:
        total = x[target]
        for source, value in enumerate(x):
            if source == target:
                continue
            addend = self.fuse_layers[target][source](value)  # type: ignore[index]
            total = total + (_resize_like(addend, x[target]) if source > target else addend)
        return total


def _resize_like(x: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


class HRNetV2(nn.Module):
    """HRNetV2-W48's encoder; `forward` pools its 720 channels."""

    accepted_but_unused = ()

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv_norm(3, 64, 3, stride=2)
        self.conv2, self.bn2 = _conv_norm(64, 64, 3, stride=2)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(Bottleneck(64, 64), *(Bottleneck(256, 64) for _ in range(BLOCKS - 1)))
        self.transition1 = nn.ModuleList(
            [
                nn.Sequential(*_conv_norm(256, WIDTH, 3), nn.ReLU(inplace=True)),
                nn.Sequential(nn.Sequential(*_conv_norm(256, 2 * WIDTH, 3, stride=2), nn.ReLU(inplace=True))),
            ]
        )
        self.stage2 = self._stage(2)
        self.transition2 = self._new_branch(2)
        self.stage3 = self._stage(3)
        self.transition3 = self._new_branch(3)
        self.stage4 = self._stage(4)

    @staticmethod
    def _stage(number: int) -> nn.Sequential:
        return nn.Sequential(*(HighResolutionModule(number) for _ in range(MODULES[number])))

    @staticmethod
    def _new_branch(branches: int) -> nn.ModuleList:
        """The transition that adds a branch below `branches` existing ones, which pass unchanged."""
        inputs, outputs = WIDTH * 2 ** (branches - 1), WIDTH * 2**branches
        halved = nn.Sequential(*_conv_norm(inputs, outputs, 3, stride=2), nn.ReLU(inplace=True))
        return nn.ModuleList([*([None] * branches), nn.Sequential(halved)])  # type: ignore[list-item]

    def branches(self, x: Tensor) -> list[Tensor]:
        """The four branches after stage 4.

        Args:
            x: RGB normalised with the network's mean and deviation, (B, 3, H, W).
        Returns:
            48, 96, 192 and 384 channels at 1/4, 1/8, 1/16 and 1/32 of the size.
        """
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.layer1(x)
        streams = self.stage2([transition(x) for transition in self.transition1])
        streams = self.stage3([*streams, self.transition2[-1](streams[-1])])
        return self.stage4([*streams, self.transition3[-1](streams[-1])])

    def forward(self, x: Tensor) -> Tensor:
        """Pooled features of normalised images.

        Args:
            x: RGB normalised with the network's mean and deviation, (B, 3, H, W).
        Returns:
            Mean over the plane of each branch enlarged to the first one's size, (B, 720).
        Raises:
            ShapeError: If `x` is not four-dimensional with three channels.
        """
        if x.ndim != 4 or x.shape[1] != 3:
            raise ShapeError(f"HRNet takes (B, 3, H, W), got {tuple(x.shape)}: put channels second")
        streams = self.branches(x)
        return torch.cat([pool_as_if_enlarged(s, streams[0].shape[-2:]) for s in streams], dim=1)


def pool_as_if_enlarged(x: Tensor, size: torch.Size) -> Tensor:
    """Mean over the plane of an image enlarged bilinearly, without enlarging it.

    Bilinear interpolation is linear and separable, so the mean is a weighted sum over `x` whose weights are
    the column means of the two one-dimensional interpolation matrices.

    Args:
        x: (B, C, h, w).
        size: height and width that it would be enlarged to, (H, W).
    Returns:
        (B, C).
    """
    # mean(R x C') = sum_hw mean(R)_h x_hw mean(C)_w, R (H, h) and C (W, w) the interpolation matrices
    rows, columns = (
        constant(_interpolation_weights, length, enlarged, device=x.device, dtype=x.dtype)
        for length, enlarged in zip(x.shape[-2:], size, strict=True)
    )
    return torch.einsum("bchw,h,w->bc", x, rows, columns)


def _interpolation_weights(length: int, enlarged: int) -> Tensor:
    identity = torch.eye(length, dtype=torch.float64)[None]
    weights = functional.interpolate(identity, size=enlarged, mode="linear", align_corners=False)
    return weights.mean(dim=-1)[0]


def hrnetv2_w48() -> HRNetV2:
    """HRNetV2-W48 as trained on ADE20K: 65.3 M parameters."""
    return HRNetV2()
