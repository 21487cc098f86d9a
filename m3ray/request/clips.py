"""The clips and tiers that a job is asked for, found and checked before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import pyarrow as pa

from m3ray.config.options import ExtractOptions
from m3ray.datasets.catalogue import checked, read_catalogue
from m3ray.datasets.listing import Listing
from m3ray.datasets.registry import list_clips
from m3ray.errors import ConfigError, UserError
from m3ray.request.names import check_measure, check_tiers, check_weights_file, is_computed
from m3ray.schema import CATALOGUE_FILE, FACTS, LEARNED_KEY, SIMILARITY
from m3ray.storage.dataset_record import DEMO, Record, settled
from m3ray.storage.dry_root import DryRoot
from m3ray.storage.root import Root
from m3ray.storage.root_record import NAME as RECORD
from m3ray.storage.root_record import check_shared, check_source, read_record
from m3ray.tiers.user import Brought, bring, brought_tiers, parse_tiers, read_tier

T = TypeVar("T", bound=ExtractOptions)

_MOST_EARLY = 50_000  # clips whose tiers are compared with the listing twice, once before Ray starts


def asked_clips(root: DryRoot, options: T) -> tuple[T, Listing | None, tuple[Brought, ...]]:
    """The options with what the root keeps, the clips (None: the demo's, not drawn yet), and the tiers brought.

    Raises:
        UserError: a name, a path, a table or a data set that cannot be.
    """
    record = read_record(root)
    options = settled(options, record)
    check_source(root, record, options)
    if options.dataset == DEMO and options.root is not None:
        raise ConfigError(
            f"--root {options.root}: the demo has none; say --dataset folder, table, memento10k or videomem"
        )
    given = parse_tiers(options.tier)
    _check_names(root, options, given)
    brought = tuple(read_tier(name, file, scaled=name not in options.unscaled) for name, file in given.items())
    listed = _listed(root, options, record)
    if listed is not None:
        checked(listed.table)
        check_shared(root, record, options, listed.table)
        check_videos(listed, [tier for tier in options.tiers if is_computed(tier)])
        _check_brought(root, options, brought, listed.table["clip_id"])
    return options, listed, brought


def _check_brought(root: DryRoot, options: ExtractOptions, brought: Sequence[Brought], ids: pa.ChunkedArray) -> None:
    """Raises FeatureError where a tier lacks clips; of very many, that is found when it is brought."""
    for tier in brought if len(ids) <= _MOST_EARLY else ():
        bring(root, tier, ids.to_pylist(), allow_missing=options.allow_missing)


def _check_names(root: Root, options: ExtractOptions, given: Mapping[str, str]) -> None:
    also = (*given, *brought_tiers(root))
    check_tiers(options.tiers, (SIMILARITY, *also) if options.sees_similarity else also)
    check_measure(options.measure)
    check_weights_file(options.weights, options.tiers)
    unknown = [name for name in options.unscaled if name not in given]
    if unknown:
        raise ConfigError(f"--unscaled {unknown[0]}: no --tier {unknown[0]}=FILE is given")


def _listed(root: Root, options: ExtractOptions, record: Record | None) -> Listing | None:
    """The clips of the data set; None: the demo's."""
    if options.dataset == DEMO:
        return None
    if options.dataset is None and not root.exists(CATALOGUE_FILE):
        raise ConfigError(
            f"{root.uri} has lost its catalogue, and nothing tells its data set: say --dataset and --root"
        )
    if options.dataset is None:
        return Listing(without_facts(read_catalogue(root)))
    try:
        return list_clips(
            root, options.dataset, options.root, limit=options.limit, seed=options.seed, read=options.reading
        )
    except UserError as error:
        if record is None or options.root != record.source:
            raise
        kept = f"{root.display(RECORD)} names it; if it has moved, say --root NEW --dataset-moved"
        raise type(error)(f"{error} ({kept})") from error


def without_facts(catalogue: pa.Table) -> pa.Table:
    """A catalogue as it was before decoding told of its clips."""
    marked = [column.name for column in catalogue.schema if LEARNED_KEY in (column.metadata or {})]
    older = [name for name in FACTS.names[1:] if name in catalogue.column_names] if not marked else []
    is_older = {"native_fps", "sampled", "video_bytes"} <= set(older)
    return catalogue.drop_columns(marked or (older if is_older else []))


def check_videos(listed: Listing, wanted: Sequence[str]) -> None:
    """Raises ConfigError where tiers are wanted of videos of which none is there."""
    if wanted and listed.missing and len(listed.missing) >= listed.table.num_rows:
        raise ConfigError(
            f"none of the {listed.table.num_rows} videos is there, so {', '.join(wanted)} cannot be computed: give "
            "their folder with --videos, or train on tiers of your own: --tier NAME=FILE --tiers NAME"
        )
