"""Nearest train clips of clips in compact spaces, in blocks, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

COPY_DISTANCE = 0.004  # nearer than that only rounding, or other hardware, parts two clips
MOST_COPIES = 4  # more clips that are alike share what a detector gives where it finds nothing
WHOLE = "all"
"""The space of all tiers that the model sees, each weighing the same."""
_BLOCK = 3_000_000  # distances in memory at once: 12 MB
_MOST_ROWS = 512


@dataclass(frozen=True)
class Nearest:
    """The nearest train clips of Q clips in one space, by distance.

    Args:
        rows: Position of each among the train clips, (Q, k), int64; -1: there are no more.
        distances: Its distance, (Q, k), float32, ascending; infinite where there is none.
    """

    rows: np.ndarray
    distances: np.ndarray

    def mean(self, count: float) -> np.ndarray:
        """Mean distance to the nearest.

        Args:
            count: How many; of a broken number the last one counts in part.
        Returns:
            (Q,), float64; 0 where a clip has no neighbour at all.
        """
        weights = np.clip(count - np.arange(self.distances.shape[1]), 0, 1)
        known = np.isfinite(self.distances)
        total = (known * weights).sum(axis=1)
        sums = (np.where(known, self.distances, 0).astype(np.float64) * weights).sum(axis=1)
        return np.divide(sums, total, out=np.zeros(len(sums)), where=total > 0)


@dataclass(frozen=True)
class Found:
    """Neighbours of Q clips.

    Args:
        spaces: Name of each space to the nearest train clips in it.
        same: Position of the train clip that each clip is, (Q,), int64; -1: it is none.
    """

    spaces: Mapping[str, Nearest]
    same: np.ndarray


def find_nearest(
    clips: Mapping[str, np.ndarray],
    train: Mapping[str, np.ndarray],
    tiers: Sequence[str],
    spaces: Sequence[str],
    count: int,
    own: np.ndarray | None = None,
) -> Found:
    """Find the nearest train clips of clips.

    A clip that is itself a train clip, or a copy of one, is not its own neighbour, and copies of it are none either:
    the train clips no farther than rounding in all tiers, where they are few. Where many are alike, features are too
    coarse to tell, and all but the clip of the same id count.

    Args:
        clips: Name of each space to the compact vectors of Q clips, (Q, C).
        train: The same of N train clips, (N, C).
        tiers: Spaces that make up `WHOLE`.
        spaces: Spaces that neighbours are wanted in, `WHOLE` among them or not.
        count: Number of neighbours.
        own: Position of the train clip of the same id, (Q,), int64; -1: there is none; None: there is none for any.
    Returns:
        The neighbours.
    """
    known = {name: torch.from_numpy(np.asarray(train[name], np.float32)) for name in {*tiers, *spaces} - {WHOLE}}
    known[WHOLE] = _join(known, tiers)
    rows = len(next(iter(clips.values())))
    own = np.full(rows, -1) if own is None else own
    found = []
    for part in _cut(rows, len(known[WHOLE]), (count + MOST_COPIES + 1) * max(x.shape[1] for x in known.values())):
        query = {name: torch.from_numpy(np.asarray(clips[name][part], np.float32)) for name in known if name != WHOLE}
        query[WHOLE] = _join(query, tiers)
        found.append(_find_block(query, known, spaces, count, torch.from_numpy(own[part])))
    return _concatenate(found, spaces, count)


def _cut(rows: int, train: int, found: int) -> Iterator[slice]:
    """Blocks of clips, by the numbers that each takes: one a train clip, and those of the vectors found."""
    step = min(_MOST_ROWS, max(1, _BLOCK // max(1, train, found)))
    return (slice(start, start + step) for start in range(0, rows, step))


def _join(vectors: Mapping[str, Tensor], tiers: Sequence[str]) -> Tensor:
    """The vectors of all tiers side by side: the squared distance is the mean of the tiers' own."""
    return torch.cat([vectors[tier] for tier in tiers], 1) / len(tiers) ** 0.5


def _find_block(
    query: Mapping[str, Tensor], known: Mapping[str, Tensor], spaces: Sequence[str], count: int, own: Tensor
) -> Found:
    wanted = count + MOST_COPIES + 1
    whole = _search(query[WHOLE], known[WHOLE], wanted)
    same, copies = _find_copies(query[WHOLE], known[WHOLE], *whole, own)
    found = {}
    for name in spaces:
        rows, distances = whole if name == WHOLE else _search(query[name], known[name], wanted)
        found[name] = _leave_out(rows, distances, copies, count)
    return Found(found, same.numpy())


def _search(query: Tensor, known: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Rows and distances of the nearest, (Q, min(count, N)) each, ascending."""
    # |x - y|^2 = |x|^2 - 2 x.y + |y|^2, of which |x|^2 changes no order; those found are then measured themselves.
    scores = torch.addmm((known * known).sum(1)[None], query, known.T, alpha=-2)
    rows = scores.topk(min(count, len(known)), dim=1, largest=False, sorted=False).indices
    distances = torch.linalg.vector_norm(query[:, None] - known[rows], dim=2)
    distances, order = distances.sort(dim=1, stable=True)
    return rows.gather(1, order), distances


def _find_copies(query: Tensor, known: Tensor, rows: Tensor, distances: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """The train clip that each clip is, (Q,), and all that are no neighbours of it, (Q, MOST_COPIES + 1); -1: none."""
    near = distances <= COPY_DISTANCE
    few = near.sum(1) <= MOST_COPIES
    to_own = torch.linalg.vector_norm(query - known[own.clamp(min=0)], dim=1)
    is_own = (own >= 0) & (to_own <= COPY_DISTANCE)
    copies = torch.where(near & few[:, None], rows, -1)[:, :MOST_COPIES]
    missing = torch.full((len(own),), -1)
    copies = torch.cat([copies, torch.where(is_own, own, missing)[:, None]], 1)
    return torch.where(is_own, own, torch.where(few & near[:, 0], rows[:, 0], missing)), copies


def _leave_out(rows: Tensor, distances: Tensor, copies: Tensor, count: int) -> Nearest:
    is_copy = (rows[:, :, None] == copies[:, None, :]).any(2)
    distances, order = torch.where(is_copy, torch.inf, distances).sort(dim=1, stable=True)
    rows = torch.where(distances.isfinite(), rows.gather(1, order), -1)
    return Nearest(rows[:, :count].numpy(), distances[:, :count].numpy())


def _concatenate(parts: Sequence[Found], spaces: Sequence[str], count: int) -> Found:
    if not parts:
        empty = Nearest(np.empty((0, count), np.int64), np.empty((0, count), np.float32))
        return Found(dict.fromkeys(spaces, empty), np.empty(0, np.int64))
    joined = {
        name: Nearest(
            np.concatenate([part.spaces[name].rows for part in parts]),
            np.concatenate([part.spaces[name].distances for part in parts]),
        )
        for name in spaces
    }
    return Found(joined, np.concatenate([part.same for part in parts]))
