"""Groups of clips whose vectors are all but the same: an exact search in blocks, in bounded memory.

Every number of a vector is standardised over the clips, as else those that vary most decide alone, and all vectors of a
network point nearly one way. A pair is close where its cosine is high enough in every set of vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy

_BLOCK = 2048  # rows and columns of one product: 16 MiB of float32
_HEAD = 64  # leading directions that most pairs are told apart by
_SAMPLE = 8192  # rows that these directions are found on
_FEW = 4096  # of so few rows, whole vectors are compared at once
_PAIRS = 8192  # pairs whose whole vectors are held at once
_DENSE = 0.005  # share of a block's pairs from which on a product of whole vectors is faster than pair by pair
_FEWEST = 8  # of fewer, one that lies far out cannot be told from others that are copies
_FEW_CLIPS = 100  # of so few, one that lies far out would make all others point one way
_SLACK = 1e-5  # rounding of a product in float32
_ROUNDING = 1e-6  # and of a single number
_LARGE_SHARE, _LARGE = 0.02, 10  # a group of more clips than both is looked at once more
_NARROWER = 5  # times that the threshold's distance from 1 is halved to take a chain apart


@dataclass(frozen=True)
class CloseVectors:
    """Which rows are close to one another.

    Args:
        groups: Number of each row's group, (N,), int64; a row that is close to none is alone in its own.
        similarity: Cosine to the closest row, in the first set of vectors, (N,), float32; 0 where none is close.
        nearest: That row, (N,), int64; -1 where no row is close.
        cut: Number of chains that were taken apart.
    """

    groups: np.ndarray
    similarity: np.ndarray
    nearest: np.ndarray
    cut: int = 0


def find_close_vectors(tiers: Sequence[np.ndarray], threshold: float, agreement: float | None = None) -> CloseVectors:
    """Find the rows that are close to one another, and the groups that they are connected to.

    A group whose clips are close to neighbours alone, and not to the group's middle, is a chain. One of more than 2 %
    of the rows (and more than 10) is taken apart at higher thresholds, so that no chain joins a whole catalogue.

    Args:
        tiers: Sets of vectors, (N, D) each, of the same N clips; D differs. They may lie on disk (`numpy.memmap`).
        threshold: Lowest cosine of a close pair in the first set, above 0 and at most 1.
        agreement: Lowest cosine of a close pair in the others; None: the threshold.
    Returns:
        Groups, and each row's closest one; of fewer than 8 rows none is close to another, as these cannot be told from
        clips that merely differ from an outlier.
    """
    rows = len(tiers[0]) if tiers else 0
    if rows < _FEWEST:
        return CloseVectors(np.arange(rows), np.zeros(rows, np.float32), np.full(rows, -1))
    limits = [threshold, *[threshold if agreement is None else agreement] * (len(tiers) - 1)]
    directions = [_Directions.of(vectors, limit) for vectors, limit in zip(tiers, limits, strict=True)]
    return _cut_chains(directions, _connect(directions, np.arange(rows)))


@dataclass(frozen=True)
class _Directions:
    """A set of vectors, standardised as they are read, so that the whole is never copied; and what counts as close."""

    vectors: np.ndarray
    limit: float
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray, limit: float) -> _Directions:
        blocks = [slice(start, start + _BLOCK) for start in range(0, len(vectors), _BLOCK)]
        mean = sum(np.asarray(vectors[part], np.float64).sum(axis=0) for part in blocks) / len(vectors)
        squares = sum(((np.asarray(vectors[part], np.float64) - mean) ** 2).sum(axis=0) for part in blocks)
        deviation = np.sqrt(squares / len(vectors))
        if len(vectors) <= _FEW_CLIPS:
            middle = np.sort(np.asarray(vectors, np.float64), axis=0)[1:-1]  # without each column's highest and lowest
            mean, deviation = middle.mean(axis=0), middle.std(axis=0)
        # What varies by rounding alone says nothing.
        varies = deviation > _ROUNDING * np.maximum(np.abs(mean), 1e-30)
        scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)
        return cls(vectors, limit, mean.astype(np.float32), scale.astype(np.float32))

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Rows of length 1, (n, D), float32; of length 0 where one is the mean itself."""
        centred = (np.asarray(self.vectors[rows], np.float32) - self.mean) * self.scale
        lengths = np.linalg.norm(centred, axis=1, keepdims=True)
        return np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > _ROUNDING)


