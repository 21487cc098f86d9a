"""What new clips are compared to: the nearest train clips with their true scores, and how far outside them a clip lies.

`inside` is the share of train clips that lie farther from their 10 nearest others than the clip does from its 10: about
uniform in [0, 1] for clips drawn as the train clips were, 0 for one that is farther out than every train clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from m3ray.errors import ConfigError, FeatureError
from m3ray.features.matrix import Features
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.open_bundle import AnyBundle
from m3ray.scoring.reference.nearest import WHOLE, Found, find_nearest
from m3ray.scoring.reference.train_reference import MODEL_SPACE, NEIGHBOURS, TrainReference

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 5
"""Neighbours that are named in each space."""
OUTSIDE = 0.01
"""`inside` below which a score is an extrapolation: so far out lies one in a hundred of the train clips' own kind."""
COLUMNS = ("clip_id", "space", "rank", "neighbour", "distance", "true_score")


@dataclass(frozen=True)
class Neighbours:
    """What Q clips are compared to.

    Args:
        table: A row a neighbour: `clip_id`, `space` (a tier, or `model`: the last hidden layer), `rank` (from 1),
            `neighbour`, `distance` (1: as far as train clips lie from their mean, root mean square), `true_score`.
        clips: A row a clip: `clip_id`, `inside` over all tiers, `inside_<space>` in each, and `train_clip`, the id of
            the train clip that it is, or None.
    """

    table: pd.DataFrame
    clips: pd.DataFrame


def explain_no_reference(bundle: AnyBundle) -> str | None:
    """Say why a bundle has no train clips to compare with.

    Args:
        bundle: The bundle.
    Returns:
        A line; None: it has them.
    """
    if not isinstance(bundle, Bundle):
        return f"{bundle.name} was trained elsewhere: it has no train clips to compare with"
    if bundle.reference is None:
        return f"{bundle.name} holds no train clips to compare with, as bundles of an older m3ray: train it again"
    return None


def check_reference(bundle: AnyBundle) -> None:
    """Read a bundle's train clips, if it has them, so that a damaged file is told before work is spent.

    Args:
        bundle: The bundle.
    Raises:
        BundleError: If their file is missing, damaged, or was changed since the bundle was written.
    """
    if isinstance(bundle, Bundle) and bundle.reference is not None:
        bundle.reference.load()


def check_count(count: int) -> None:
    """Check how many neighbours are wanted, before clips are scored for them.

    Args:
        count: Neighbours in each space.
    Raises:
        ConfigError: If there are none, or more than are searched for.
    """
    if not 1 <= count <= NEIGHBOURS:
        raise ConfigError(f"count={count}: expected 1 to {NEIGHBOURS} neighbours in each space")


def find_neighbours(bundle: AnyBundle, features: Features, count: int = SHOWN) -> Neighbours:
    """Find what clips are compared to, in each space.

    Args:
        bundle: The bundle.
        features: Features of Q clips as it sees them.
        count: Neighbours to name in each space, at most 10.
    Returns:
        The neighbours.
    Raises:
        FeatureError: If the bundle has no train clips to compare with.
        ConfigError: If `count` is no number from 1 to 10.
    """
    import pandas as pd  # imported with the first result: a bundle opens without it

    check_count(count)
    reference = _open_reference(bundle)
    found = _search(bundle, reference, features, [WHOLE, *reference.spaces])
    clips: dict[str, Any] = {"clip_id": list(features.clip_ids), "inside": _measure_share(reference.own, found, WHOLE)}
    for name, space in reference.spaces.items():
        clips[f"inside_{name}"] = _measure_share(space.own, found, name)
    # As a column of objects, so that None stays None.
    clips["train_clip"] = np.array([reference.ids[row] if row >= 0 else None for row in found.same], object)
    return Neighbours(_list_neighbours(reference, found, features.clip_ids, count), pd.DataFrame(clips))


def measure_inside(bundle: AnyBundle, features: Features) -> np.ndarray:
    """Measure how far inside the training data clips lie, over all tiers that the model sees.

    Args:
        bundle: The bundle.
        features: Features of Q clips as it sees them.
    Returns:
        The shares, (Q,), float32; not a number where there were fewer than 20 train clips.
    Raises:
        FeatureError: If the bundle has no train clips to compare with.
    """
    reference = _open_reference(bundle)
    return _measure_share(reference.own, _search(bundle, reference, features, [WHOLE]), WHOLE)


def add_inside(scores: pd.DataFrame, bundle: AnyBundle, features: Features) -> pd.DataFrame:
    """Add the column `inside` to scores.

    Args:
        scores: A row a clip.
        bundle: The bundle that scored them.
        features: Their features, in the same order.
    Returns:
        The scores; as they are where the bundle has no train clips to compare with.
    """
    if explain_no_reference(bundle) is not None:
        return scores
    return scores.assign(inside=measure_inside(bundle, features))


