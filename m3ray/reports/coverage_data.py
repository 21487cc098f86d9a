"""Which true scores lie in the 90 % intervals of a root's bundles: of test clips where there are enough, else of those
that the intervals were calibrated on, cross-validated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from safetensors.numpy import load

from m3ray.errors import BundleError
from m3ray.scoring.bundle_metadata import BUNDLE_FILE, INTERVALS_FILE, read_manifest
from m3ray.scoring.intervals import cross_validate_intervals
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.ownership import PREDICTIONS
from m3ray.storage.root import Root

FEWEST = 50  # five clips a tenth


@dataclass(frozen=True)
class Covered:
    """Clips with a 90 % interval and a true score.

    Args:
        bundle: Name of the bundle.
        source: Which clips they are, in words.
        scores: Predicted scores, (n,).
        covered: Whether the interval holds the true score, bool, (n,).
    """

    bundle: str
    source: str
    scores: np.ndarray
    covered: np.ndarray


def find_coverage(root: Root) -> tuple[list[Covered], list[str]]:
    """Find what can be said of the intervals of each bundle of a root.

    Args:
        root: Root that the report is about.
    Returns:
        The bundles' clips, and a sentence for each bundle of which nothing can be said.
    """
    found, missing = [], []
    for name in root.list_names("models"):
        if not root.exists("models", name, BUNDLE_FILE):
            continue
        try:
            covered = _read_test(root, name) or _read_calibration(root, name)
        except BundleError as error:
            missing.append(f"Coverage of the intervals of {name}: {error}.")
            continue
        if isinstance(covered, Covered):
            found.append(covered)
        else:
            missing.append(f"Coverage of the intervals of {name}: {covered}.")
    return found, missing


def _read_test(root: Root, name: str) -> Covered | None:
    """The scored test clips that the bundle has predicted; None where there are too few."""
    if not root.exists(PREDICTIONS):
        return None
    made = root.read_metadata(PREDICTIONS)
    if made.get("bundle") != name or made.get("catalogue") != "":
        return None
    columns = ["clip_id", "score", "low", "high"]
    predictions = root.read_table(PREDICTIONS, columns=columns).to_pandas()
    catalogue = read_catalogue(root, ["clip_id", "split", "score"]).to_pandas()
    test = catalogue[(catalogue["split"] == "test") & catalogue["score"].notna()].rename(columns={"score": "truth"})
    both = predictions.merge(test, on="clip_id")
    if len(both) < FEWEST or read_manifest(root.subroot("models", name)).metadata.target is not None:
        return None
    covered = (both["low"] <= both["truth"]) & (both["truth"] <= both["high"])
    return Covered(name, f"{len(both):,} test clips", both["score"].to_numpy(), covered.to_numpy())


def _read_calibration(root: Root, name: str) -> Covered | str:
    """The clips that the intervals were calibrated on, or why nothing can be said of them."""
    metadata = read_manifest(root.subroot("models", name)).metadata
    if not root.exists("models", name, INTERVALS_FILE):
        return "an older m3ray made the bundle, which kept no scores to check them on: train it again"
    scores, truth = load(root.read_bytes("models", name, INTERVALS_FILE))["calibration"].astype(np.float64)
    if len(scores) < FEWEST:
        return f"{len(scores)} clips are too few for tenths, {FEWEST} are the fewest"
    source = f"{len(scores):,} clips of {metadata.calibrated_on or 'val'}, cross-validated"
    return Covered(name, source, scores, cross_validate_intervals(scores, truth))


def describe_sources(found: list[Covered]) -> str:
    """Say of which clips each bundle's coverage is.

    Args:
        found: The bundles' clips, at least one.
    Returns:
        Part of a sentence.
    """
    frame = pd.DataFrame({"bundle": [c.bundle for c in found], "source": [c.source for c in found]})
    groups = frame.groupby("source", sort=False)["bundle"].agg(", ".join)
    return "; ".join(f"{bundles}: {source}" for source, bundles in groups.items())
