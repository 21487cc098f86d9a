"""What each script under `jobs/` calls: the stages in their order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import pyarrow as pa
import torch

from m3ray.config import TierConfigs, TrainConfig
from m3ray.data.catalogue import NAME as CATALOGUE
from m3ray.data.catalogue import checked, with_facts, write_catalogue
from m3ray.data.datasets import list_clips
from m3ray.data.rooms import REJECTS, current_tiers, rejected_ids, tier_table
from m3ray.data.store import Root
from m3ray.errors import ConfigError, M3RayError, StudyError
from m3ray.options import (
    AblateOptions,
    ExtractOptions,
    PredictOptions,
    ReproduceOptions,
    StudyOptions,
    TrainOptions,
    resolved_tiers,
)
from m3ray.pipelines import extract as extraction
from m3ray.pipelines.cluster import Resources, connected
from m3ray.pipelines.fit import similarity_tier
from m3ray.pipelines.hog import hog_projection
from m3ray.pipelines.job import Job, running
from m3ray.pipelines.predict import score_root
from m3ray.pipelines.preflight import check_decoders, check_devices, check_storage, check_weights
from m3ray.pipelines.progress import say
from m3ray.pipelines.study import Study, load_data, run_study
from m3ray.pipelines.train import make_bundle
from m3ray.similarity.fitted import SOURCES, make_measure
from m3ray.study.variants import Variant, study_variants
from m3ray.tiers import COMPUTED, WeightSource
from m3ray.tiers.factory import TIERS, Ingredients, check_names, make_tiers, with_precision
from m3ray.tiers.sources import weight_sources
from m3ray.training.bundle import Bundle, as_text
from m3ray.training.scorer import bundle_tiers

STUDY = "ablation"
PREDICT_ROOM = "predict"


@dataclass(frozen=True)
class Extracted:
    """What an extraction leaves for the stages after it."""

    catalogue: pa.Table
    configs: TierConfigs
    sources: dict[str, WeightSource]


def extract(options: ExtractOptions) -> None:
    """Catalogue and tiers."""
    with running("extract", options) as job, connected() as on:
        _extract(job, options, on)


def reproduce(options: ReproduceOptions) -> None:
    """Catalogue, tiers, similarity, tables, bundle, predictions. The report is `m3ray.reports`' work."""
    with running("reproduce", options) as job, connected() as on:
        done = _extract(job, options, on)
        if done is None:
            return
        with job.stage("similarity"):
            _similarity(job.root, options.tiers, done)
        if not _scored(done.catalogue):
            say(
                "study: skipped: no clip has a score. A study needs scores in [0, 1]: give a table with columns uri "
                "and score (--dataset table --root clips.csv); to score these clips with a fitted model, use "
                "jobs/predict.py"
            )
            return
        with job.stage("study"):
            study = _study(job.root, options, options.seed)
            main = _run_tables(study, options, on)
        bundle = make_bundle(study, main, done.configs, done.sources, "m3s")
        bundle.save(job.root, "models", "m3s")
        say(f"bundle: {as_text(bundle)}: {job.root.display('models', 'm3s')}")
        with job.stage("predict"):
            score_root(bundle, job.root, job.root)


def ablate(options: AblateOptions) -> None:
    """The tables, on a root whose tiers are there."""
    with running("ablate", options) as job:
        if not current_tiers(job.root):
            raise StudyError(f"{job.root.uri} holds no features: run jobs/extract.py --out {job.root.uri} first")
        if options.dry_run:
            return
        with connected() as on, job.stage("study"):
            _run_tables(_study(job.root, options, options.seed), options, on)


def train(options: TrainOptions) -> None:
    """One variant, its runs, a bundle."""
    check_names(options.tiers, also=("similarity",))
    with running("train", options) as job, connected() as on:
        wanted = [tier for tier in options.tiers if tier in COMPUTED] or list(SOURCES)
        done = _extract(job, replace(options, tiers=tuple(wanted)), on)
        if done is None:
            return
        if "similarity" in options.tiers:
            _similarity(job.root, wanted, done)
        settings = TrainConfig(loss=options.loss, epochs=options.epochs)
        variant = Variant(options.name, tuple(options.tiers), training=settings)
        data, key = load_data(job.root, variant.tiers)
        study = Study(job.root, options.name, data, key, _seeds(options.seed, options.runs))
        say(run_study(study, [variant], on)[["variant", "features", "spearman", "mse", "mae"]].to_string(index=False))
        bundle = make_bundle(study, variant, done.configs, done.sources, options.name)
        bundle.save(job.root, "models", options.name)
        say(f"bundle: {as_text(bundle)}: {job.root.display('models', options.name)}")


def predict(options: PredictOptions) -> None:
    """Scores for new videos, through the bundle's own tiers."""
    root = Root(options.out)
    bundle = Bundle.load(options.bundle or root.display("models", "m3s"))
    say(f"predict: {as_text(bundle)}")
    configs, tiers = bundle_tiers(bundle)
    with running("predict", options) as job, connected() as on:
        # New clips have a catalogue and rejects of their own, apart from those the model was trained on.
        room = Root(root.display(PREDICT_ROOM))
        check_storage(room)
        clips = list_clips(room, options.dataset, options.root, limit=options.limit, seed=0)
        catalogue = write_catalogue(room, clips, 0)
        check_decoders(configs.decode, options.limits)
        check_weights(tiers)
        plan = extraction.plan(room, catalogue, tiers, configs, retry=options.retry_rejects)
        if options.dry_run:
            return _print_plan(plan)
        progress = extraction.run(plan, configs, options.limits, options.compute, on)
        job.count(progress)
        _finish(room, catalogue)
        score_root(bundle, room, root)
    return None


