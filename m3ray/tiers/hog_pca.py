"""HOG's PCA: 34,596 numbers to 10, whitened, fitted on first frames of the train split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.decomposition import IncrementalPCA

from m3ray.errors import StudyError
from m3ray.schema import HOG_COMPONENTS

MOST_FRAMES = 10_000
_BATCH = 256
# The incremental fit keeps more directions than it returns, so that those it returns converge.
_KEPT = 48


@dataclass(frozen=True)
class HogProjection:
    """A fitted PCA.

    Args:
        mean: (34596,), float32.
        components: (10, 34596), float32, rows divided by their standard deviation (whitening).
        frames: how many frames it was fitted on.
        fitted_on: `train`, or `all` where no clip is marked.
    """

    mean: np.ndarray
    components: np.ndarray
    frames: int
    fitted_on: str = "train"

    @property
    def directions(self) -> int:
        """How many of the ten numbers say anything; the others are 0: few frames, or equal ones, span no more."""
        return int(np.count_nonzero(self.components.any(axis=1)))

    def transform(self, descriptors: np.ndarray) -> np.ndarray:
        """(N, 34596) to (N, 10), whitened."""
        return (descriptors - self.mean) @ self.components.T

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256(np.ascontiguousarray(self.mean, np.float32).tobytes())
        digest.update(np.ascontiguousarray(self.components, np.float32).tobytes())
        return digest.hexdigest()


def fit_hog_projection(descriptors: Iterable[np.ndarray], fitted_on: str = "train") -> HogProjection:
    """Fits the PCA over a stream of descriptors, holding a few hundred of them at a time.

    Args:
        descriptors: rows of 34,596 numbers, in an order that is the same on every run.
        fitted_on: which clips they come from, for the record.
    Returns:
        Ten directions; those that so few frames do not span give 0 for every clip. One frame spans none.
    Raises:
        StudyError: no descriptor.
    """
    pca, count = None, 0
    for batch in _batches(descriptors):
        if count == 0 and len(batch) == 1:
            return _of_one(batch[0], fitted_on)
        # Rank can't exceed the rows of the first batch; a small root keeps what it has.
        pca = pca or IncrementalPCA(n_components=min(_KEPT, len(batch)))
        with np.errstate(divide="ignore", invalid="ignore"):  # equal frames: shares of no variance, which nobody reads
            pca.partial_fit(batch)
        count += len(batch)
    if pca is None:
        raise StudyError("HOG's PCA needs at least 1 decodable train clip, got none: add clips to the train split")
    return _whitened(pca, count, fitted_on)


def _of_one(descriptor: np.ndarray, fitted_on: str) -> HogProjection:
    """A single frame has no variance."""
    components = np.zeros((HOG_COMPONENTS, len(descriptor)), np.float32)
    return HogProjection(descriptor.astype(np.float32), components, 1, fitted_on)


def _whitened(pca: IncrementalPCA, count: int, fitted_on: str) -> HogProjection:
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
    """Batches of `_BATCH` rows; the last joins its neighbour, since one smaller than the kept rank is refused."""
    waiting: list[np.ndarray] = []
    for row in descriptors:
        waiting.append(row)
        if len(waiting) == 2 * _BATCH:
            yield np.stack(waiting[:_BATCH])
            waiting = waiting[_BATCH:]
    if waiting:
        yield np.stack(waiting)
