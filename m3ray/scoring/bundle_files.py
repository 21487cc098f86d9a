"""The files of a bundle beside `bundle.json`: arrays to bytes, and back."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save

from m3ray.errors import BundleError
from m3ray.model import StackedMLP
from m3ray.model.mixture import Mixture
from m3ray.scoring.bundle_metadata import BundleManifest, BundleMetadata
from m3ray.scoring.diverged import describe_dropped, drop_runs, find_finite_runs, split_seeds
from m3ray.scoring.intervals import IntervalRule
from m3ray.storage.root import Root

logger = logging.getLogger(__name__)

MODEL_FILE = "model.safetensors"
MIXTURE_FILE = "regressors.safetensors"
"""Arrays of the members beside the MLP, and of the map."""

_RULE = ("knots", "low", "high")


def save_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Write arrays as safetensors.

    Args:
        arrays: Name to array.
    Returns:
        Content of the file.
    """
    return save({name: np.ascontiguousarray(values) for name, values in arrays.items()})


def load_arrays(folder: Root, name: str, data: bytes) -> dict[str, np.ndarray]:
    """Read arrays out of safetensors.

    Args:
        folder: The bundle's folder, for the error.
        name: Name of the file.
        data: Its content.
    Returns:
        Name to array.
    Raises:
        BundleError: If the file is damaged.
    """
    try:
        return load(data)
    except SafetensorError as error:
        raise BundleError(f"{folder.uri}: {name} cannot be read ({error})") from error


def list_weights(model: StackedMLP | None) -> dict[str, np.ndarray]:
    """List the MLP's arrays by the names that the file has.

    Args:
        model: The runs; None: there is no MLP.
    Returns:
        Name to array.
    """
    if model is None:
        return {}
    weights = {f"weights.{k}": w.detach().cpu().numpy() for k, w in enumerate(model.weights)}
    return weights | {f"biases.{k}": b.detach().cpu().numpy() for k, b in enumerate(model.biases)}


def build_model(tensors: Mapping[str, np.ndarray]) -> StackedMLP | None:
    """Rebuild the MLP.

    Args:
        tensors: Arrays of the file; others than the MLP's are ignored.
    Returns:
        The runs; None where the file has no MLP.
    """
    if "weights.0" not in tensors:
        return None
    return StackedMLP.from_state({name: torch.tensor(values) for name, values in tensors.items()}).eval()


def build_mixture(
    folder: Root, manifest: BundleManifest, arrays: bytes | None, model: StackedMLP | None, baseline: np.ndarray
) -> Mixture | None:
    """Rebuild the mixture.

    Args:
        folder: The bundle's folder, for the error.
        manifest: Its manifest.
        arrays: Content of the mixture's file; None: there is none.
        model: The MLP's runs; None: it has none.
        baseline: Scaled features of one clip that it is tried on, (F,).
    Returns:
        The mixture; None where the bundle is of the MLP as it was trained.
    Raises:
        BundleError: If the file is damaged, lacks something or does not fit, or there is no model at all.
    """
    if manifest.metadata.mixture is None:
        if model is None:
            raise BundleError(f"{folder.uri}: {MODEL_FILE} holds no model: copy the bundle anew, or train it again")
        return None
    tensors = {} if arrays is None else load_arrays(folder, MIXTURE_FILE, arrays)
    try:
        mixture = Mixture.load(manifest.metadata.mixture, tensors, model)
        scores = mixture(np.asarray(baseline, np.float32)[None])
    except (ArithmeticError, AssertionError, LookupError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise BundleError(
            f"{folder.uri}: its models are damaged ({type(error).__name__}: {error}): copy the bundle anew, or train "
            "it again"
        ) from error
    if not np.isfinite(scores).all():
        raise BundleError(f"{folder.uri}: its models give no finite score: copy the bundle anew, or train it again")
    return mixture


def save_intervals(rule: IntervalRule, calibration: np.ndarray | None, spread: np.ndarray | None = None) -> bytes:
    """Write the intervals' rule and the clips behind it, in a file that a report reads without the weights.

    Args:
        rule: The rule.
        calibration: Scores and true scores of those clips, (2, n); None: unknown.
        spread: Standard deviation of these scores over the runs, (n,); None: unknown.
    Returns:
        Content of the file.
    """
    tensors = {name: getattr(rule, name) for name in _RULE}
    known = {"calibration": calibration, "calibration_spread": spread}
    return save_arrays(tensors | {name: values for name, values in known.items() if values is not None})


def read_rule(arrays: Mapping[str, np.ndarray]) -> IntervalRule | None:
    """Rebuild the intervals' rule.

    Args:
        arrays: Arrays of its file; none of an older bundle.
    Returns:
        The rule; None: one half width for all.
    """
    return IntervalRule(*(arrays[name] for name in _RULE)) if arrays else None


def keep_finite(residuals: np.ndarray) -> np.ndarray:
    """Leave out what is no number, as all residuals of an older bundle with a run that diverged: no interval then.

    Args:
        residuals: Absolute errors, (n,).
    Returns:
        Those that are finite.
    """
    return residuals[np.isfinite(residuals)]


def drop_diverged(
    model: StackedMLP | None, baseline: np.ndarray, manifest: BundleManifest
) -> tuple[StackedMLP | None, BundleMetadata]:
    """Drop the runs that diverged, which an older m3ray left in.

    Args:
        model: The runs of the bundle.
        baseline: Features that they are tried on, (F,).
        manifest: The bundle's manifest.
    Returns:
        The other runs, and the metadata that say so.
    Raises:
        BundleError: If all diverged.
    """
    metadata = manifest.metadata
    if model is None or metadata.mixture is not None:  # none of which an older m3ray wrote
        return model, metadata
    kept = find_finite_runs(model, baseline[None])
    if kept.all():
        return model, metadata
    seeds, dropped = split_seeds(list(metadata.seeds or ()), kept)
    model = drop_runs(model, kept, manifest.name).eval()
    logger.warning(f"{manifest.name}: {describe_dropped(dropped)}: every score was undefined with them")
    return model, replace(metadata, seeds=seeds, dropped_runs=[*(metadata.dropped_runs or ()), *dropped])


def read_file(folder: Root, name: str, digest: str) -> bytes:
    """Read a file of a bundle.

    Args:
        folder: The bundle's folder.
        name: Name of the file.
        digest: Its SHA-256.
    Returns:
        Its content.
    Raises:
        BundleError: If it is missing, or was changed.
    """
    try:
        data = folder.read_bytes(name)
    except FileNotFoundError as error:
        raise BundleError(f"{folder.display(name)} is missing: copy the whole folder of the bundle") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise BundleError(
            f"{folder.display(name)} was changed since the bundle was written: copy it anew, or train again"
        )
    return data
