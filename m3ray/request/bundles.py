"""Bundles that a job scores with, and the clips to score, checked before torch is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config.options import PredictOptions
from m3ray.datasets.captions import check_captions
from m3ray.datasets.clip_checks import check_clips
from m3ray.datasets.listing import Listing
from m3ray.datasets.registry import list_clips
from m3ray.errors import BundleError, ConfigError, StudyError
from m3ray.features.target import SCORE
from m3ray.features.target_columns import list_targets
from m3ray.request.baselines import is_installed
from m3ray.request.clips import check_user_tier_clips, check_videos
from m3ray.request.explain import check_explain, check_explained_clips
from m3ray.request.images import add_event_note
from m3ray.request.shots import check_shots
from m3ray.schema import CAPTIONS, SIMILARITY, is_captions
from m3ray.scoring.bundle_archive import find_bundle_folder
from m3ray.scoring.bundle_metadata import BUNDLE_FILE, BundleManifest, BundleMetadata, explain_no_bundle, read_manifest
from m3ray.scoring.pretrained_bundle import is_pretrained, make_manifest, no_delay
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.dry_root import DryRoot
from m3ray.storage.filesystems import is_local, local_path
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, read_tier_index
from m3ray.tiers.pretrained.facts import find_scorer
from m3ray.tiers.user import UserTier, parse_tier_options, read_user_tier

_LOOKED_AT = 1000  # clips whose files are looked for


def check_named_bundle(uri: str) -> BundleManifest:
    """Check that a bundle is there: with all its files, or an installed pretrained scorer.

    Args:
        uri: The bundle's folder or zip, local or on S3, a zip's https address with its hash, or the name of a scorer.
    Returns:
        What its `bundle.json` holds, or would.
    Raises:
        ConfigError: If there is no bundle, a web address has no hash, or the scorer is not installed.
        BundleError: If `bundle.json` is damaged, a file is missing, or a zip cannot be fetched or unpacked.
    """
    if not is_pretrained(uri):
        return check_bundle_folder(find_bundle_folder(uri))
    scorer = find_scorer(uri)
    if scorer.package is not None and not is_installed(uri):
        raise ConfigError(
            f"{uri} needs the package {scorer.package}, which is not installed: {scorer.install_command} (a folder "
            f"of that name is ./{uri})"
        )
    return make_manifest(uri)


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
        raise ConfigError(explain_no_bundle(uri))
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
    manifest = check_named_bundle(options.bundle or root.display("models", "m3s"))
    name, provided = manifest.name, manifest.metadata.user_provided
    if options.delay is not None and is_pretrained(options.bundle):
        raise ConfigError(no_delay(name))
    if options.delay is not None and manifest.metadata.decay is None:
        raise ConfigError(f"{name} was trained on data without decay rates (column alpha): leave out --delay")
    given = [*provided, *(block.tier for block in manifest.blocks if is_captions(block.tier))]
    if options.over_time and given:
        raise ConfigError(f"--over-time: {name} sees {given[0]}, which a user provides once a clip")
    check_explain(options, manifest)
    check_shots(options)
    tiers = _read_user_tiers(name, provided, parse_tier_options(options.tier))
    computed = [block.tier for block in manifest.blocks if block.tier not in provided]
    if options.root is None and tiers and not computed:
        _check_shared_clips(tiers)
        return None, tiers
    listed = list_clips(root, options.dataset, options.root, limit=options.limit, seed=0, read=options.read_config)
    check_clips(listed.table)
    check_captions(listed.table, computed, f"{name} sees captions")
    check_videos(listed, [tier for tier in computed if not is_captions(tier)])
    check_explained_clips(options, listed.table["clip_id"])
    check_user_tier_clips(DryRoot(root.uri), options, tiers, listed.table["clip_id"])
    return add_event_note(listed, computed), tiers


def _check_shared_clips(tiers: Sequence[UserTier]) -> None:
    if not set.intersection(*(set(tier.ids) for tier in tiers)):
        raise ConfigError(
            f"--tier: no clip_id is in all of {', '.join(tier.name for tier in tiers)}: give files of the same clips"
        )


def _read_user_tiers(name: str, provided: Mapping[str, TierEntry], files: Mapping[str, str]) -> tuple[UserTier, ...]:
    missing = sorted(set(provided) - set(files))
    if missing:
        raise ConfigError(
            f"{name} sees {', '.join(missing)}, provided by a user: give the new clips' with --tier {missing[0]}=FILE"
        )
    return tuple(read_user_tier(tier, files[tier], scaled=bool(entry.scaled)) for tier, entry in provided.items())


def check_evaluated_root(name: str, metadata: BundleMetadata, tiers: Sequence[str], root: Root) -> str:
    """Check that a bundle can be evaluated on a root, and select the split for it.

    Args:
        name: Name of the bundle.
        metadata: What it was made with.
        tiers: Names of the tiers that it sees.
        root: The root.
    Returns:
        `test` or `val`.
    Raises:
        ConfigError: If the root has nothing of what the bundle predicts, lacks a user-provided tier, or has neither a
            computed tier nor videos.
        BundleError: If its user-provided tier has other columns.
        StudyError: If no clip of test or val has a value.
    """
    catalogue, target = read_catalogue(root), metadata.units.name
    held = list_targets(catalogue)
    if target not in held and target != SCORE:
        raise ConfigError(
            f"{name} predicts {target}, and {root.uri} has {', '.join(held) or 'no score'}: give roots that have it"
        )
    split = select_evaluation_split(catalogue, root.uri, target)
    index = read_tier_index(root)
    for tier, entry in metadata.user_provided.items():
        _check_provided_tier(name, tier, entry, index.get(tier), root)
    computed = [tier for tier in tiers if tier not in (*metadata.user_provided, SIMILARITY, CAPTIONS, *index)]
    check_captions(catalogue, set(tiers) - {*metadata.user_provided}, f"{name} sees captions, and in {root.uri}")
    if computed and not _has_video(catalogue):
        raise ConfigError(
            f"{name} sees {computed[0]}, and {root.uri} has neither that tier nor a video to compute it from: give a "
            "root whose videos are there"
        )
    return split


def _check_provided_tier(name: str, tier: str, trained: TierEntry, held: TierEntry | None, root: Root) -> None:
    if held is None or not held.user_provided:
        raise ConfigError(
            f"{name} sees {tier}, provided by a user, and {root.uri} has no such tier: provide it with "
            f"jobs/extract.py --out {root.uri} --tier {tier}=FILE --tiers {tier}"
        )
    then, now = (entry.identity or {} for entry in (trained, held))
    changed = [key for key in sorted({*then, *now}) if then.get(key) != now.get(key)]
    if changed:
        changes = "; ".join(f"{key}: {then.get(key)!r} then, {now.get(key)!r} in {root.uri}" for key in changed)
        raise BundleError(f"{name} was trained on another {tier}: {changes[:600]}: provide it as it was then")


def _has_video(catalogue: pa.Table) -> bool:
    """Whether a video may be there: one with a remote address, or a local file, of the first thousand."""
    uris = [uri for uri in catalogue["uri"].slice(0, _LOOKED_AT).to_pylist() if uri]
    return any(not is_local(uri) or Path(local_path(uri)).exists() for uri in uris)


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