class _Forest:
    """Groups that grow as pairs come in; of each group the lowest row is the root."""

    def __init__(self, rows: int) -> None:
        self._parents, self._none = np.arange(rows), rows
        self._similarity, self._nearest = np.zeros(rows, np.float32), np.full(rows, rows)

    def add(self, first: np.ndarray, second: np.ndarray, cosines: np.ndarray) -> None:
        """Take in pairs, (n,) each."""
        self._note_closest(first, second, cosines)
        self._note_closest(second, first, cosines)
        roots = np.stack([self._find(first), self._find(second)])
        roots = roots[:, roots[0] != roots[1]]
        if roots.size:
            nodes, ends = np.unique(roots, return_inverse=True)
            self._parents[nodes] = nodes[_lowest_members(ends.reshape(2, -1), len(nodes))]

    def result(self) -> CloseVectors:
        """What the pairs so far make."""
        nearest = np.where(self._nearest == self._none, -1, self._nearest)
        return CloseVectors(self._find(np.arange(self._none)), self._similarity, nearest)

    def _note_closest(self, rows: np.ndarray, others: np.ndarray, cosines: np.ndarray) -> None:
        before = self._similarity[rows]
        np.maximum.at(self._similarity, rows, cosines)
        now = self._similarity[rows]
        self._nearest[rows[now > before]] = self._none
        is_best = cosines == now
        np.minimum.at(self._nearest, rows[is_best], others[is_best])  # of equal ones, whatever their order, the first

    def _find(self, rows: np.ndarray) -> np.ndarray:
        found = self._parents[rows]
        while not np.array_equal(above := self._parents[found], found):
            found = above
        return found


def _lowest_members(ends: np.ndarray, nodes: int) -> np.ndarray:
    """The lowest node that each node is connected to by edges, (2, n)."""
    labels = scipy.sparse.csgraph.connected_components(
        scipy.sparse.coo_array((np.ones(ends.shape[1], bool), tuple(ends)), (nodes, nodes)), False
    )[1]
    lowest = np.full(labels.max() + 1, nodes)
    np.minimum.at(lowest, labels, np.arange(nodes))
    return lowest[labels]


_Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]


def _connect(tiers: Sequence[_Directions], rows: np.ndarray) -> CloseVectors:
    """Groups among some of the rows, which they are numbered by."""
    forest = _Forest(len(rows))
    for pairs in _iterate_pairs(tiers, rows):
        forest.add(*pairs)
    return forest.result()


def _iterate_pairs(tiers: Sequence[_Directions], rows: np.ndarray) -> Iterator[_Pairs]:
    """Close pairs (first, second, cosine), as positions among the rows, block by block."""
    bounds, limit = _bound_by_head(tiers[0], rows), tiers[0].limit
    # |x - y|^2 = 2 - 2 cos: rows that lie further apart along one direction are not close.
    order = np.argsort(bounds[:, 0], kind="stable")
    bounds, rows, reach = bounds[order], rows[order], np.sqrt(2 - 2 * limit) + np.sqrt(_SLACK)
    ends = np.searchsorted(bounds[:, 0], bounds[:, 0] + reach, side="right")
    for start in range(0, len(rows), _BLOCK):
        stop = min(start + _BLOCK, len(rows))
        for left in range(start, int(ends[stop - 1]), _BLOCK):
            right = min(left + _BLOCK, len(rows))
            may_be_close = bounds[start:stop] @ bounds[left:right].T >= limit - _SLACK
            if np.count_nonzero(may_be_close) > _DENSE * may_be_close.size:
                first, second, cosines = _multiply(tiers, rows[start:stop], rows[left:right])
                found: Iterator[_Pairs] = iter([(first + start, second + left, cosines)])
            else:
                first, second = np.nonzero(may_be_close)
                found = _compare(tiers, rows, first + start, second + left)
            for first, second, cosines in found:
                once = first < second
                yield order[first[once]], order[second[once]], np.minimum(cosines[once], 1)


