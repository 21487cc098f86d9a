"""What each script under `jobs/` calls: the stages in their order.

Each takes a job's options, or what `request.prepared` made of them, which is where mistakes in them are told.
"""

from __future__ import annotations

from dataclasses import replace

from m3ray.config import LimitsConfig, TrainConfig
from m3ray.config.options import (
    AblateOptions,
    EvaluateOptions,
    ExtractOptions,
    PredictOptions,
    ReproduceOptions,
    TrainOptions,
    TuneOptions,
)
from m3ray.console import say
from m3ray.datasets.catalogue import read_catalogue
from m3ray.features.load import load_data, study_tiers
from m3ray.pipelines.extraction import planning
from m3ray.pipelines.extraction.preflight import check_decoders, check_storage, check_weights, check_workers
from m3ray.pipelines.extraction.rejects import check_rejects, parted
from m3ray.pipelines.extraction.run import compute_features, compute_missing, finish, print_plan
from m3ray.pipelines.extraction.versions import check_versions
from m3ray.pipelines.finetuning.search import search_unfrozen
from m3ray.pipelines.finetuning.train import add_unfrozen, preset_of
from m3ray.pipelines.finetuning.weights import weights_of
from m3ray.pipelines.runtime.cluster import connected
from m3ray.pipelines.runtime.job import running
from m3ray.pipelines.scoring.evaluate import evaluate_all
from m3ray.pipelines.scoring.new_clips import new_clips, room_of
from m3ray.pipelines.scoring.over_time import compute_moments, curves
from m3ray.pipelines.study.ablation import run_study
from m3ray.pipelines.study.model_selection import chosen_training
from m3ray.pipelines.study.search import search
from m3ray.pipelines.study.tables import fit_similarity, has_scores, run_tables, seeds_from
from m3ray.request.checks import Request, prepared
from m3ray.request.ranges import most_rejects
from m3ray.request.scores import check_enough
from m3ray.schema import SIMILARITY
from m3ray.scoring.build import make_bundle
from m3ray.scoring.bundle import Bundle, as_text
from m3ray.scoring.finetuned_bundle import unfrozen_bundle
from m3ray.scoring.score_root import check_brought, score_root, scored
from m3ray.scoring.scorer import bundle_tiers
from m3ray.storage.ownership import STUDY, claim_study
from m3ray.storage.root import Root
from m3ray.study.store import collect
from m3ray.study.study import Study
from m3ray.study.variants import Variant, full_model
from m3ray.tiers.factory import computed
from m3ray.tiers.user import bring, brought_tiers
from m3ray.training.config_file import load_training


def extract(options: ExtractOptions | Request[ExtractOptions]) -> None:
    """Catalogue and tiers."""
    asked = prepared(options)
    compute, dry = asked.options.compute, asked.options.dry_run
    with running("extract", asked.options) as job, connected(compute, job.meter, dry=dry) as on:
        compute_features(job, asked, on)


def reproduce(options: ReproduceOptions | Request[ReproduceOptions]) -> None:
    """Catalogue, tiers, similarity, tables, bundle, predictions. The report is `m3ray.reports`' work."""
    asked = prepared(options)
    settings, dry = asked.options, asked.options.dry_run
    check_enough(asked.listed)
    watched = settings.unfrozen != "none"
    with (
        running("reproduce", settings) as job,
        connected(settings.compute, job.meter, dashboard=watched, dry=dry) as on,
    ):
        if asked.listed is not None and not has_scores(asked.listed.table):
            say("study: no clip has a score: their features are computed, and nothing is trained")
        done = compute_features(job, asked, on)
        if done is None:
            return
        with job.stage("similarity"):
            fit_similarity(job.root, settings.tiers, done, on)
        if not has_scores(done.catalogue):
            say(
                "study: skipped: no clip has a score. A study needs scores in [0, 1]: give a table with columns uri "
                "and score (--dataset table --root clips.csv); to score these clips with a fitted model, use "
                "jobs/predict.py"
            )
            return
        claim_study(job.root, STUDY, job.name)
        with job.stage("study"):
            study, main, tuned = run_tables(job.root, done.catalogue, settings, on, done.sources, settings.limits)
        bundle = make_bundle(study, main, done.configs, done.sources, "m3s", job.name)
        _save(job.root, bundle)
        if tuned is not None:
            _save(job.root, unfrozen_bundle(study, tuned, bundle, "m3s-unfrozen"))
        with job.stage("predict"):
            score_root(bundle, job.root, job.root, job=job.name)


def ablate(options: AblateOptions | Request[AblateOptions]) -> None:
    """The tables, on a root whose tiers are there."""
    settings = prepared(options).options
    watched = settings.unfrozen != "none"
    with running("ablate", settings) as job:
        if settings.dry_run:
            say(f"plan: tables {', '.join(map(str, settings.tables))}, {settings.runs} runs a variant")
            return
        with connected(meter=job.meter, dashboard=watched) as on, job.stage("study"):
            claim_study(job.root, STUDY, job.name)
            run_tables(job.root, read_catalogue(job.root), settings, on, {}, LimitsConfig())