def _extract(job: Job, options: ExtractOptions, on: Resources) -> Extracted | None:
    """None after a dry run."""
    check_names(options.tiers)
    configs = with_precision(resolved_tiers(options), torch.device("cuda" if on.gpus else "cpu"))
    make_measure(configs.similarity, "scene")
    check_storage(job.root)
    check_devices(on, options.compute.actors)
    check_decoders(configs.decode, options.limits)
    clips = checked(list_clips(job.root, options.dataset, options.root, limit=options.limit, seed=options.seed))
    demo = options.dataset == "demo"
    sources = weight_sources(options.weights, options.tiers, configs, clips=len(clips), demo=demo, seed=options.seed)
    _warn_untrained(options, sources)
    catalogue = write_catalogue(job.root, clips, options.seed)
    splits = Counter(catalogue["split"].to_pylist())
    say(
        f"catalogue: {catalogue.num_rows} clips ({', '.join(f'{n} {s}' for s, n in sorted(splits.items()))}), "
        f"{catalogue.num_rows - catalogue['score'].null_count} with a score"
    )
    projection = None
    if "raw" in options.tiers:
        projection = hog_projection(job.root, catalogue, configs.decode, options.limits, refit=options.refit_hog)
    tiers = make_tiers(options.tiers, Ingredients(configs, sources, projection))
    check_weights(tiers)
    plan = extraction.plan(job.root, catalogue, tiers, configs, retry=options.retry_rejects)
    _print_plan(plan)
    if options.dry_run:
        return None
    with job.stage("extract"):
        progress = extraction.run(plan, configs, options.limits, options.compute, on)
    job.count(progress)
    return Extracted(_finish(job.root, catalogue), configs, sources)


def _warn_untrained(options: ExtractOptions, sources: dict[str, WeightSource]) -> None:
    untrained = [tier for tier, source in sources.items() if source.untrained]
    if untrained and options.weights == "auto" and options.dataset != "demo":
        say(
            f"weights: the published files of {', '.join(untrained)} cannot be had here, so these tiers are UNTRAINED: "
            "good for a trial, not for a result. With a network, or --weights FILE.json, run again"
        )


def _print_plan(plan: extraction.Plan) -> None:
    say("plan:")
    for line in plan.lines():
        say(line)


def _finish(root: Root, catalogue: pa.Table) -> pa.Table:
    """Adds what decoding learned to the catalogue, tells of rejects, and stops a job that has nothing."""
    facts = tier_table(root, "facts") if root.ids("features", current_tiers(root)["facts"]["folder"]) else None
    catalogue = with_facts(catalogue, facts)
    root.write_table(catalogue, CATALOGUE)
    ids = set(catalogue["clip_id"].to_pylist())
    rejected = rejected_ids(root) & ids
    if rejected:
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
    return catalogue


def _tell_rejects(root: Root, ids: set[str]) -> None:
    table = root.read_shards(*REJECTS)
    assert table is not None
    rows = [row for row in table.to_pylist() if row["clip_id"] in ids]
    say(f"rejects: {len(rows)} clips, most frequent reasons:")
    for (stage, error), count in Counter((row["stage"], row["error"]) for row in rows).most_common(8):
        example = next(row for row in rows if (row["stage"], row["error"]) == (stage, error))
        say(f"  {count:>6}  {stage}: {error}  e.g. {example['clip_id']}: {example['message'][:160]}")


def _similarity(root: Root, tiers: tuple[str, ...] | list[str], done: Extracted) -> None:
    if not any(tier in SOURCES for tier in tiers):
        say("similarity: skipped: it needs the scene or the event tier")
        return
    similarity_tier(root, done.catalogue, done.configs.similarity)


def _scored(catalogue: pa.Table) -> bool:
    return catalogue["score"].null_count < catalogue.num_rows


def _seeds(first: int, runs: int) -> tuple[int, ...]:
    if runs < 1:
        raise ConfigError(f"--runs {runs}: expected at least 1")
    return tuple(range(first, first + runs))


def _study(root: Root, options: StudyOptions, seed: int) -> Study:
    tiers = [tier for tier in (*TIERS, "similarity") if tier in current_tiers(root)]
    data, key = load_data(root, tiers)
    return Study(root, STUDY, data, key, _seeds(seed, options.runs))


def _run_tables(study: Study, options: StudyOptions, on: Resources) -> Variant:
    """Trains the variants of the tables asked for; the full model among them is returned."""
    tables = study_variants(options.tables, study.data.features.tiers, options.epochs)
    main = study_variants([3], study.data.features.tiers, options.epochs)[3][0]
    variants = [main, *(variant for rows in tables.values() for variant in rows)]
    trials = run_study(study, variants, on)
    say("trials:")
    say(
        trials[["variant", "features", "parameters", "runs", "spearman", "mse", "delta_spearman"]].to_string(
            index=False
        )
    )
    names = {str(number): [variant.name for variant in rows] for number, rows in tables.items()}
    study.root.write_json(names, *study.folder, "tables.json")
    return main
