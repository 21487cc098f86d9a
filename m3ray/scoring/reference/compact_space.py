"""A few numbers that stand for a vector: all of its columns where they are few, else its principal components.

Distances between compact vectors are what neighbours are found by. They are never larger than those of the full
vectors, and equal where the components hold the whole train split. Beside components, the last number is the length of
what they leave out: alike for clips as those of train, and large for a clip that differs where no train clip does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from m3ray.errors import ShapeError

MOST_NUMBERS = 64
MOST_WHOLE = 1 << 20
"""Numbers of all train clips up to which vectors are kept whole: 2 MiB of float16."""
_MOST_FITTED = 3_000  # clips that directions are fitted on: more change them by little
_BLOCK = 1_000  # clips whose squares are in memory at once
_PASSES = 4
_SPARE = 8  # directions beside those that are wanted, so that these converge
_TINY = 1e-9
_LARGEST = 60_000  # float16 ends at 65,504


@dataclass(frozen=True)
class CompactSpace:
    """The map from vectors to compact ones.

    Args:
        mean: Mean of the clips that it was fitted on, (D,), float32.
        axes: Orthonormal directions, (C, D), float32; None: all columns are kept.
        scale: Root mean square of the train clips' distances from their mean: compact vectors are in this unit.
    """

    mean: np.ndarray
    axes: np.ndarray | None
    scale: float

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Make vectors compact.

        Args:
            rows: Vectors of Q clips, (Q, D).
        Returns:
            Compact vectors, (Q, C + 1), float16; (Q, D) where all columns are kept.
        Raises:
            ShapeError: If the vectors are of another width.
        """
        if rows.shape[1] != len(self.mean):
            raise ShapeError(f"compact vectors were fitted on {len(self.mean)} columns, got {rows.shape[1]}")
        centred = (np.asarray(rows, np.float32) - self.mean) / np.float32(self.scale)
        if self.axes is None:
            return np.clip(centred, -_LARGEST, _LARGEST).astype(np.float16)
        kept = centred @ self.axes.T
        squares = np.einsum("qd,qd->q", centred, centred) - np.einsum("qc,qc->q", kept, kept)
        # What is left of a vector within the directions is the rounding of its square.
        noise = 1e-5 * np.einsum("qd,qd->q", centred, centred)
        rest = np.sqrt(np.where(squares > noise, squares, 0))
        return np.clip(np.column_stack([kept, rest]), -_LARGEST, _LARGEST).astype(np.float16)


def is_small(rows: np.ndarray) -> bool:
    """Whether vectors are few or short enough to be kept whole.

    Args:
        rows: Vectors of the train clips, (N, D).
    Returns:
        Whether they are.
    """
    return rows.shape[1] <= MOST_NUMBERS or rows.size <= MOST_WHOLE


def keep_whole(rows: np.ndarray) -> CompactSpace:
    """Make the space in which all columns are kept.

    Args:
        rows: Vectors of the train clips, (N, D), N >= 1.
    Returns:
        The space; its unit is 1 where all clips are alike.
    """
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    squares = sum(float(np.square(part - mean, dtype=np.float64).sum()) for part in _cut(rows))
    spread = float(np.sqrt(squares / len(rows)))
    size = float(np.sqrt(np.square(mean, dtype=np.float64).sum()))
    return CompactSpace(mean, None, spread if spread > 1e-6 * size + _TINY else 1.0)  # less than that is rounding


def _cut(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (np.asarray(rows[start : start + _BLOCK], np.float32) for start in range(0, len(rows), _BLOCK))


def fit_compact_space(rows: np.ndarray, seed: int = 0, most: int = MOST_NUMBERS) -> CompactSpace:
    """Fit the directions in which the train clips vary most.

    Args:
        rows: Vectors of the train clips, (N, D), N >= 1.
        seed: Seed of the draw of the clips that are fitted on, and of the solver.
        most: Most numbers of a compact vector.
    Returns:
        The space; its unit is 1 where all clips are alike.
    """
    rng = np.random.default_rng(seed)
    whole = keep_whole(rows)
    drawn = rows if len(rows) <= _MOST_FITTED else rows[np.sort(rng.choice(len(rows), _MOST_FITTED, replace=False))]
    centred = (np.asarray(drawn, np.float32) - whole.mean) / np.float32(whole.scale)
    count = max(0, min(most - 1, len(rows) - 1, rows.shape[1]))
    return replace(whole, axes=_find_axes(centred, count, rng))


def _find_axes(centred: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """The first principal directions, (C, D), by subspace iteration (Halko et al. 2011); exact where all are asked."""
    width = min(count + _SPARE, *centred.shape)
    basis = rng.standard_normal((centred.shape[1], width)).astype(np.float32)
    for _ in range(_PASSES):
        basis, _ = np.linalg.qr(centred.T @ (centred @ basis))
    _, _, turned = np.linalg.svd(centred @ basis, full_matrices=False)
    return np.ascontiguousarray((basis @ turned.T).T[:count])
