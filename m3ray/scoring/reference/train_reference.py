"""The train clips that a bundle compares new clips with: ids, true scores, and a compact vector for each space.

A space is a tier that the model sees, or its last hidden layer. Vectors are as the model sees them, about the train
mean, of 16 bits a number, and compact (`CompactSpace`): all columns up to 2 MiB a space, else at most 64 numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch.nn import functional

from m3ray.errors import BundleError
from m3ray.features.matrix import Block
from m3ray.model import StackedMLP
from m3ray.schema import SIMILARITY
from m3ray.scoring.reference.compact_space import CompactSpace, fit_compact_space, is_small, keep_whole
from m3ray.scoring.reference.nearest import WHOLE, find_nearest

REFERENCE_FILE = "train_reference.safetensors"
MODEL_SPACE = "model"
MOST_CLIPS = 20_000
NEIGHBOURS = 10  # to which a clip's distance is the mean
FEWEST_CLIPS = 20  # with fewer, a share of them says nothing
_FEWEST_COLUMNS = 3  # many clips have one or two numbers alike
_CHECKED = 500  # clips whose neighbours are compared with those by full vectors
_VERSION = 1


@dataclass(frozen=True)
class Space:
    """One space and the train clips in it.

    Args:
        compact: The map from what the model sees to compact vectors.
        vectors: The train clips' compact vectors, (N, C), float16.
        own: Mean distance of each train clip to its nearest others, measured as that of a new clip, (N,), float32;
            empty: there are too few.
        kept: Share of the 10 nearest train clips that are the same by the full vectors.
    """

    compact: CompactSpace
    vectors: np.ndarray
    own: np.ndarray
    kept: float


@dataclass(frozen=True)
class TrainReference:
    """What a bundle knows of its train clips.

    Args:
        ids: Id of each of N train clips.
        scores: True scores in the target's units, (N,), float32.
        spaces: Name to space: the tiers, and `model` where there is a hidden layer.
        tiers: The tiers that stand for what the model sees.
        own: As of `Space`, over all these tiers.
        total: Number of train clips that there were; N of them were drawn.
        missing: Name of each space that there is none of to the reason.
    """

    ids: tuple[str, ...]
    scores: np.ndarray
    spaces: Mapping[str, Space]
    tiers: tuple[str, ...]
    own: np.ndarray
    total: int
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def neighbour_spaces(self) -> list[str]:
        """The spaces that neighbours are worth naming in: of three columns or more."""
        return [name for name, space in self.spaces.items() if len(space.compact.mean) >= _FEWEST_COLUMNS]

    def compare(self, scaled: np.ndarray, blocks: Sequence[Block], model: StackedMLP | None) -> dict[str, np.ndarray]:
        """Make compact vectors of clips.

        Args:
            scaled: Scaled features of Q clips, (Q, F), float32.
            blocks: Their columns, tier by tier.
            model: The MLP's runs; None: there are none, or its space is not wanted.
        Returns:
            Name of each space to the vectors, (Q, C), float16.
        """
        vectors = list_vectors(scaled, blocks, model if MODEL_SPACE in self.spaces else None)
        return {name: space.compact(vectors[name]) for name, space in self.spaces.items() if name in vectors}

    def to_bytes(self) -> bytes:
        """Content of `train_reference.safetensors`."""
        tensors: dict[str, np.ndarray] = {"scores": self.scores, "own": self.own}
        for name, space in self.spaces.items():
            arrays = {"mean": space.compact.mean, "axes": space.compact.axes, "vectors": space.vectors}
            arrays["own"] = space.own
            tensors |= {f"{key}/{name}": value for key, value in arrays.items() if value is not None}
        spaces = {n: {"scale": s.compact.scale, "kept": s.kept} for n, s in self.spaces.items()}
        facts = {"version": _VERSION, "total": self.total, "tiers": self.tiers, "spaces": spaces}
        text = json.dumps({**facts, "missing": dict(self.missing), "ids": self.ids})
        tensors["json"] = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
        return save({name: np.ascontiguousarray(values) for name, values in tensors.items()})

    @classmethod
    def from_bytes(cls, data: bytes) -> TrainReference:
        """Read the file.

        Args:
            data: Its content.
        Returns:
            The reference.
        Raises:
            BundleError: If it is damaged, or a newer m3ray wrote it.
        """
        try:
            return cls._read(data)
        except (SafetensorError, LookupError, ValueError, TypeError) as error:
            raise BundleError(
                f"{REFERENCE_FILE} cannot be read ({type(error).__name__}: {error}): copy the bundle anew, or train it "
                "again"
            ) from error

    @classmethod
    def _read(cls, data: bytes) -> TrainReference:
        tensors = load(data)
        facts: dict[str, Any] = json.loads(tensors["json"].tobytes().decode("utf-8", "surrogatepass"))
        if facts["version"] > _VERSION:
            raise BundleError(
                f"{REFERENCE_FILE} has version {facts['version']}, this m3ray reads up to {_VERSION}: upgrade m3ray"
            )
        spaces = {}
        for name, known in facts["spaces"].items():
            mean, vectors, own = (tensors[f"{key}/{name}"] for key in ("mean", "vectors", "own"))
            compact = CompactSpace(mean, tensors.get(f"axes/{name}"), known["scale"])
            spaces[name] = Space(compact, vectors, own, known["kept"])
        ids, tiers = tuple(facts["ids"]), tuple(facts["tiers"])
        return cls(ids, tensors["scores"], spaces, tiers, tensors["own"], facts["total"], facts["missing"])


def list_vectors(scaled: np.ndarray, blocks: Sequence[Block], model: StackedMLP | None) -> dict[str, np.ndarray]:
    """List what clips are in each space.

    Args:
        scaled: Scaled features of Q clips, (Q, F), float32.
        blocks: Their columns, tier by tier.
        model: The MLP's runs; None: there are none.
    Returns:
        Name of each tier to its columns, (Q, D), and `model` to the last hidden layer of all runs, where there is one.
    """
    ends = np.cumsum([len(block.names) for block in blocks])
    parts = np.split(scaled, ends[:-1], axis=1)
    vectors = {block.tier: part for block, part in zip(blocks, parts, strict=True)}
    hidden = None if model is None else compute_hidden(model, scaled)
    return vectors if hidden is None else {**vectors, MODEL_SPACE: hidden}


@torch.inference_mode()
def compute_hidden(model: StackedMLP, scaled: np.ndarray) -> np.ndarray | None:
    """What the last hidden layer of each run makes of clips.

    Args:
        model: The MLP's R runs.
        scaled: Scaled features of Q clips, (Q, F).
    Returns:
        (Q, R x H), float32; None where the MLP has no hidden layer.
    """
    layers = list(zip(model.weights, model.biases, strict=True))[:-1]
    if not layers:
        return None
    x = torch.tensor(np.asarray(scaled, np.float32)).expand(len(model.weights[0]), -1, -1)
    for weight, bias in layers:
        x = functional.mish(torch.baddbmm(bias.unsqueeze(1), x, weight.mT))
    return x.transpose(0, 1).flatten(1).numpy()


def make_reference(
    ids: Sequence[str],
    scaled: np.ndarray,
    blocks: Sequence[Block],
    scores: np.ndarray,
    model: StackedMLP | None,
    *,
    seed: int = 0,
) -> TrainReference:
    """Make the reference of a bundle.

    Args:
        ids: Ids of the N train clips.
        scaled: Their scaled features, (N, F), float32.
        blocks: The columns, tier by tier.
        scores: Their true scores in the target's units, (N,).
        model: The MLP's runs; None: what scores has none.
        seed: Seed of the draws.
    Returns:
        The reference: of more than 20,000 train clips, of those that are drawn.
    """
    total = len(ids)
    drawn = np.arange(total)
    if total > MOST_CLIPS:
        drawn = np.sort(np.random.default_rng(seed).choice(total, MOST_CLIPS, replace=False))
    vectors = list_vectors(scaled[drawn], blocks, model)
    tiers = _select_tiers(blocks)
    kept = {name: values for name, values in vectors.items() if name in (*tiers, MODEL_SPACE)}
    halves = np.random.default_rng(seed).permutation(len(drawn)) % 2 == 0
    maps = _fit_maps(kept, halves, seed)
    own = _measure_own(kept, maps, tiers, halves, seed)
    spaces = {name: _make_space(values, maps[name], own[name], seed) for name, values in kept.items()}
    names = tuple(ids[row] for row in drawn.tolist())
    missing = {} if MODEL_SPACE in spaces else {MODEL_SPACE: _explain_missing(model)}
    return TrainReference(names, scores[drawn].astype(np.float32), spaces, tiers, own[WHOLE], total, missing)


def _explain_missing(model: StackedMLP | None) -> str:
    return "no MLP scores in this bundle" if model is None else "its MLP has no hidden layer"


def _select_tiers(blocks: Sequence[Block]) -> tuple[str, ...]:
    """All tiers but similarity, which a train clip has without itself, unless there is nothing else."""
    names = tuple(block.tier for block in blocks)
    return tuple(name for name in names if name.partition(":")[0] != SIMILARITY) or names


def _make_space(values: np.ndarray, compact: CompactSpace, own: np.ndarray, seed: int) -> Space:
    vectors = compact(values)
    return Space(compact, vectors, own, _measure_kept(values / np.float32(compact.scale), vectors, seed))


def _measure_kept(full: np.ndarray, vectors: np.ndarray, seed: int) -> float:
    """Share of the nearest train clips that are the same by full vectors, of some clips."""
    rows = np.random.default_rng(seed).permutation(len(full))[:_CHECKED]
    found = [
        find_nearest({"x": x[rows]}, {"x": x}, ["x"], [WHOLE], NEIGHBOURS, rows).spaces[WHOLE].rows
        for x in (full, vectors)
    ]
    shared = [len({*a[a >= 0]} & {*b}) / max(1, (a >= 0).sum()) for a, b in zip(*found, strict=True)]
    return float(np.mean(shared))


def _fit_maps(vectors: Mapping[str, np.ndarray], half: np.ndarray, seed: int) -> dict[str, CompactSpace]:
    """The map of each space: whole, or directions fitted on half of the train clips, in units of all of them."""
    maps = {name: keep_whole(values) for name, values in vectors.items()}
    fitted = {n: fit_compact_space(x[half], seed) for n, x in vectors.items() if not is_small(x)}
    return maps | {name: replace(found, scale=maps[name].scale) for name, found in fitted.items()}


def _measure_own(
    vectors: Mapping[str, np.ndarray],
    maps: Mapping[str, CompactSpace],
    tiers: Sequence[str],
    half: np.ndarray,
    seed: int,
) -> dict[str, np.ndarray]:
    """Distance of each train clip to its nearest others, in each space and over all tiers; (0,) with too few clips.

    Directions hold a clip that they are fitted on better than a new one. Those of the bundle are fitted on half of the
    clips, so the other half lies as new clips do; the first half is measured by directions of the other one. As there
    is one train clip fewer than for a new clip, the neighbours are fewer by as large a part.
    """
    count, names = len(half), [*vectors, WHOLE]
    if count < FEWEST_CLIPS:
        return dict.fromkeys(names, np.empty(0, np.float32))
    own = {name: np.empty(count, np.float32) for name in names}
    for rows, fitted in ((~half, maps), (half, _fit_maps(vectors, ~half, seed))):
        train = {name: fitted[name](values) for name, values in vectors.items()}
        clips = {name: values[rows] for name, values in train.items()}
        found = find_nearest(clips, train, tiers, names, NEIGHBOURS, np.flatnonzero(rows))
        for name in names:
            own[name][rows] = found.spaces[name].mean(NEIGHBOURS * (1 - 1 / count))
    return own
