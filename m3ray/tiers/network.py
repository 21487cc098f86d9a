"""A pooled network on its device: uint8 frames in, features out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from m3ray.errors import WeightsError
from m3ray.tiers.backbones import fetch, fill_untrained_, load_weights, prepare_network
from m3ray.tiers.backbones.chosen import ChosenConvolution
from m3ray.tiers.backbones.convolution_ways import WayChooser
from m3ray.tiers.backbones.fused import fuse_convolutions_
from m3ray.tiers.backbones.onednn import OneDnnConvolution, can_fuse
from m3ray.tiers.base import WeightedValue, WindowFeatures
from m3ray.tiers.constants import constant
from m3ray.tiers.graphed_network import GraphedNetwork
from m3ray.tiers.precision import float32_precision
from m3ray.tiers.slab import Frames, UploadedBatch, shape_of
from m3ray.tiers.transfers import Upload, transfers_of

Transform = Callable[[Tensor], Tensor]
# Frames of a batch: launches and memory follow them, not clips. What eight clips of a whole window have, which fit GPUs
# of 16 GB and up together; pictures are no dearer in HRNet than frames in a CSN.
BATCH_FRAMES = 8 * 128
_CLIP_DIMENSIONS = 4


@dataclass(frozen=True)
class WeightSource:
    """Where a network's weights come from.

    Args:
        location: path or URL of the weight file; None for random weights.
        sha256: SHA-256 of the file, hexadecimal; None until `weight_sources.pin_weights` has computed it.
        seed: seed of random weights.
    """

    location: str | None = None
    sha256: str | None = None
    seed: int = 0

    @property
    def untrained(self) -> bool:
        """Whether the weights are random."""
        return self.location is None

    def identity(self) -> dict[str, Any]:
        """What of the weights changes numbers: the file's hash, not its location."""
        return {"untrained_seed": self.seed} if self.untrained else {"sha256": self.sha256}


