"""What each script under `jobs/` calls: the stages in their order."""

from __future__ import annotations

from dataclasses import replace

from m3ray.config import LimitsConfig, TrainConfig
from m3ray.data.brought import bring, brought_tiers, parse_tiers
from m3ray.data.catalogue import read_catalogue
from m3ray.data.rooms import current_tiers
from m3ray.data.store import Root
from m3ray.errors import ConfigError, StudyError
from m3ray.options import (
    AblateOptions,
    EvaluateOptions,
    ExtractOptions,
    PredictOptions,
    ReproduceOptions,
    TrainOptions,
    TuneOptions,
)
from m3ray.pipelines import extract as extraction
from m3ray.pipelines import planning
from m3ray.pipelines.cluster import connected
from m3ray.pipelines.evaluate import evaluate_all
from m3ray.pipelines.featuring import compute_features, finish, print_plan
from m3ray.pipelines.job import running
from m3ray.pipelines.loading import Study, load_data, study_tiers
from m3ray.pipelines.moments import compute_moments, curves
from m3ray.pipelines.predict import brought_again, new_clips, score_root, scored
from m3ray.pipelines.preflight import check_decoders, check_storage, check_weights
from m3ray.pipelines.progress import say
from m3ray.pipelines.search import search
from m3ray.pipelines.search_unfrozen import search_unfrozen
from m3ray.pipelines.selection import chosen_training
from m3ray.pipelines.study import collect, run_study
from m3ray.pipelines.tables import fit_similarity, has_scores, run_tables, seeds_from
from m3ray.pipelines.train import make_bundle
from m3ray.pipelines.unfrozen import add_unfrozen, preset_of
from m3ray.pipelines.unfrozen_bundle import unfrozen_bundle
from m3ray.pipelines.unfrozen_results import weights_of
from m3ray.schema import SIMILARITY
from m3ray.study.variants import Variant, full_model
from m3ray.tiers.factory import check_names, computed
from m3ray.training.bundle import Bundle, as_text
from m3ray.training.scorer import bundle_tiers
from m3ray.training.settings import load_training

PREDICT_ROOM = "predict"


def extract(options: ExtractOptions) -> None:
    """Catalogue and tiers."""
    with running("extract", options) as job, connected(options.compute, job.meter) as on:
        compute_features(job, options, on)


def reproduce(options: ReproduceOptions) -> None:
    """Catalogue, tiers, similarity, tables, bundle, predictions. The report is `m3ray.reports`' work."""
    watched = options.unfrozen != "none"
    with running("reproduce", options) as job, connected(options.compute, job.meter, dashboard=watched) as on:
        done = compute_features(job, options, on)
        if done is None:
            return
        with job.stage("similarity"):
            fit_similarity(job.root, options.tiers, done, on)
        if not has_scores(done.catalogue):
            say(
                "study: skipped: no clip has a score. A study needs scores in [0, 1]: give a table with columns uri "
                "and score (--dataset table --root clips.csv); to score these clips with a fitted model, use "
                "jobs/predict.py"
            )
            return
        with job.stage("study"):
            study, main, tuned = run_tables(job.root, done.catalogue, options, on, done.sources, options.limits)
        bundle = make_bundle(study, main, done.configs, done.sources, "m3s")
        _save(job.root, bundle)
        if tuned is not None:
            _save(job.root, unfrozen_bundle(study, tuned, bundle, "m3s-unfrozen"))
        with job.stage("predict"):
            score_root(bundle, job.root, job.root)


def ablate(options: AblateOptions) -> None:
    """The tables, on a root whose tiers are there."""
    with running("ablate", options) as job:
        if not current_tiers(job.root):
            raise StudyError(f"{job.root.uri} holds no features: run jobs/extract.py --out {job.root.uri} first")
        if options.dry_run:
            return
        with connected(meter=job.meter, dashboard=options.unfrozen != "none") as on, job.stage("study"):
            run_tables(job.root, read_catalogue(job.root), options, on, {}, LimitsConfig())