def train(options: TrainOptions | Request[TrainOptions]) -> None:
    """One variant, its runs, a bundle."""
    asked = prepared(options)
    settings, dry = asked.options, asked.options.dry_run
    check_enough(asked.listed)
    watched = settings.unfrozen != "none"
    with running("train", settings) as job, connected(settings.compute, job.meter, dashboard=watched, dry=dry) as on:
        given = [tier.name for tier in asked.brought]
        own = [tier for tier in settings.tiers if tier in (*given, *brought_tiers(job.root))]
        for unused in set(given) - set(own):
            say(f"train: tier {unused} is brought, but --tiers does not name it: the model does not see it")
        # Similarity alone compares what the paper compares.
        wanted = computed(settings.tiers) or ([] if own else ["scene", "event"])
        done = compute_features(job, replace(asked, options=replace(settings, tiers=(*wanted, *own))), on)
        if done is None:
            return
        if SIMILARITY in settings.tiers:
            with job.stage("similarity"):
                fit_similarity(job.root, [*wanted, *own], done, on, needed=True)
        claim_study(job.root, settings.name, job.name)
        with job.stage("study"):
            variant = Variant(settings.name, tuple(settings.tiers), training=_training(settings))
            loaded = load_data(job.root, variant.tiers, allow_missing=settings.allow_missing)
            variant = replace(variant, training=chosen_training(job.root, loaded, variant, settings, on))
            study = Study(job.root, settings.name, loaded, seeds_from(settings.seed, settings.runs))
            trials = run_study(study, [variant], on)
            bundle = make_bundle(study, variant, done.configs, done.sources, settings.name, job.name)
            if watched:
                tuned = add_unfrozen(study, variant, settings, done.sources, settings.limits, on)
                trials = collect(study, [variant, tuned])
                bundle = unfrozen_bundle(study, tuned, bundle, settings.name)
        say(trials[["variant", "features", "spearman", "mse", "mae"]].to_string(index=False))
        _save(job.root, bundle)


def tune(options: TuneOptions | Request[TuneOptions]) -> None:
    """A search over hyper-parameters, on a root whose tiers are there."""
    settings = prepared(options).options
    watched = settings.unfrozen != "none"
    with running("tune", settings) as job:
        variant = full_model(settings.tiers or tuple(study_tiers(job.root)))
        variant = replace(variant, training=replace(variant.training, epochs=settings.epochs))
        if settings.dry_run:
            say(f"plan: {settings.trials} trials of {', '.join(variant.tiers)}, {settings.runs} runs each")
            return
        loaded = load_data(job.root, variant.tiers, allow_missing=settings.allow_missing)
        study = Study(job.root, settings.name, loaded, seeds_from(settings.seed, settings.runs))
        claim_study(job.root, settings.name, job.name)
        with connected(meter=job.meter, dashboard=watched) as on, job.stage("search"):
            if watched:
                run_study(study, [variant], on)
                config, sources = preset_of(settings, on), weights_of(job.root, variant.tiers, {})
                found = search_unfrozen(study, variant, config, sources, settings.trials, settings.metric, on)
            else:
                found = search(study, variant, settings.trials, settings.metric, on)
        say(found.head(10).to_string(index=False))


def evaluate(options: EvaluateOptions | Request[EvaluateOptions]) -> None:
    """Bundles on data sets, their own and others."""
    settings = prepared(options).options
    with running("evaluate", settings) as job:
        if settings.dry_run:
            say(f"plan: {len(settings.bundles)} bundles, each on {len(settings.roots)} roots")
            return
        with connected(settings.compute, job.meter) as on:
            evaluate_all(job, settings, on)


def predict(options: PredictOptions | Request[PredictOptions]) -> None:
    """Scores for new videos, through the bundle's own tiers."""
    asked = prepared(options)
    settings, dry = asked.options, asked.options.dry_run
    bundle = Bundle.load(settings.bundle or Root(settings.out).display("models", "m3s"))
    configs, tiers = bundle_tiers(bundle)
    check_brought(bundle, asked.brought)
    with running("predict", settings) as job, connected(settings.compute, job.meter, dry=dry) as on:
        say(f"predict: {as_text(bundle)}")
        root, room = job.root, room_of(job.root, asked)
        check_storage(room)
        delay = None if settings.delay is None else (settings.delay, settings.delay_base)
        catalogue = new_clips(room, asked)
        for tier in asked.brought:
            say(bring(room, tier, catalogue["clip_id"].to_pylist(), allow_missing=settings.allow_missing))
        if not tiers:
            if not dry:
                score_root(bundle, room, root, job=job.name, delay=delay)
            return
        check_decoders(configs.decode, settings.limits)
        check_weights(tiers)
        plan = planning.plan(room, catalogue, tiers, configs, retry=settings.retry_rejects)
        check_versions(plan, settings.compute, on, mix=settings.mix_versions)
        if dry:
            print_plan(plan)
            return
        check_workers(room, plan.work["uri"])
        most = most_rejects(settings.max_rejects, catalogue.num_rows)
        compute_missing(job, plan, configs, settings, on, most)
        finish(job, plan, catalogue, None)
        over_time = None
        if settings.over_time:
            asked_for = (settings.limits, settings.compute, settings.moments)
            mix, stall = settings.mix_versions, settings.stall_minutes
            there = compute_moments(room, tiers, configs, *asked_for, on, mix=mix, stall_minutes=stall)
            over_time = curves(there, configs.decode.fps, scored(bundle, there))
        with job.stage("predict"):
            score_root(bundle, room, root, job=job.name, delay=delay, over_time=over_time)
        rejected = parted(room, catalogue["clip_id"])[0]  # the others' scores are worth having in any case
        check_rejects(room, rejected.num_rows, most, rejected)


def _save(root: Root, bundle: Bundle) -> None:
    bundle.save(root, "models", bundle.name)
    say(f"bundle: {as_text(bundle)}: {root.display('models', bundle.name)}")


def _training(options: TrainOptions) -> TrainConfig:
    """The settings that the options name: a file's, or the command line's own."""
    if options.config is not None:
        return load_training(options.config)
    return TrainConfig(loss=options.loss, epochs=options.epochs)