@dataclass(frozen=True)
class Normalise:
    """Normalisation of 8-bit frames by each channel's mean and deviation.

    Args:
        mean: mean of each channel, RGB, in [0, 1].
        std: standard deviation of each channel, RGB, in [0, 1].
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, frames: Tensor) -> Tensor:
        """Normalise frames.

        Args:
            frames: uint8, channels last, (B, [T,] H, W, 3).
        Returns:
            (x / 255 - mean) / std, float32, channels second, (B, 3, [T,] H, W).
        """
        scale, shift = (constant(make, device=frames.device) for make in (self._scale, self._shift))
        # One multiplication and one addition. Channels go second in the shape alone: in memory they stay last, which
        # is how convolutions want them.
        return (frames * scale - shift).movedim(-1, 1)

    def _scale(self) -> Tensor:
        return 1 / (255 * torch.tensor(self.std))

    def _shift(self) -> Tensor:
        return torch.tensor(self.mean) / torch.tensor(self.std)


@dataclass(frozen=True)
class Network:
    """What it takes to make a frozen network that turns uint8 frames into pooled features; nothing is built yet.

    Args:
        build: function that constructs the module which the weights are for.
        transform: function from uint8 frames on the device, (B, [T,] H, W, 3), to the module's input.
        source: the module's weights.
        precision: precision to compute in; `float32` is IEEE's on a GPU too, `tf32` is faster there and less exact.
        cut: function that takes off what is not wanted of the module, its classifier say; None to keep all of it.
        foldable: whether the module's children are named in the order in which they run, so that batch norms can be
            folded into the convolutions before them.
        trial_size: height and width of a picture that it can be tried with, pixels.
        known: whether the weights have the hash of published ones that were tried before: they are not tried again, and
            stay in their file, mapped, until they are converted, as nobody writes to it.
        assemble: function that makes the module from a weight file, where a library has rules of its own for what
            published files hold; None: the file has the keys and shapes of what `build` makes.
    """

    build: Callable[[], nn.Module]
    transform: Transform
    source: WeightSource
    precision: Literal["float32", "tf32", "bfloat16"]
    cut: Callable[[nn.Module], nn.Module] | None = None
    foldable: bool = True
    trial_size: int = 64
    known: bool = False
    assemble: Callable[[Path], nn.Module] | None = None

    def build_with_weights(self) -> nn.Module:
        """The module with its weights, on the CPU.

        Raises:
            WeightsError: If the weight file cannot be loaded into it.
        """
        if self.assemble is not None and self.source.location is not None:
            return self.assemble(fetch(self.source.location, self.source.sha256))
        # torchvision's models may draw what is in no weight file; ours hold nothing else.
        with _SkipInitialisation() if self.foldable else nullcontext():
            module = self.build()
        if self.source.location is None:
            return fill_untrained_(module, self.source.seed)
        load_weights(module, self.source.location, self.source.sha256, copy=not self.known)
        return module

    def load(self, device: torch.device) -> LoadedNetwork:
        """Build the network, load its weights and prepare it for inference.

        Args:
            device: device to compute on.
        """
        module = self.build_with_weights()
        module = module if self.cut is None else self.cut(module)
        precision = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        module = prepare_network(module, device, precision, fold=self.foldable, in_place=True)
        is_fused = self.foldable and (device.type == "cuda" or can_fuse(device, precision))
        if is_fused and not self.known:
            self._check_overflow(module, device, precision)
        if is_fused and device.type == "cpu":
            module = fuse_convolutions_(module, OneDnnConvolution)
        elif is_fused:
            module = fuse_convolutions_(module, partial(ChosenConvolution, chooser=WayChooser()))
        loaded = LoadedNetwork(module, self.transform, device, precision, tf32=self.precision == "tf32")
        if self.foldable and device.type == "cuda":  # torchvision's may wait for a GPU, which no graph can
            loaded.repeat_as_graphs()
        return loaded

    @torch.inference_mode()
    def _check_overflow(self, module: nn.Module, device: torch.device, precision: torch.dtype) -> None:
        """Check that numbers stay finite: a fused ReLU makes zero of NaN, so that features would not tell."""
        generator = torch.Generator().manual_seed(0)
        frames = (8,) if any(isinstance(layer, nn.Conv3d) for layer in module.modules()) else ()
        x = torch.randn(1, 3, *frames, self.trial_size, self.trial_size, generator=generator).to(device, precision)
        if not torch.isfinite(module(x)).all():
            raise WeightsError(f"with the weights of {self.source.location} numbers overflow: fetch the file again")

    def check(self) -> None:
        """Check the weights before any clip is computed.

        Raises:
            WeightsError: If they cannot be loaded, or hold numbers that are not finite.
        """
        if not all(torch.isfinite(value).all() for value in self.build_with_weights().state_dict().values()):
            raise WeightsError(f"{self.source.location} holds numbers that are not finite: fetch the file again")


class _SkipInitialisation(TorchFunctionMode):
    """Layers keep whatever is in their memory instead of drawing initial weights, which are replaced at once anyway."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (nn.init.kaiming_uniform_, nn.init.uniform_, Tensor.uniform_):
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


