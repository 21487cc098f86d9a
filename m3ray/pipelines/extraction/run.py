"""From options to features: preflight, catalogue, HOG's PCA, the missing tiers, and what became of every clip."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import torch

from m3ray.config import TierConfigs
from m3ray.config.options import ExtractOptions, WorkOptions
from m3ray.console import say
from m3ray.datasets.catalogue import with_facts, write_catalogue
from m3ray.datasets.identity import video_keys
from m3ray.datasets.listing import Listing
from m3ray.datasets.registry import list_clips
from m3ray.errors import M3RayError
from m3ray.pipelines.extraction import dataflow as extraction
from m3ray.pipelines.extraction import planning
from m3ray.pipelines.extraction.hog_pca import has_projection, hog_projection
from m3ray.pipelines.extraction.preflight import (
    check_decoders,
    check_devices,
    check_storage,
    check_weights,
    check_workers,
)
from m3ray.pipelines.extraction.rejects import accepted, check_rejects, parted, tell_rejects
from m3ray.pipelines.extraction.versions import check_versions
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.job import Job
from m3ray.request.checks import Request
from m3ray.request.ranges import most_rejects
from m3ray.request.settings import resolved_tiers
from m3ray.schema import CATALOGUE_FILE
from m3ray.storage.dataset_record import DEMO, READING, record_of
from m3ray.storage.homes import Origin
from m3ray.storage.root import Root
from m3ray.storage.root_record import check_shared, check_source, read_record, renamed_ids, write_record
from m3ray.storage.tier_index import REJECTS, refuse, refused_ids
from m3ray.tiers import Tier, WeightSource
from m3ray.tiers.factory import Ingredients, computed, make_tiers, with_precision
from m3ray.tiers.user import bring
from m3ray.tiers.weight_sources import weight_sources

MISSING = "missing_videos.txt"


@dataclass(frozen=True)
class Extracted:
    """What an extraction leaves for the stages after it."""

    catalogue: pa.Table
    configs: TierConfigs
    sources: dict[str, WeightSource]


def compute_features(job: Job, asked: Request[ExtractOptions], on: Resources) -> Extracted | None:
    """From options to features under the root.

    Checks what only a cluster can tell, then writes the catalogue, fits HOG's PCA, and computes what is missing.

    Args:
        job: its root gets the features; that of a dry run keeps nothing.
        asked: which clips and tiers, checked.
        on: the cluster.
    Returns:
        None after a dry run.
    Raises:
        UserError: the request cannot be carried out; nothing was computed.
        M3RayError: every clip failed.
    """
    options, wanted = asked.options, computed(asked.options.tiers)
    configs = with_precision(resolved_tiers(options), torch.device("cuda" if on.gpus else "cpu"))
    _check_machine(job.root, options, configs, on)
    catalogue, sources = _catalogue(job.root, asked, configs)
    for tier in asked.brought:
        say(bring(job.root, tier, catalogue["clip_id"].to_pylist(), allow_missing=options.allow_missing))
    if not wanted:
        say("extract: no tier to compute, the model sees what was brought")
        return None if options.dry_run else Extracted(catalogue, configs, sources)
    reads_first = not options.dry_run and _fits_hog(job.root, options)
    if reads_first:
        check_workers(job.root, catalogue["uri"])
    tiers = _tiers(job.root, options, configs, sources, catalogue)
    if not tiers:  # a dry run of the raw tier alone, before HOG's PCA
        return None
    check_weights(tiers)
    plan = planning.plan(job.root, catalogue, tiers, configs, retry=options.retry_rejects)
    print_plan(plan)
    check_versions(plan, options.compute, on, mix=options.mix_versions)
    if options.dry_run:
        return None
    if not reads_first:
        check_workers(job.root, plan.work["uri"])
    most = most_rejects(options.max_rejects, catalogue.num_rows)
    compute_missing(job, plan, configs, options, on, most)
    return Extracted(finish(job, plan, catalogue, most), configs, sources)


def _check_machine(root: Root, options: ExtractOptions, configs: TierConfigs, on: Resources) -> None:
    """What only this machine and its cluster can tell, before anything is written."""
    check_devices(on, options.compute)
    if computed(options.tiers):
        check_decoders(configs.decode, options.limits)
    if not options.dry_run:
        check_storage(root)


def compute_missing(
    job: Job, plan: planning.Plan, configs: TierConfigs, options: WorkOptions, on: Resources, most: int
) -> None:
    """Computes what a plan lacks, as a stage of the job.

    Args:
        job: gets the counts.
        plan: what to compute.
        configs: of its tiers.
        options: how the work is laid out.
        on: the cluster.
        most: clips that may be rejected.
    """
    with job.stage("extract"):
        limits, stall = options.limits, options.stall_minutes
        progress = extraction.run(plan, configs, limits, options.compute, on, most_rejects=most, stall_minutes=stall)
    job.count(progress)


def _catalogue(
    root: Root, asked: Request[ExtractOptions], configs: TierConfigs
) -> tuple[pa.Table, dict[str, WeightSource]]:
    """The catalogue, written once the weights are known to be there too."""
    options = asked.options
    listed = asked.listed or list_clips(
        root, options.dataset or DEMO, None, limit=options.limit, seed=options.seed, write=not options.dry_run
    )
    clips, wanted = listed.table, computed(options.tiers)
    tell_listing(root, listed, dry=options.dry_run)
    is_demo = options.dataset == DEMO
    sources = weight_sources(options.weights, wanted, configs, clips=clips.num_rows, demo=is_demo, seed=options.seed)
    _warn_untrained(options, sources)
    origin = Origin((options.root, options.videos), _moved(root, options), options.identity)
    _keep_record(root, options, clips)
    keys = video_keys(clips["uri"], options.identity)
    catalogue = write_catalogue(root, clips, options.seed, keys, origin)
    splits = sorted((str(entry["values"]), entry["counts"].as_py()) for entry in pc.value_counts(catalogue["split"]))
    say(
        f"catalogue: {catalogue.num_rows} clips ({', '.join(f'{n} {s}' for s, n in splits)}), "
        f"{catalogue.num_rows - catalogue['score'].null_count} with a score"
    )
    return catalogue, sources


def _moved(root: Root, options: ExtractOptions) -> dict[str, str]:
    """Of the data set's folders those that the user says have moved, and where each was."""
    earlier = read_record(root)
    if not options.dataset_moved or earlier is None:
        return {}
    pairs = ((options.root, earlier.source), (options.videos, earlier.settings.get("videos")))
    return {now: before for now, before in pairs if now and before}


