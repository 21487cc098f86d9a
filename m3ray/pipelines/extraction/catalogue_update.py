"""Update of a root's catalogue by a job: list the clips, find the weights, record the data set, write."""

from __future__ import annotations

import logging

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config import TierConfigs
from m3ray.config.options import ExtractOptions
from m3ray.datasets.catalogue import write_catalogue
from m3ray.datasets.identity import video_keys
from m3ray.datasets.listing import Listing
from m3ray.datasets.registry import list_clips
from m3ray.request.checks import Request
from m3ray.storage.dataset_folders import DatasetOrigin
from m3ray.storage.dataset_record import DEMO, READING_SETTINGS, DatasetRecord, make_record
from m3ray.storage.rejects import replace_listing_rejects
from m3ray.storage.root import Root
from m3ray.storage.root_record import check_same_clips, check_source, find_renamed_ids, read_record, write_record
from m3ray.tiers import WeightSource
from m3ray.tiers.factory import select_computed
from m3ray.tiers.weight_sources import weight_sources

logger = logging.getLogger(__name__)

MISSING_VIDEOS_FILE = "missing_videos.txt"


def update_catalogue(
    root: Root, request: Request[ExtractOptions], configs: TierConfigs
) -> tuple[pa.Table, dict[str, WeightSource]]:
    """List the clips of a job and write the catalogue, once the weights of its tiers are known to be there.

    Args:
        root: Root of the job; that of a dry run keeps nothing.
        request: Options of the job, and its clips if they were listed.
        configs: Settings of the tiers.
    Returns:
        The catalogue; name of each tier with a network to the source of its weights.
    Raises:
        UserError: If the clips, the weights, or the data set that the root has do not go with the options.
    """
    options = request.options
    listing = request.listing or list_clips(
        root,
        options.dataset or DEMO,
        None,
        limit=options.limit,
        seed=options.seed,
        write=not options.dry_run,
        read=options.read_config,
    )
    clips, tiers = listing.table, select_computed(options.tiers)
    report_listing(root, listing, dry=options.dry_run)
    is_demo = options.dataset == DEMO
    sources = weight_sources(
        options.weights,
        tiers,
        configs,
        clips=clips.num_rows,
        demo=is_demo,
        seed=options.seed,
        allow_other=options.allow_other_weights,
    )
    _warn_untrained(options, sources)
    earlier = read_record(root)
    origin = DatasetOrigin((options.root, options.videos), _map_moved_folders(earlier, options), options.identity)
    _update_record(root, earlier, options, clips)
    keys = video_keys(clips["uri"], options.identity)
    catalogue = write_catalogue(root, clips, options.seed, keys, origin, options.group)
    splits = sorted((str(entry["values"]), entry["counts"].as_py()) for entry in pc.value_counts(catalogue["split"]))
    logger.info(
        f"catalogue: {catalogue.num_rows} clips ({', '.join(f'{n} {s}' for s, n in splits)}), "
        f"{catalogue.num_rows - catalogue['score'].null_count} with a score"
    )
    return catalogue, sources


def _map_moved_folders(earlier: DatasetRecord | None, options: ExtractOptions) -> dict[str, str]:
    """The data set's folders that the user says have moved, each to where it was."""
    if not options.dataset_moved or earlier is None:
        return {}
    pairs = ((options.root, earlier.source), (options.videos, earlier.settings.get("videos")))
    return {now: before for now, before in pairs if now and before}


def _update_record(root: Root, earlier: DatasetRecord | None, options: ExtractOptions, clips: pa.Table) -> None:
    """Check the root's record once more, as this job alone has the root from here on, and write it."""
    record = make_record(options)
    check_source(root, earlier, options)
    check_same_clips(root, earlier, options, clips)
    renamed = find_renamed_ids(root, clips)
    if len(renamed):
        logger.info(
            f"catalogue: {len(renamed)} clips, {renamed[0].as_py()} among them, name other files than before; where "
            "these differ they are computed again. Other videos are better given ids of their own"
        )
    settings = {} if earlier is None else earlier.settings
    for name in READING_SETTINGS:
        before, now = settings.get(name, record.settings[name]), record.settings[name]
        if before != now and name == "target":
            logger.info(f"catalogue: from here on this root predicts {now}; --target {before} goes back to what it did")
        elif before != now:
            logger.info(f"catalogue: --{name} {now}, and {before} before: scores or splits change, features stay")
    write_record(root, record)


def report_listing(root: Root, listing: Listing, *, dry: bool) -> None:
    """Log what a reader noted; store the clips that must not be read, and the names of all missing videos.

    Args:
        root: Root of the job; that of a dry run keeps nothing.
        listing: The clips, with notes and names of missing videos.
        dry: Whether the job is a dry run.
    """
    for note in listing.notes:
        logger.info(note)
    replace_listing_rejects(root, listing.rejected)
    if listing.missing:
        path = root.write_bytes("\n".join(listing.missing).encode() + b"\n", "artifacts", MISSING_VIDEOS_FILE)
        if not dry:
            logger.info(f"catalogue: every missing video stands in {path}")


def _warn_untrained(options: ExtractOptions, sources: dict[str, WeightSource]) -> None:
    untrained = [tier for tier, source in sources.items() if source.untrained]
    if untrained and options.weights == "auto" and options.dataset != DEMO:
        logger.info(
            f"weights: the published files of {', '.join(untrained)} cannot be had here, so these tiers are UNTRAINED: "
            "good for a trial, not for a result. With a network, or --weights FILE.json, run again"
        )