def _bound_by_head(tier: _Directions, rows: np.ndarray) -> np.ndarray:
    """Rows whose products are no less than the cosines, (n, d).

    In an orthogonal basis x.y = head_x.head_y + tail_x.tail_y <= head_x.head_y + |tail_x| |tail_y| (Cauchy, Schwarz).
    """
    if len(rows) <= _FEW or tier.vectors.shape[1] <= _HEAD:
        return tier.take(rows)
    sample = tier.take(rows[np.linspace(0, len(rows) - 1, _SAMPLE).astype(np.int64)])
    basis = np.linalg.eigh(sample.T @ sample)[1][:, : -_HEAD - 1 : -1]
    bounds = np.empty((len(rows), _HEAD + 1), np.float32)
    for start in range(0, len(rows), _BLOCK):
        part = tier.take(rows[start : start + _BLOCK])
        head = part @ basis
        tail = np.maximum((part**2).sum(axis=1) - (head**2).sum(axis=1), 0)
        bounds[start : start + _BLOCK, :-1], bounds[start : start + _BLOCK, -1] = head, np.sqrt(tail)
    return bounds


def _multiply(tiers: Sequence[_Directions], rows: np.ndarray, columns: np.ndarray) -> _Pairs:
    """Close pairs of a block in which many are: by a product of all."""
    first, *others = tiers
    cosines = first.take(rows) @ first.take(columns).T
    close = cosines >= first.limit
    for tier in others:
        close &= tier.take(rows) @ tier.take(columns).T >= tier.limit
    return (*np.nonzero(close), cosines[close])


def _compare(tiers: Sequence[_Directions], rows: np.ndarray, first: np.ndarray, second: np.ndarray) -> Iterator[_Pairs]:
    """The close ones of some pairs, by positions among the rows."""
    for start in range(0, len(first), _PAIRS):
        one, other = first[start : start + _PAIRS], second[start : start + _PAIRS]
        kept = _pair_cosines(tiers[0], rows[one], rows[other])
        close = kept >= tiers[0].limit
        one, other, kept = one[close], other[close], kept[close]
        for tier in tiers[1:]:
            close = _pair_cosines(tier, rows[one], rows[other]) >= tier.limit
            one, other, kept = one[close], other[close], kept[close]
        yield one, other, kept


def _pair_cosines(tier: _Directions, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    cosines: np.ndarray = np.einsum("ij,ij->i", tier.take(first), tier.take(second))
    return cosines


def _cut_chains(tiers: Sequence[_Directions], found: CloseVectors) -> CloseVectors:
    """Take large chains apart; all else stays."""
    groups, cut = found.groups.copy(), 0
    largest = max(_LARGE, int(_LARGE_SHARE * len(groups)))
    for group in np.flatnonzero(np.bincount(groups) > largest):
        rows = np.flatnonzero(groups == group)
        parts = _part_chain(tiers, rows, largest)
        cut += len(np.unique(parts)) > 1
        groups[rows] = rows[parts]
    return replace(found, groups=groups, cut=cut)


def _part_chain(tiers: Sequence[_Directions], rows: np.ndarray, largest: int) -> np.ndarray:
    """The parts of a large group, numbered by their first rows' positions; one part where it is no chain."""
    parts, waiting = np.zeros(len(rows), np.int64), [(np.arange(len(rows)), tiers[0].limit, 0)]
    while waiting:
        inside, limit, times = waiting.pop()
        parts[inside] = inside[0]
        if len(inside) <= largest or times == _NARROWER or _is_compact(tiers[0], rows[inside]):
            continue
        limit = 1 - (1 - limit) / 2
        labels = _connect([replace(tiers[0], limit=limit), *tiers[1:]], rows[inside]).groups
        waiting += [(inside[labels == label], limit, times + 1) for label in np.unique(labels)]
    return parts


def _is_compact(tier: _Directions, rows: np.ndarray) -> bool:
    """Whether all rows are as close to their middle as close ones are to each other."""
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    middle = sum(tier.take(part).sum(axis=0) for part in blocks)
    middle = middle / max(float(np.linalg.norm(middle)), _ROUNDING)
    return all((tier.take(part) @ middle).min() >= tier.limit for part in blocks)
