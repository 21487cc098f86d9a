"""From options to features: preflight, catalogue, HOG's PCA, the missing tiers, and what became of every clip."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import torch

from m3ray.config import TierConfigs
from m3ray.data.brought import bring
from m3ray.data.catalogue import NAME as CATALOGUE
from m3ray.data.catalogue import with_facts, write_catalogue
from m3ray.data.datasets import list_clips
from m3ray.data.identity import video_keys
from m3ray.data.listing import Listing
from m3ray.data.record import DEMO, READING, record_of
from m3ray.data.rooms import REJECTS, refuse, refused_ids, rejected_ids
from m3ray.data.root_record import check_shared, check_source, read_record, renamed_ids, write_record
from m3ray.data.store import Root
from m3ray.errors import M3RayError
from m3ray.options import ExtractOptions
from m3ray.pipelines import extract as extraction
from m3ray.pipelines import planning
from m3ray.pipelines.cluster import Resources
from m3ray.pipelines.hog import has_projection, hog_projection
from m3ray.pipelines.job import Job
from m3ray.pipelines.preflight import check_decoders, check_devices, check_storage, check_weights
from m3ray.pipelines.progress import say
from m3ray.pipelines.request import Request
from m3ray.pipelines.settings import resolved_tiers
from m3ray.tiers import Tier, WeightSource
from m3ray.tiers.factory import Ingredients, computed, make_tiers, with_precision
from m3ray.tiers.sources import weight_sources

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
    check_devices(on, options.compute)
    if wanted:
        check_decoders(configs.decode, options.limits)
    if not options.dry_run:
        check_storage(job.root)
    catalogue, sources = _catalogue(job.root, asked, configs)
    for tier in asked.brought:
        say(bring(job.root, tier, catalogue["clip_id"].to_pylist(), allow_missing=options.allow_missing))
    if not wanted:
        say("extract: no tier to compute, the model sees what was brought")
        return None if options.dry_run else Extracted(catalogue, configs, sources)
    tiers = _tiers(job.root, options, configs, sources, catalogue)
    if not tiers:  # a dry run of the raw tier alone, before HOG's PCA
        return None
    check_weights(tiers)
    plan = planning.plan(job.root, catalogue, tiers, configs, retry=options.retry_rejects)
    print_plan(plan)
    if options.dry_run:
        return None
    with job.stage("extract"):
        progress = extraction.run(plan, configs, options.limits, options.compute, on)
    job.count(progress)
    return Extracted(finish(job, plan, catalogue), configs, sources)


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
    _keep_record(root, options, clips)
    catalogue = write_catalogue(root, clips, options.seed, video_keys(clips["uri"], options.identity))
    splits = sorted((str(entry["values"]), entry["counts"].as_py()) for entry in pc.value_counts(catalogue["split"]))
    say(
        f"catalogue: {catalogue.num_rows} clips ({', '.join(f'{n} {s}' for s, n in splits)}), "
        f"{catalogue.num_rows - catalogue['score'].null_count} with a score"
    )
    return catalogue, sources


def _keep_record(root: Root, options: ExtractOptions, clips: pa.Table) -> None:
    """The root's record as of now; checked once more, as this job alone has the root from here on."""
    earlier, record = read_record(root), record_of(options)
    check_source(root, earlier, options)
    check_shared(root, earlier, options, clips)
    renamed = renamed_ids(root, clips)
    if len(renamed):
        say(
            f"catalogue: {len(renamed)} clips, {renamed[0].as_py()} among them, name other files than before: what was "
            "computed of them stays that of the earlier files; give other videos ids of their own"
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
    if "raw" in names and options.dry_run and (options.refit_hog or not has_projection(root)):
        say(f"plan: raw: {catalogue.num_rows} to compute, after HOG's PCA is fitted")
        names.remove("raw")
    elif "raw" in names:
        readable = catalogue.filter(pc.invert(pc.is_in(catalogue["clip_id"], value_set=refused_ids(root))))
        projection = hog_projection(
            root, readable, configs.decode, options.limits, refit=options.refit_hog, decoder=options.compute.decoder
        )
    return make_tiers(names, Ingredients(configs, sources, projection))


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


def finish(job: Job, plan: planning.Plan, catalogue: pa.Table) -> pa.Table:
    """Adds what decoding learned to the catalogue, tells of rejects, and stops a job that lost a clip or has nothing.

    Raises:
        M3RayError: every clip failed, or a clip stands neither in a tier's features nor in rejects.
    """
    root = plan.root
    facts = root.read_shards(*plan.folders["facts"])
    catalogue = with_facts(catalogue, facts)
    root.write_table(catalogue, CATALOGUE)
    ids = catalogue["clip_id"]
    rejected = ids.filter(pc.is_in(ids, value_set=rejected_ids(root)))
    job.outcome(len(ids), len(rejected))
    if len(rejected):
        _tell_rejects(root, rejected)
    say(
        f"extract: {len(ids) - len(rejected)} clips have features, {len(rejected)} rejected, "
        f"{len(ids)} in the catalogue"
    )
    if len(rejected) == len(ids):
        raise M3RayError(
            f"every one of the {len(ids)} clips failed; {root.display(*REJECTS)} says why for each: mend them and run "
            "again with --retry-rejects"
        )
    _check_none_lost(plan, ids.filter(pc.invert(pc.is_in(ids, value_set=rejected))))
    return catalogue


def _check_none_lost(plan: planning.Plan, expected: pa.ChunkedArray) -> None:
    for tier in plan.tiers:
        lost = expected.filter(pc.invert(pc.is_in(expected, value_set=plan.root.ids(*plan.folders[tier.name]))))
        if len(lost):
            raise M3RayError(
                f"{len(lost)} clips, {pc.min(lost).as_py()} among them, have neither {tier.name} features nor a row in "
                "rejects: workers were lost; run the same command again, it computes just these"
            )


def _tell_rejects(root: Root, ids: pa.ChunkedArray) -> None:
    table = root.read_shards(*REJECTS)
    assert table is not None
    table = table.filter(pc.is_in(table["clip_id"], value_set=ids))
    say(f"rejects: {table.num_rows} clips, most frequent reasons:")
    groups = table.group_by(["stage", "error"], use_threads=False)
    reasons = groups.aggregate([([], "count_all"), ("clip_id", "first"), ("message", "first")])
    for row in reasons.sort_by([("count_all", "descending")]).slice(0, 8).to_pylist():
        what = f"{row['stage']}: {row['error']}  e.g. {row['clip_id_first']!r}: {row['message_first'][:160]}"
        say(f"  {row['count_all']:>6}  {what}")
