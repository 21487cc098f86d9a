"""The clips and tiers that a job computes, read and checked before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import pyarrow as pa

from m3ray.config.options import ExtractOptions, MissingOptions
from m3ray.datasets.captions import check_captions
from m3ray.datasets.clip_checks import check_clips
from m3ray.datasets.groups import check_groups
from m3ray.datasets.listing import Listing
from m3ray.datasets.media import count_images, count_noun
from m3ray.datasets.registry import PUBLISHED, list_clips
from m3ray.errors import ConfigError, UserError
from m3ray.features.captions import check_captions_fit
from m3ray.request.images import settle_event_tier
from m3ray.request.names import check_measure, check_tiers, check_weights_file, is_computed
from m3ray.schema import LEARNED_KEY, SIMILARITY, VIDEO_METADATA, is_captions
from m3ray.storage.catalogue_file import has_catalogue, read_catalogue
from m3ray.storage.dataset_record import DEMO, DatasetRecord, apply_record
from m3ray.storage.dry_root import DryRoot
from m3ray.storage.root import Root
from m3ray.storage.root_record import RECORD_FILE as RECORD
from m3ray.storage.root_record import check_same_clips, check_source, read_record
from m3ray.tiers.user import UserTier, parse_tier_options, read_user_tier, store_user_tier, user_tiers

T = TypeVar("T", bound=ExtractOptions)

_MAX_EARLY = 50_000  # clips whose user-provided tiers are compared with the listing before Ray starts too


def read_requested_clips(root: DryRoot, options: T) -> tuple[T, Listing | None, tuple[UserTier, ...]]:
    """Complete a job's options by the root's record, list the clips, and read the user-provided tiers.

    Args:
        root: Root of the job.
        options: Options of the job.
    Returns:
        The completed options; the clips, None for the demo's, which are drawn later; the user-provided tiers.
    Raises:
        UserError: If a name, a path, a table or a data set is wrong.
    """
    record = read_record(root)
    named = bool(options.tiers or (record and record.tiers))
    options = apply_record(options, record)
    check_source(root, record, options)
    if options.dataset == DEMO and options.root is not None:
        raise ConfigError(
            f"--root {options.root}: the demo has none; say --dataset folder, table or one of {', '.join(PUBLISHED)}"
        )
    if options.dataset == DEMO and any(map(is_captions, options.tiers)):
        raise ConfigError(f"--tiers {' '.join(options.tiers)}: the demo's clips have no captions: leave captions out")
    files = parse_tier_options(options.tier)
    _check_names(root, options, files)
    provided = tuple(read_user_tier(name, file, scaled=name not in options.unscaled) for name, file in files.items())
    listing = _list_clips(root, options, record)
    if listing is not None:
        options, listing = settle_event_tier(options, listing, named=named)
        check_clips(listing.table)
        check_same_clips(root, record, options, listing.table)
        check_captions(listing.table, options.tiers)
        check_captions_fit(listing.table, options.tiers)
        check_videos(listing, [tier for tier in options.tiers if is_computed(tier)])
        check_user_tier_clips(root, options, provided, listing.table["clip_id"])
    return options, listing, provided


def check_user_tier_clips(
    root: DryRoot, options: MissingOptions, tiers: Sequence[UserTier], ids: pa.ChunkedArray
) -> None:
    """Check that user-provided tiers have the clips; of very many clips, that is told when the tiers are stored.

    Args:
        root: Root of the job; nothing is written to it.
        options: Options of the job, which say whether clips may be missing.
        tiers: The tiers.
        ids: Ids of the clips.
    Raises:
        FeatureError: If a tier lacks more clips than it may.
    """
    for tier in tiers if len(ids) <= _MAX_EARLY else ():
        store_user_tier(root, tier, ids.to_pylist(), allow_missing=options.allow_missing)


def _check_names(root: Root, options: ExtractOptions, files: Mapping[str, str]) -> None:
    also = (*files, *user_tiers(root))
    check_tiers(options.tiers, (SIMILARITY, *also) if options.sees_similarity else also)
    check_measure(options.measure)
    check_weights_file(options.weights, options.tiers)
    unknown = [name for name in options.unscaled if name not in files]
    if unknown:
        raise ConfigError(f"--unscaled {unknown[0]}: no --tier {unknown[0]}=FILE is given")


def _list_clips(root: Root, options: ExtractOptions, record: DatasetRecord | None) -> Listing | None:
    """The clips of the data set; None: the demo's."""
    if options.dataset == DEMO:
        return None
    if options.dataset is None and not has_catalogue(root):
        raise ConfigError(
            f"{root.uri} has lost its catalogue, and nothing tells its data set: say --dataset and --root"
        )
    if options.dataset is None:
        table = drop_video_metadata(read_catalogue(root))
        return Listing(table, check_groups(table, options.group))
    try:
        return list_clips(
            root, options.dataset, options.root, limit=options.limit, seed=options.seed, read=options.read_config
        )
    except UserError as error:
        if record is None or options.root != record.source:
            raise
        advice = f"{root.display(RECORD)} names it; if it has moved, say --root NEW --dataset-moved"
        raise type(error)(f"{error} ({advice})") from error


def drop_video_metadata(catalogue: pa.Table) -> pa.Table:
    """Drop what decoding learned of the clips from a catalogue.

    Args:
        catalogue: Catalogue of a root.
    Returns:
        The columns that came from the data set.
    """
    marked = [column.name for column in catalogue.schema if LEARNED_KEY in (column.metadata or {})]
    older = [name for name in VIDEO_METADATA.names[1:] if name in catalogue.column_names] if not marked else []
    is_older = {"native_fps", "sampled", "video_bytes"} <= set(older)
    return catalogue.drop_columns(marked or (older if is_older else []))


def check_videos(listing: Listing, tiers: Sequence[str]) -> None:
    """Check that there are videos to compute tiers from.

    Args:
        listing: The clips, and which of their videos are missing.
        tiers: Names of the tiers that are computed from videos.
    Raises:
        ConfigError: If there are such tiers, and not one video.
    """
    count = listing.table.num_rows
    if tiers and listing.missing and len(listing.missing) >= count:
        missing = count_noun(count, "images" if count_images(listing.table["uri"]) == count else "videos")
        raise ConfigError(
            f"none of the {missing} is there, so {', '.join(tiers)} cannot be computed: give "
            "their folder with --videos, or train on captions (--tiers captions) or on tiers of your own: --tier "
            "NAME=FILE --tiers NAME"
        )
