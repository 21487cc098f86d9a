"""The bundles of a root beside its headline: what scores new clips, and how well that ranks val."""

from __future__ import annotations

from dataclasses import dataclass

from m3ray.errors import BundleError
from m3ray.scoring.bundle_metadata import BUNDLE_FILE, read_manifest
from m3ray.storage.root import Root

_MLP = "mlp"


@dataclass(frozen=True)
class BundleScore:
    """How well a bundle ranks val.

    Args:
        name: Name of the bundle.
        what: What scores, in words.
        rho: Spearman's rank correlation of its scores on val.
        clips: Number of these val clips.
    """

    name: str
    what: str
    rho: str
    clips: str


def list_bundle_scores(root: Root, target: str) -> list[BundleScore]:
    """List how well the bundles of a root rank val.

    Args:
        root: Root that may hold bundles.
        target: What they have to predict, a column of the catalogue; others are left out.
    Returns:
        One a bundle, by name; none of a damaged one, nor of one that does not say how it ranks.
    """
    found = (_read_score(root, name, target) for name in sorted(root.list_names("models")))
    return [score for score in found if score is not None]


def _read_score(root: Root, name: str, target: str) -> BundleScore | None:
    if not root.exists("models", name, BUNDLE_FILE):
        return None
    try:
        metadata = read_manifest(root.subroot("models", name)).metadata
    except BundleError:
        return None  # the section on coverage says why
    trained = metadata.trained_on or {}
    rho, clips = trained.get("val_spearman"), trained.get("val_clips")
    if rho is None or clips is None or metadata.units.name != target:
        return None
    tiers = (metadata.variant or {}).get("name", "")
    return BundleScore(name, _describe_model(metadata.model or _MLP, tiers), f"{rho:.4f}", f"{clips:,.0f}")


def _describe_model(model: str, variant: str) -> str:
    what = {_MLP: "the MLP", "ensemble": "the ensemble of the MLP and regressors"}.get(model, model)
    return f"{what} on the features of {variant}" if variant else what
