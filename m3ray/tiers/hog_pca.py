"""HOG's PCA: from 34,596 numbers to 10, whitened, fitted on first frames of the train split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from safetensors.numpy import load, save
from torch import Tensor

from m3ray.errors import StudyError
from m3ray.schema import HOG_COMPONENTS

if TYPE_CHECKING:
    from sklearn.decomposition import IncrementalPCA

MAX_FRAMES = 10_000
_BATCH = 256
# The incremental fit computes more directions than it returns, so that those it returns converge.
_FITTED_COMPONENTS = 48


@dataclass(frozen=True)
class HogProjection:
    """A fitted, whitened PCA of HOG descriptors.

    Args:
        mean: mean descriptor, (34596,), float32.
        components: directions divided by their standard deviation (whitening), (10, 34596), float32.
        frames: number of frames that it was fitted on.
        fitted_on: `train`, or `all` where no clip is marked as train.
    """

    mean: np.ndarray
    components: np.ndarray
    frames: int
    fitted_on: str = "train"

    @property
    def directions(self) -> int:
        """How many of the ten numbers vary; the others are 0, as few or equal frames span no more directions."""
        return int(np.count_nonzero(self.components.any(axis=1)))

    def transform(self, descriptors: np.ndarray) -> np.ndarray:
        """Project descriptors.

        Args:
            descriptors: HOG descriptors, (N, 34596).
        Returns:
            (N, 10), whitened.
        """
        # z = W (x - mean), the whitening in W
        return (descriptors - self.mean) @ self.components.T

    def on_device(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """The projection of descriptors that lie on a device; the PCA is uploaded to it now, once.

        Args:
            device: device of the descriptors.
        Returns:
            A function from descriptors, float32, (N, 34596), to what `transform` gives, (N, 10).
        """
        if device.type == "cpu":
            return self._transform_tensor
        mean, components = (torch.tensor(values).to(device) for values in (self.mean, self.components))
        return partial(_project, mean=mean, components=components)

    def _transform_tensor(self, descriptors: Tensor) -> Tensor:
        return torch.from_numpy(self.transform(descriptors.numpy()))

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of mean and components, hexadecimal: its part of the raw tier's fingerprint."""
        digest = hashlib.sha256(np.ascontiguousarray(self.mean, np.float32).tobytes())
        digest.update(np.ascontiguousarray(self.components, np.float32).tobytes())
        return digest.hexdigest()

    def to_artifact(self) -> tuple[bytes, dict[str, Any]]:
        """The content of its two files: tensors as safetensors, and the metadata for JSON."""
        tensors = {"mean": self.mean, "components": np.ascontiguousarray(self.components)}
        return save(tensors), {"frames": self.frames, "fitted_on": self.fitted_on, "sha256": self.sha256}

    @classmethod
    def from_artifact(cls, tensors: bytes, metadata: Mapping[str, Any]) -> Self:
        """The projection that `to_artifact` wrote.

        Args:
            tensors: content of the safetensors file.
            metadata: content of the JSON file.
        Raises:
            SafetensorError: If the safetensors file is damaged.
        """
        arrays = load(tensors)
        return cls(arrays["mean"], arrays["components"], metadata["frames"], metadata["fitted_on"])


def _project(descriptors: Tensor, mean: Tensor, components: Tensor) -> Tensor:
    return (descriptors - mean) @ components.T


def fit_hog_projection(descriptors: Iterable[np.ndarray], fitted_on: str = "train") -> HogProjection:
    """Fit the PCA over a stream of descriptors, holding a few hundred of them at a time.

    Args:
        descriptors: rows of 34,596 numbers, in an order that is the same on every run.
        fitted_on: `train`, or `all` where no clip is marked as train; for the record.
    Returns:
        Ten directions; those that so few frames do not span give 0 for every clip. One frame spans none.
    Raises:
        StudyError: If there is no descriptor.
    """
    from sklearn.decomposition import IncrementalPCA  # over a second to import, which a fitted one does without

    pca, count = None, 0
    for batch in _batches(descriptors):
        if count == 0 and len(batch) == 1:
            return _project_to_zero(batch[0], fitted_on)
        # The first batch bounds the rank: of a small root the fit computes as many directions as it has frames.
        pca = pca or IncrementalPCA(n_components=min(_FITTED_COMPONENTS, len(batch)))
        with np.errstate(divide="ignore", invalid="ignore"):  # of equal frames, the share of variance is 0 / 0; unused
            pca.partial_fit(batch)
        count += len(batch)
    if pca is None:
        raise StudyError("HOG's PCA needs at least 1 decodable train clip, got none: add clips to the train split")
    return _whiten(pca, count, fitted_on)


def _project_to_zero(descriptor: np.ndarray, fitted_on: str) -> HogProjection:
    """The projection fitted on a single frame, which has no variance."""
    components = np.zeros((HOG_COMPONENTS, len(descriptor)), np.float32)
    return HogProjection(descriptor.astype(np.float32), components, 1, fitted_on)


def _whiten(pca: IncrementalPCA, count: int, fitted_on: str) -> HogProjection:
    deviation = np.sqrt(pca.explained_variance_[:HOG_COMPONENTS])
    # A direction without variance (fewer clips than components, identical clips) gives 0, not noise over 0; so does
    # one of the rounding of float32, by which the means of two batches of identical clips differ.
    rounding = 1e-5 * float(np.linalg.norm(pca.mean_))
    usable = deviation > max(1e-6 * max(float(deviation.max(initial=0.0)), 1e-12), rounding)
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=usable)
    components = np.zeros((HOG_COMPONENTS, pca.components_.shape[1]), np.float32)
    components[: len(scale)] = pca.components_[:HOG_COMPONENTS] * scale[:, None]
    return HogProjection(pca.mean_.astype(np.float32), components, count, fitted_on)


def _batches(descriptors: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Batches of `_BATCH` rows; a short last one is joined to its neighbour, as a batch needs as many rows as rank."""
    waiting: list[np.ndarray] = []
    for row in descriptors:
        waiting.append(row)
        if len(waiting) == 2 * _BATCH:
            yield np.stack(waiting[:_BATCH])
            waiting = waiting[_BATCH:]
    if waiting:
        yield np.stack(waiting)
