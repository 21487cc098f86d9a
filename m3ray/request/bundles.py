"""Bundles that a job scores with, and the clips to score, checked before torch is imported."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config.options import PredictOptions
from m3ray.datasets.clip_checks import check_clips
from m3ray.datasets.listing import Listing
from m3ray.datasets.registry import list_clips
from m3ray.errors import BundleError, ConfigError, StudyError
from m3ray.request.clips import check_videos
from m3ray.scoring.bundle_metadata import BUNDLE_FILE, BundleManifest, read_manifest
from m3ray.storage.dry_root import DryRoot
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry
from m3ray.tiers.user import UserTier, parse_tier_options, read_user_tier


def check_bundle_folder(uri: str) -> BundleManifest:
    """Check that a folder is a bundle with all its files.

    Files are read, and compared with their hashes, where they are used.

    Args:
        uri: The bundle's folder, local or on S3.
    Returns:
        What its `bundle.json` holds.
    Raises:
        ConfigError: If there is no bundle.
        BundleError: If `bundle.json` is damaged, or a file is missing.
    """
    folder = DryRoot(uri)
    if not folder.exists(BUNDLE_FILE):
        raise ConfigError(f"no bundle at {uri}: expected a folder with {BUNDLE_FILE}, as jobs/train.py writes")
    manifest = read_manifest(folder)
    missing = sorted({*manifest.files, *manifest.networks} - set(folder.list_names()))
    if missing:
        raise BundleError(f"{folder.display(missing[0])} is missing: copy the whole folder of the bundle")
    return manifest


def read_prediction_inputs(root: Root, options: PredictOptions) -> tuple[Listing | None, tuple[UserTier, ...]]:
    """List the clips to score, and read the user-provided tiers that the bundle needs of them.

    Args:
        root: Root that the predictions go to.
        options: Options of `predict`.
    Returns:
        The clips (None: those of the user-provided tiers), and the tiers.
    Raises:
        BundleError: If the bundle's folder is incomplete or damaged.
        UserError: If a path, a table, a tier or an option does not suit the bundle.
    """
    manifest = check_bundle_folder(options.bundle or root.display("models", "m3s"))
    name, provided = manifest.name, manifest.metadata.user_provided
    if options.delay is not None and manifest.metadata.decay is None:
        raise ConfigError(f"{name} was trained on data without decay rates (column alpha): leave out --delay")
    if options.over_time and provided:
        raise ConfigError(f"--over-time: {name} sees {next(iter(provided))}, which a user provides once a clip")
    tiers = _read_user_tiers(name, provided, parse_tier_options(options.tier))
    computed = [block.tier for block in manifest.blocks if block.tier not in provided]
    if options.root is None and tiers and not computed:
        return None, tiers
    listed = list_clips(root, options.dataset, options.root, limit=options.limit, seed=0, read=options.read_config)
    check_clips(listed.table)
    check_videos(listed, computed)
    return listed, tiers


def _read_user_tiers(name: str, provided: Mapping[str, TierEntry], files: Mapping[str, str]) -> tuple[UserTier, ...]:
    missing = sorted(set(provided) - set(files))
    if missing:
        raise ConfigError(
            f"{name} sees {', '.join(missing)}, provided by a user: give the new clips' with --tier {missing[0]}=FILE"
        )
    return tuple(read_user_tier(tier, files[tier], scaled=bool(entry.scaled)) for tier, entry in provided.items())


def select_evaluation_split(catalogue: pa.Table, uri: str, target: str = "score") -> str:
    """Select the split that bundles are evaluated on: test, else val.

    Args:
        catalogue: Catalogue of the root, with `split` and the target.
        uri: Address of the root, for the error.
        target: Column that the bundle predicts.
    Returns:
        `test` or `val`.
    Raises:
        StudyError: If neither has a clip with a score.
    """
    splits = set(catalogue.filter(pc.is_valid(catalogue[target]))["split"].to_pylist())
    split = next((name for name in ("test", "val") if name in splits), None)
    if split is None:
        raise StudyError(f"{uri} has no scored clip in test or val: nothing to evaluate a bundle on")
    return split