def train(options: TrainOptions) -> None:
    """One variant, its runs, a bundle."""
    given = parse_tiers(options.tier)
    check_names(options.tiers, also=(SIMILARITY, *given, *brought_tiers(Root(options.out))))
    watched = options.unfrozen != "none"
    with running("train", options) as job, connected(options.compute, job.meter, dashboard=watched) as on:
        own = [tier for tier in options.tiers if tier in (*given, *brought_tiers(job.root))]
        for unused in set(given) - set(own):
            say(f"train: tier {unused} is brought, but --tiers does not name it: the model does not see it")
        # Similarity alone compares what the paper compares.
        wanted = computed(options.tiers) or ([] if own else ["scene", "event"])
        done = compute_features(job, replace(options, tiers=tuple(wanted)), on)
        if done is None:
            return
        if "similarity" in options.tiers:
            fit_similarity(job.root, [*wanted, *own], done, on)
        settings = _training(options)
        variant = Variant(options.name, tuple(options.tiers), training=settings)
        loaded = load_data(job.root, variant.tiers, allow_missing=options.allow_missing)
        variant = replace(variant, training=chosen_training(job.root, loaded, variant, options, on))
        study = Study(job.root, options.name, loaded, seeds_from(options.seed, options.runs))
        shown = ["variant", "features", "spearman", "mse", "mae"]
        trials = run_study(study, [variant], on)
        bundle = make_bundle(study, variant, done.configs, done.sources, options.name)
        if options.unfrozen != "none":
            tuned = add_unfrozen(study, variant, options, done.sources, options.limits, on)
            trials = collect(study, [variant, tuned])
            bundle = unfrozen_bundle(study, tuned, bundle, options.name)
        say(trials[shown].to_string(index=False))
        _save(job.root, bundle)


def tune(options: TuneOptions) -> None:
    """A search over hyper-parameters, on a root whose tiers are there."""
    with running("tune", options) as job:
        tiers = options.tiers or tuple(study_tiers(job.root))
        if not tiers:
            raise StudyError(f"{job.root.uri} holds no features: run jobs/extract.py --out {job.root.uri} first")
        variant = full_model(tiers)
        variant = replace(variant, training=replace(variant.training, epochs=options.epochs))
        if options.trials < 1:
            raise ConfigError(f"--trials {options.trials}: expected at least 1")
        if options.dry_run:
            return
        loaded = load_data(job.root, variant.tiers, allow_missing=options.allow_missing)
        study = Study(job.root, options.name, loaded, seeds_from(options.seed, options.runs))
        watched = options.unfrozen != "none"
        with connected(meter=job.meter, dashboard=watched) as on, job.stage("search"):
            if watched:
                run_study(study, [variant], on)
                config, sources = preset_of(options, on), weights_of(job.root, variant.tiers, {})
                found = search_unfrozen(study, variant, config, sources, options.trials, options.metric, on)
            else:
                found = search(study, variant, options.trials, options.metric, on)
        say(found.head(10).to_string(index=False))


def evaluate(options: EvaluateOptions) -> None:
    """Bundles on data sets, their own and others."""
    with running("evaluate", options) as job, connected(options.compute, job.meter) as on:
        if not options.dry_run:
            evaluate_all(job, options, on)


def predict(options: PredictOptions) -> None:
    """Scores for new videos, through the bundle's own tiers."""
    root = Root(options.out)
    bundle = Bundle.load(options.bundle or root.display("models", "m3s"))
    say(f"predict: {as_text(bundle)}")
    configs, tiers = bundle_tiers(bundle)
    with running("predict", options) as job, connected(options.compute, job.meter) as on:
        # New clips have a catalogue and rejects of their own, apart from those the model was trained on.
        room = Root(root.display(PREDICT_ROOM))
        check_storage(room)
        brought = brought_again(bundle, options)
        delay = None if options.delay is None else (options.delay, options.delay_base)
        if options.over_time and brought:
            raise ConfigError(f"--over-time: {bundle.name} sees {brought[0].name}, brought by a user once a clip")
        catalogue = new_clips(room, brought, tiers, options)
        for tier in brought:
            say(bring(room, tier, catalogue["clip_id"].to_pylist(), allow_missing=options.allow_missing))
        if not tiers:
            if not options.dry_run:
                score_root(bundle, room, root, delay=delay)
            return
        check_decoders(configs.decode, options.limits)
        check_weights(tiers)
        plan = planning.plan(room, catalogue, tiers, configs, retry=options.retry_rejects)
        if options.dry_run:
            print_plan(plan)
            return
        progress = extraction.run(plan, configs, options.limits, options.compute, on)
        job.count(progress)
        finish(job, plan, catalogue)
        over_time = None
        if options.over_time:
            there = compute_moments(room, tiers, configs, options.limits, options.compute, options.moments, on)
            over_time = curves(there, configs.decode.fps, scored(bundle, there))
        score_root(bundle, room, root, delay=delay, over_time=over_time)


def _save(root: Root, bundle: Bundle) -> None:
    bundle.save(root, "models", bundle.name)
    say(f"bundle: {as_text(bundle)}: {root.display('models', bundle.name)}")


def _training(options: TrainOptions) -> TrainConfig:
    """The settings that the options name: a file's, or the command line's own."""
    if options.config is not None:
        return load_training(options.config)
    return TrainConfig(loss=options.loss, epochs=options.epochs)
