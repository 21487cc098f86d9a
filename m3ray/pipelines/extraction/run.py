"""Extraction as a whole: preflight checks, catalogue, PCA of HOG, and the missing tiers."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config import TierConfigs
from m3ray.config.options import ExtractOptions
from m3ray.features.captions import check_captions_fit, count_captions, update_captions_tier
from m3ray.pipelines.extraction import planning
from m3ray.pipelines.extraction.catalogue_update import update_catalogue
from m3ray.pipelines.extraction.duplicate_update import settle_duplicates
from m3ray.pipelines.extraction.hog_pca import has_projection, load_or_fit_projection
from m3ray.pipelines.extraction.missing_features import check_reject_share, compute_missing
from m3ray.pipelines.extraction.preflight import (
    check_decoders,
    check_devices,
    check_storage,
    check_weights,
    check_workers,
)
from m3ray.pipelines.extraction.version_checks import check_versions
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.job import Job
from m3ray.request.checks import Request
from m3ray.request.settings import resolve_tier_configs
from m3ray.schema import is_captions
from m3ray.storage.rejects import read_listing_rejects
from m3ray.storage.root import Root
from m3ray.tiers import Tier, WeightSource
from m3ray.tiers.factory import TierInputs, make_tiers, resolve_precision, select_computed
from m3ray.tiers.user import store_user_tier

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExtractionResult:
    """What an extraction leaves for the stages after it.

    Args:
        catalogue: The root's catalogue, with what decoding learned of each clip.
        configs: Settings of the tiers.
        sources: Name of each tier with a network to the source of its weights.
    """

    catalogue: pa.Table
    configs: TierConfigs
    sources: dict[str, WeightSource]


def compute_features(job: Job, request: Request[ExtractOptions], resources: Resources) -> ExtractionResult | None:
    """Compute the features that a request asks for under the root of a job.

    Checks what only a cluster can tell, then writes the catalogue, fits HOG's PCA, and computes what is missing.

    Args:
        job: Job whose root gets the features; the root of a dry run keeps nothing.
        request: Clips and tiers, checked.
        resources: CPUs and GPUs of the cluster.
    Returns:
        Catalogue, settings and weights; None after a dry run.
    Raises:
        UserError: If the request cannot be carried out; nothing was computed.
        M3RayError: If every clip failed.
    """
    options, computed = request.options, select_computed(request.options.tiers)
    configs = resolve_precision(resolve_tier_configs(options), bfloat16=resources.bfloat16)
    _check_machine(job.root, options, configs, resources)
    catalogue, sources = update_catalogue(job.root, request, configs)
    _check_captions(catalogue, options)
    for tier in request.user_tiers:
        logger.info(
            store_user_tier(job.root, tier, catalogue["clip_id"].to_pylist(), allow_missing=options.allow_missing)
        )
    if not computed:
        if not options.dry_run:
            catalogue = _finish(job.root, catalogue, request, configs)
        logger.info("extract: no tier to compute from videos, the model sees captions or user-provided tiers alone")
        return None if options.dry_run else ExtractionResult(catalogue, configs, sources)
    reads_before_plan = not options.dry_run and _needs_hog_fit(job.root, options)
    if reads_before_plan:
        check_workers(job.root, catalogue["uri"])
    tiers = _make_tiers(job.root, options, configs, sources, catalogue)
    if not tiers:  # A dry run of the raw tier alone, before HOG's PCA is fitted.
        return None
    check_weights(tiers)
    plan = planning.plan(job.root, catalogue, tiers, configs, retry=options.retry_rejects)
    print_plan(plan)
    if options.dry_run:
        check_versions(plan, options.compute, resources, mix=options.mix_versions)
        return None
    catalogue = compute_missing(plan, catalogue, configs, options, resources, job=job, reads_checked=reads_before_plan)
    catalogue = _finish(job.root, catalogue, request, configs)
    check_reject_share(plan.root, catalogue["clip_id"], options)
    return ExtractionResult(catalogue, configs, sources)


def _finish(root: Root, catalogue: pa.Table, request: Request[ExtractOptions], configs: TierConfigs) -> pa.Table:
    """Settle the splits, and compute the tier that is fitted on what is train from then on; return the catalogue."""
    catalogue = settle_duplicates(root, catalogue, request)
    if any(map(is_captions, request.options.tiers)):
        update_captions_tier(root, catalogue, configs.captions)
    return catalogue


def _check_captions(catalogue: pa.Table, options: ExtractOptions) -> None:
    """Check, now that splits are drawn and before videos are read, that the captions tier can be fitted afterwards."""
    check_captions_fit(catalogue, options.tiers)
    if options.dry_run and any(map(is_captions, options.tiers)):
        logger.info(count_captions(catalogue))


def _check_machine(root: Root, options: ExtractOptions, configs: TierConfigs, resources: Resources) -> None:
    """Check what only this machine and its cluster can tell, before anything is written."""
    check_devices(resources, options.compute, options.precision)
    if select_computed(options.tiers):
        check_decoders(configs.decode, options.limits)
    if not options.dry_run:
        check_storage(root)


def _make_tiers(
    root: Root,
    options: ExtractOptions,
    configs: TierConfigs,
    sources: dict[str, WeightSource],
    catalogue: pa.Table,
) -> list[Tier]:
    """Make the tiers, with HOG's PCA fitted if the root has none; a dry run leaves the raw tier out instead."""
    names, projection = select_computed(options.tiers), None
    if options.dry_run and _needs_hog_fit(root, options):
        logger.info(f"plan: raw: {catalogue.num_rows} to compute, after HOG's PCA is fitted")
        names.remove("raw")
    elif "raw" in names:
        readable = catalogue.filter(pc.invert(pc.is_in(catalogue["clip_id"], value_set=read_listing_rejects(root))))
        projection = load_or_fit_projection(
            root, readable, configs.decode, options.limits, refit=options.refit_hog, decoder=options.compute.decoder
        )
    return make_tiers(names, TierInputs(configs, sources, projection))


def _needs_hog_fit(root: Root, options: ExtractOptions) -> bool:
    return "raw" in select_computed(options.tiers) and (options.refit_hog or not has_projection(root))


def print_plan(plan: planning.Plan) -> None:
    """Log what there is to compute, a line a tier.

    Args:
        plan: Plan of the extraction.
    """
    logger.info("plan:")
    for line in plan.lines():
        logger.info(line)