def _keep_record(root: Root, options: ExtractOptions, clips: pa.Table) -> None:
    """The root's record as of now; checked once more, as this job alone has the root from here on."""
    earlier, record = read_record(root), record_of(options)
    check_source(root, earlier, options)
    check_shared(root, earlier, options, clips)
    renamed = renamed_ids(root, clips)
    if len(renamed):
        say(
            f"catalogue: {len(renamed)} clips, {renamed[0].as_py()} among them, name other files than before; where "
            "these differ they are computed again. Other videos are better given ids of their own"
        )
    known = {} if earlier is None else earlier.settings
    for name in READING:
        before, now = known.get(name, record.settings[name]), record.settings[name]
        if before != now:
            say(f"catalogue: --{name} {now}, and {before} before: scores or splits change, features stay")
    write_record(root, record)


def tell_listing(root: Root, listed: Listing, *, dry: bool) -> None:
    """Says what a reader found; the names of missing videos are kept whole under the root."""
    for note in listed.notes:
        say(note)
    refuse(root, listed.refused)
    if listed.missing:
        path = root.write_bytes("\n".join(listed.missing).encode() + b"\n", "artifacts", MISSING)
        if not dry:
            say(f"catalogue: every missing video stands in {path}")


def _tiers(
    root: Root,
    options: ExtractOptions,
    configs: TierConfigs,
    sources: dict[str, WeightSource],
    catalogue: pa.Table,
) -> list[Tier]:
    """The tiers asked for, HOG's PCA fitted if the root has none; a dry run leaves the raw tier out instead."""
    names, projection = computed(options.tiers), None
    if options.dry_run and _fits_hog(root, options):
        say(f"plan: raw: {catalogue.num_rows} to compute, after HOG's PCA is fitted")
        names.remove("raw")
    elif "raw" in names:
        readable = catalogue.filter(pc.invert(pc.is_in(catalogue["clip_id"], value_set=refused_ids(root))))
        projection = hog_projection(
            root, readable, configs.decode, options.limits, refit=options.refit_hog, decoder=options.compute.decoder
        )
    return make_tiers(names, Ingredients(configs, sources, projection))


def _fits_hog(root: Root, options: ExtractOptions) -> bool:
    return "raw" in computed(options.tiers) and (options.refit_hog or not has_projection(root))


def _warn_untrained(options: ExtractOptions, sources: dict[str, WeightSource]) -> None:
    untrained = [tier for tier, source in sources.items() if source.untrained]
    if untrained and options.weights == "auto" and options.dataset != DEMO:
        say(
            f"weights: the published files of {', '.join(untrained)} cannot be had here, so these tiers are UNTRAINED: "
            "good for a trial, not for a result. With a network, or --weights FILE.json, run again"
        )


def print_plan(plan: planning.Plan) -> None:
    """What there is to compute, a line a tier."""
    say("plan:")
    for line in plan.lines():
        say(line)


def finish(job: Job, plan: planning.Plan, catalogue: pa.Table, most: int | None) -> pa.Table:
    """Adds what decoding learned to the catalogue, tells of rejects, and stops a job that lost a clip or has nothing.

    Args:
        job: gets the counts.
        plan: of the extraction that is done.
        catalogue: of its clips.
        most: clips that may be rejected; None: the caller looks at that.
    Raises:
        M3RayError: every clip failed, or more than may, or a clip stands neither in a tier's features nor in rejects.
    """
    root = plan.root
    facts = root.read_shards(*plan.folders["facts"])
    catalogue = with_facts(catalogue, facts)
    root.write_table(catalogue, CATALOGUE_FILE)
    ids = catalogue["clip_id"]
    settled, waiting = parted(root, ids)
    good = accepted(ids, settled, waiting)
    job.outcome(len(ids), len(ids) - len(good), waiting.num_rows)
    tell_rejects(settled, waiting)
    say(f"extract: {len(good)} clips have features, {len(ids) - len(good)} rejected, {len(ids)} in the catalogue")
    if not len(good):
        raise M3RayError(
            f"every one of the {len(ids)} clips failed; {root.display(*REJECTS)} says why for each: mend them and run "
            "again with --retry-rejects"
        )
    check_none_lost(plan, good)
    if most is not None:
        check_rejects(root, settled.num_rows, most, settled)
    return catalogue


def check_none_lost(plan: planning.Plan, expected: pa.ChunkedArray) -> None:
    """Raises M3RayError where one of the clips expected stands in no row of one of a plan's tiers."""
    for tier in plan.tiers:
        lost = expected.filter(pc.invert(pc.is_in(expected, value_set=plan.root.ids(*plan.folders[tier.name]))))
        if len(lost):
            raise M3RayError(
                f"{len(lost)} clips, {pc.min(lost).as_py()} among them, have neither {tier.name} features nor a row in "
                "rejects: workers were lost; run the same command again, it computes just these"
            )
