"""The jobs: what each script under `jobs/` calls, stage by stage.

Each takes a job's options, or the request that was made of them, which is where mistakes in them are reported.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from m3ray.config.options import (
    AblateOptions,
    EvaluateOptions,
    ExtractOptions,
    PredictOptions,
    ReproduceOptions,
    TrainOptions,
    TuneOptions,
)
from m3ray.features.load import list_study_tiers
from m3ray.pipelines.extraction.preflight import check_devices
from m3ray.pipelines.extraction.run import ExtractionResult, compute_features
from m3ray.pipelines.finetuning.search import search_finetuning
from m3ray.pipelines.finetuning.train import add_finetuning, choose_preset
from m3ray.pipelines.finetuning.weights import find_weights
from m3ray.pipelines.runtime.cluster import connect_cluster
from m3ray.pipelines.runtime.job import run_job
from m3ray.pipelines.scoring import predict as scoring
from m3ray.pipelines.scoring.evaluate import evaluate_all
from m3ray.pipelines.study.ablation import run_study
from m3ray.pipelines.study.cautions import log_bundle_cautions, log_training_cautions
from m3ray.pipelines.study.folds import check_enough_clips, check_root_clips
from m3ray.pipelines.study.model_selection import choose_training
from m3ray.pipelines.study.regressors import needs_ensemble, train_beside
from m3ray.pipelines.study.search import find_baselines, search_settings
from m3ray.pipelines.study.tables import fit_similarity, has_scores, make_seeds, run_tables
from m3ray.pipelines.study.targets import load_study_data
from m3ray.request.baselines import list_computed
from m3ray.request.checks import Request, check_request
from m3ray.request.settings import find_row_training, read_training
from m3ray.schema import CAPTIONS, SIMILARITY
from m3ray.scoring.build import make_bundle
from m3ray.scoring.bundle import Bundle, describe_bundle
from m3ray.scoring.finetuned_bundle import build_finetuned_bundle
from m3ray.scoring.model_choice import ModelName
from m3ray.scoring.score_root import score_root
from m3ray.scoring.what_if import save_what_if
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.ownership import STUDY, claim_study
from m3ray.storage.root import Root
from m3ray.study.store import collect_trials
from m3ray.study.study import Study
from m3ray.study.variants import Variant, full_model, order_tiers
from m3ray.tiers.factory import select_computed
from m3ray.tiers.user import user_tiers
from m3ray.training.config_file import was_chosen_on_val

logger = logging.getLogger(__name__)


def extract(options: ExtractOptions | Request[ExtractOptions]) -> None:
    """List the clips, and compute the tiers that they lack.

    Args:
        options: options of the job, or the request that was made of them.
    """
    request = check_request(options)
    compute, dry = request.options.compute, request.options.dry_run
    with run_job("extract", request.options) as job, connect_cluster(compute, job.meter, dry=dry) as resources:
        compute_features(job, request, resources)


def reproduce(options: ReproduceOptions | Request[ReproduceOptions]) -> None:
    """Make catalogue, tiers, similarity, tables, bundle and predictions; the report is made from the root afterwards.

    Args:
        options: options of the job, or the request that was made of them.
    """
    request = check_request(options)
    settings, dry = request.options, request.options.dry_run
    check_enough_clips(settings.folds, request.listing and request.listing.table, settings.group)
    with_networks = settings.unfrozen != "none"
    with (
        run_job("reproduce", settings) as job,
        connect_cluster(settings.compute, job.meter, dashboard=with_networks, dry=dry) as resources,
    ):
        if request.listing is not None and not has_scores(request.listing.table):
            logger.info("study: no clip has a score: their features are computed, and nothing is trained")
        computed = replace(request, options=replace(settings, tiers=list_computed(settings)))
        done = compute_features(job, computed, resources)
        if done is None:
            return
        with job.stage("similarity"):
            fit_similarity(job.root, settings.tiers, done, resources)
        if not has_scores(done.catalogue):
            logger.info(
                "study: skipped: no clip has a score. A study needs scores in [0, 1]: give a table with columns uri "
                "and score (--dataset table --root clips.csv); to score these clips with a fitted model, use "
                "jobs/predict.py"
            )
            return
        claim_study(job.root, STUDY, job.name)
        with job.stage("study"):
            study, main, tuned = run_tables(
                job.root, done.catalogue, settings, resources, done.sources, settings.limits
            )
        bundle = _make_bundle(study, main, done, settings, "m3s", job.name)
        _save_bundle(job.root, bundle)
        save_what_if(study, main, bundle)
        if tuned is not None:
            _save_bundle(job.root, build_finetuned_bundle(study, tuned, bundle, "m3s-unfrozen"))
        with job.stage("predict"):
            score_root(bundle, job.root, job.root, job=job.name)


def ablate(options: AblateOptions | Request[AblateOptions]) -> None:
    """Make the study's tables on a root that has its tiers.

    Args:
        options: options of the job, or the request that was made of them.
    """
    settings = check_request(options).options
    check_root_clips(settings.folds, Root(settings.out))
    with_networks = settings.unfrozen != "none"
    with run_job("ablate", settings) as job:
        if settings.dry_run:
            splits = f", also in {settings.folds} splits" if settings.folds else ""
            logger.info(f"plan: tables {', '.join(map(str, settings.tables))}, {settings.runs} runs a variant{splits}")
            return
        with connect_cluster(settings.compute, job.meter, dashboard=with_networks) as resources, job.stage("study"):
            claim_study(job.root, STUDY, job.name)
            study, main, _ = run_tables(job.root, read_catalogue(job.root), settings, resources, {}, settings.limits)
            save_what_if(study, main)


def train(options: TrainOptions | Request[TrainOptions]) -> None:
    """Train the runs of one variant, and save a bundle.

    Args:
        options: options of the job, or the request that was made of them.
    """
    request = check_request(options)
    settings, dry = request.options, request.options.dry_run
    with_networks = settings.unfrozen != "none"
    with (
        run_job("train", settings) as job,
        connect_cluster(settings.compute, job.meter, dashboard=with_networks, dry=dry) as resources,
    ):
        from_files = [tier.name for tier in request.user_tiers]
        own = [tier for tier in settings.tiers if tier in (CAPTIONS, *from_files, *user_tiers(job.root))]
        for unused in set(from_files) - set(own):
            logger.info(
                f"train: tier {unused} was given by --tier, but --tiers does not name it: the model does not see it"
            )
        # Similarity alone compares what the paper compares.
        wanted = select_computed(settings.tiers) or ([] if own else ["scene", "event"])
        done = compute_features(job, replace(request, options=replace(settings, tiers=(*wanted, *own))), resources)
        if done is None:
            return
        if SIMILARITY in settings.tiers:
            with job.stage("similarity"):
                fit_similarity(job.root, [*wanted, *own], done, resources, needed=True)
        claim_study(job.root, settings.name, job.name)
        with job.stage("study"):
            seen = order_tiers(settings.tiers, list_study_tiers(job.root, settings.tiers))
            variant = Variant(settings.name, seen, training=read_training(settings))
            loaded = load_study_data(job.root, variant.tiers, settings)
            variant = replace(variant, training=choose_training(job.root, loaded, variant, settings, resources))
            study = Study(job.root, settings.name, loaded, make_seeds(settings.seed, settings.runs))
            run_study(study, [variant], resources)
            rows = [variant, *train_beside(study, variant, resources, ensemble=needs_ensemble(settings))]
            trials = collect_trials(study, rows)
            bundle = _make_bundle(study, variant, done, settings, settings.name, job.name)
            save_what_if(study, variant, bundle)
            if with_networks:
                tuned = add_finetuning(study, variant, settings, done.sources, settings.limits, resources)
                trials = collect_trials(study, [*rows, tuned])
                bundle = build_finetuned_bundle(study, tuned, bundle, settings.name)
        logger.info(trials[["variant", "features", "spearman", "mse", "mae"]].to_string(index=False))
        log_training_cautions(study, rows, trials)
        _save_bundle(job.root, bundle)


def tune(options: TuneOptions | Request[TuneOptions]) -> None:
    """Search hyper-parameters on a root that has its tiers.

    Args:
        options: options of the job, or the request that was made of them.
    """
    settings = check_request(options).options
    with_networks = settings.unfrozen != "none"
    with run_job("tune", settings) as job:
        held = list_study_tiers(job.root, settings.tiers)
        variant = full_model(order_tiers(settings.tiers or held, held))
        training = find_row_training(job.root, settings.preset)(variant.training)
        variant = replace(variant, training=replace(training, epochs=settings.epochs))
        if settings.dry_run:
            logger.info(f"plan: {settings.trials} trials of {', '.join(variant.tiers)}, {settings.runs} runs each")
            return
        loaded = load_study_data(job.root, variant.tiers, settings)
        study = Study(job.root, settings.name, loaded, make_seeds(settings.seed, settings.runs))
        claim_study(job.root, settings.name, job.name)
        with connect_cluster(settings.compute, job.meter, dashboard=with_networks) as resources, job.stage("search"):
            if with_networks:
                run_study(study, [variant], resources)
                config, sources = choose_preset(settings, resources), find_weights(job.root, variant.tiers, {})
                table = search_finetuning(study, variant, config, sources, settings, resources)
            else:
                baselines = find_baselines(job.root, loaded, variant, settings, resources)
                table = search_settings(study, variant, baselines, settings, resources)
        logger.info(table.head(10).to_string(index=False))


def evaluate(options: EvaluateOptions | Request[EvaluateOptions]) -> None:
    """Evaluate bundles on data sets, their own and others.

    Args:
        options: options of the job, or the request that was made of them.
    """
    settings = check_request(options).options
    with run_job("evaluate", settings) as job:
        if settings.dry_run:
            logger.info(f"plan: {len(settings.bundles)} bundles, each on {len(settings.roots)} roots")
            return
        with connect_cluster(settings.compute, job.meter) as resources:
            check_devices(resources, settings.compute)
            evaluate_all(job, settings, resources)


def predict(options: PredictOptions | Request[PredictOptions]) -> None:
    """Score new videos with a bundle, through its own tiers.

    Args:
        options: options of the job, or the request that was made of them.
    """
    scoring.predict(options)


def _make_bundle(
    study: Study,
    variant: Variant,
    done: ExtractionResult,
    options: TrainOptions | ReproduceOptions,
    name: str,
    job: str,
) -> Bundle:
    """The bundle that a job's options ask for."""
    return make_bundle(
        study,
        variant,
        done.configs,
        done.sources,
        name,
        job,
        chosen_on_val=was_chosen_on_val(options.config),
        model=_choose_model(options),
        fit=options.fit,
    )


def _choose_model(options: TrainOptions | ReproduceOptions) -> ModelName:
    """What a bundle is to hold: networks that are trained too have an MLP on them."""
    return "mlp" if options.unfrozen != "none" else options.model


def _save_bundle(root: Root, bundle: Bundle) -> None:
    bundle.save(root, "models", bundle.name)
    logger.info(f"bundle: {describe_bundle(bundle)}: {root.display('models', bundle.name)}")
    log_bundle_cautions(bundle)