def _open_reference(bundle: AnyBundle) -> TrainReference:
    reason = explain_no_reference(bundle)
    if reason is not None or not isinstance(bundle, Bundle) or bundle.reference is None:
        raise FeatureError(str(reason))
    return bundle.reference.load()


def _list_neighbours(reference: TrainReference, found: Found, ids: Sequence[str], count: int) -> pd.DataFrame:
    """A row a neighbour: clips in the order given, space by space."""
    import pandas as pd  # imported with the first result: a bundle opens without it

    names = reference.neighbour_spaces
    shape = (len(ids), len(names), min(count, NEIGHBOURS, len(reference.ids)))
    rows, distances = np.empty(shape, np.int64), np.empty(shape, np.float32)
    for k, name in enumerate(names):
        nearest = found.spaces[name]
        rows[:, k], distances[:, k] = nearest.rows[:, : shape[2]], nearest.distances[:, : shape[2]]
    clip, space, rank = np.nonzero(rows >= 0)
    train = rows[clip, space, rank]
    columns = {
        "clip_id": np.array(ids, object)[clip],
        "space": np.array(names, object)[space],
        "rank": rank + 1,
        "neighbour": np.array(reference.ids, object)[train],
        "distance": distances[clip, space, rank],
        "true_score": reference.scores[train],
    }
    return pd.DataFrame(columns, columns=COLUMNS)


def _search(bundle: AnyBundle, reference: TrainReference, features: Features, spaces: Sequence[str]) -> Found:
    assert isinstance(bundle, Bundle)
    scaled = bundle.scaling(features.values).astype(np.float32)
    hidden = bundle.model if any(name != WHOLE for name in spaces) else None
    vectors = reference.compare(scaled, bundle.blocks, hidden)
    places = {name: row for row, name in enumerate(reference.ids)}
    own = np.array([places.get(name, -1) for name in features.clip_ids], np.int64)
    train = {name: space.vectors for name, space in reference.spaces.items()}
    return find_nearest(vectors, train, reference.tiers, spaces, NEIGHBOURS, own)


def _measure_share(own: np.ndarray, found: Found, space: str) -> np.ndarray:
    """Share of train clips that lie farther out than each clip; equal ones count half."""
    distances = found.spaces[space].mean(NEIGHBOURS).astype(np.float32)
    if not len(own):
        return np.full(len(distances), np.nan, np.float32)
    # Directions may be fitted on a train clip: how far out it lies was measured by others when the bundle was made.
    distances = np.where(found.same >= 0, own[found.same], distances)
    ascending = np.sort(own)
    below, upto = (np.searchsorted(ascending, distances, side) for side in ("left", "right"))
    return (1 - (below + upto) / (2 * len(own))).astype(np.float32)


def describe_neighbours(bundle: Bundle, neighbours: Neighbours, row: int = 0, score: float | None = None) -> list[str]:
    """Say what a clip is compared to.

    Args:
        bundle: The bundle.
        neighbours: What was found of some clips.
        row: Which of them.
        score: Its score; None: nothing is said of its range.
    Returns:
        Lines for a terminal: whether it is a train clip, how far inside it lies, the nearest train clips of each space
        with their true scores, and last a warning where its score is an extrapolation.
    """
    clip = neighbours.clips.iloc[row]
    own = neighbours.table[neighbours.table["clip_id"] == clip["clip_id"]]
    is_new = not isinstance(clip["train_clip"], str)
    lines = [] if is_new else [f"it is the train clip {clip['train_clip']}, left out below"]
    if np.isfinite(clip["inside"]):
        lines.append(f"{clip['inside']:.0%} of the train clips lie farther from their nearest others than it does")
    for space, rows in own.groupby("space", sort=False):
        names = ", ".join(f"{r.neighbour} ({r.true_score:.3f})" for r in rows.sort_values("rank").itertuples())
        what = "the model's last hidden layer" if space == MODEL_SPACE else space
        lines.append(f"nearest train clips by {what} (true score): {names}; mean {rows['true_score'].mean():.3f}")
    warning = describe_extrapolation(bundle, float(clip["inside"]), score)
    return lines if warning is None else [*lines, warning]


def describe_extrapolation(bundle: AnyBundle, inside: float, score: float | None = None) -> str | None:
    """Say that a score is an extrapolation.

    Args:
        bundle: The bundle.
        inside: How far inside the training data the clip lies; not a number: unknown.
        score: Its score; None: its range is not looked at.
    Returns:
        A line; None: it is none, as far as is known.
    """
    known = bundle.metadata.trained_on or {}
    low, high = known.get("lowest_score"), known.get("highest_score")
    if inside < OUTSIDE:
        how = "every train clip" if inside == 0 else f"{1 - inside:.1%} of the train clips"
        return f"its score is an extrapolation: it lies farther from the train clips than {how} from one another"
    if score is not None and low is not None and high is not None and not low <= score <= high:
        return f"its score is an extrapolation: the train clips' true scores range from {low:.3f} to {high:.3f}"
    return None