@dataclass
class LoadedNetwork:
    """A network on its device.

    Args:
        module: the network, ready for inference.
        transform: function from uint8 frames on the device, (B, [T,] H, W, 3), to the module's input.
        device: device that it computes on.
        precision: type that it computes in.
        tf32: whether a GPU may take TensorFloat-32 for float32.
    """

    module: nn.Module
    transform: Transform
    device: torch.device
    precision: torch.dtype
    tf32: bool = False

    def __post_init__(self) -> None:
        self._run: Callable[[Tensor], Tensor] = self.module
        self._compute: Callable[[Tensor], Tensor] = self._compute_plainly

    @torch.inference_mode()
    def __call__(self, batches: Sequence[Tensor | UploadedBatch]) -> list[np.ndarray]:
        """Compute the features of batches of frames.

        On a GPU a batch is copied while the one before it is computed, and the caller waits once, for all results.

        Args:
            batches: uint8, each (B, H, W, 3) or (B, T, H, W, 3), on the host or on their way to the device.
        Returns:
            Features of each batch, float32, (B, width).
        """
        transfers = transfers_of(self.device)
        copied = iter(transfers.upload([batch for batch in batches if isinstance(batch, Tensor)]))
        uploads = [next(copied) if isinstance(batch, Tensor) else batch for batch in batches]
        return transfers.download([self.compute_features(upload.wait()) for upload in uploads])

    def compute_features(self, frames: Tensor) -> Tensor:
        """Compute the features of one batch on the device, without waiting for them.

        Args:
            frames: uint8, on the device, (B, H, W, 3) or (B, T, H, W, 3).
        Returns:
            Features, float32, on the device, (B, width).
        """
        return self._compute(frames)

    def _compute_plainly(self, frames: Tensor) -> Tensor:
        with float32_precision(tf32=self.tf32):
            return self._run(self.transform(frames).to(self.precision)).float()

    def repeat_as_graphs(self) -> None:
        """Let small batches whose shapes come again be repeated as CUDA graphs, on a GPU."""
        self._compute = GraphedNetwork(self._compute_plainly)

    def compile(self) -> None:
        """Let torch.compile fuse the module's operations, once for all numbers of clips and of frames."""
        from m3ray.tiers.compiled_network import CompiledNetwork  # it takes as long to import as torch itself

        self._run = CompiledNetwork(self.module)


def compute_vectors(network: LoadedNetwork, inputs: Sequence[Frames], column: str) -> list[WindowFeatures]:
    """Compute the vector of each input, inputs of one shape together, as many as `BATCH_FRAMES` allows.

    Clips of other lengths are not padded to share a batch: a CSN's convolutions reach over a clip's end in time, where
    the zeros that they pad with are no features of repeated or black frames, whose biases have gone through a ReLU by
    the second layer. To be exact each of the 50 would have to set the frames beyond each clip's end back to zero.

    Args:
        network: network on its device.
        inputs: images or clips, uint8, each (H, W, 3) or (T, H, W, 3); those on their way to the device are not copied.
        column: name of the column that the vectors are for.
    Returns:
        The column of each input with weight 1, in order.
    """
    batches = _group(inputs)
    vectors: dict[int, WindowFeatures] = {}
    found = network([_make_batch(network, [inputs[k] for k in indices]) for indices in batches])
    for indices, features in zip(batches, found, strict=True):
        vectors.update({k: {column: WeightedValue(row, 1.0)} for k, row in zip(indices, features, strict=True)})
    return [vectors[index] for index in range(len(inputs))]


def _group(inputs: Sequence[Frames]) -> list[list[int]]:
    """Indices of the inputs of each batch: of one shape, all on the host or none, no more frames than a batch takes."""
    groups: dict[tuple[tuple[int, ...], bool], list[int]] = defaultdict(list)
    for index, frames in enumerate(inputs):
        groups[shape_of(frames), isinstance(frames, Upload)].append(index)
    batches = []
    for (shape, _), indices in groups.items():
        size = max(1, BATCH_FRAMES // (shape[0] if len(shape) == _CLIP_DIMENSIONS else 1))
        batches += [indices[start : start + size] for start in range(0, len(indices), size)]
    return batches


def _make_batch(network: LoadedNetwork, inputs: Sequence[Frames]) -> Tensor | UploadedBatch:
    uploads = [frames for frames in inputs if isinstance(frames, Upload)]
    if uploads:
        return UploadedBatch(uploads)
    arrays = [frames[None] for frames in inputs if isinstance(frames, np.ndarray)]
    return transfers_of(network.device).stage(arrays)
