"""What each script under `jobs/` calls: the stages in their order."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from m3ray.config import TrainConfig
from m3ray.data.catalogue import write_catalogue
from m3ray.data.datasets import list_clips
from m3ray.data.rooms import current_tiers
from m3ray.data.store import Root
from m3ray.errors import ConfigError, StudyError
from m3ray.options import (
    AblateOptions,
    ExtractOptions,
    PredictOptions,
    ReproduceOptions,
    StudyOptions,
    TrainOptions,
)
from m3ray.pipelines import extract as extraction
from m3ray.pipelines.cluster import Resources, connected
from m3ray.pipelines.featuring import Extracted, compute_features, finish, print_plan
from m3ray.pipelines.fit import similarity_tier
from m3ray.pipelines.job import running
from m3ray.pipelines.predict import score_root
from m3ray.pipelines.preflight import check_decoders, check_storage, check_weights
from m3ray.pipelines.progress import say
from m3ray.pipelines.study import Study, load_data, run_study
from m3ray.pipelines.train import make_bundle
from m3ray.study.variants import Variant, study_variants
from m3ray.tiers.factory import check_names, computed
from m3ray.training.bundle import Bundle, as_text
from m3ray.training.scorer import bundle_tiers

STUDY = "ablation"
PREDICT_ROOM = "predict"


def extract(options: ExtractOptions) -> None:
    """Catalogue and tiers."""
    with running("extract", options) as job, connected() as on:
        compute_features(job, options, on)


def reproduce(options: ReproduceOptions) -> None:
    """Catalogue, tiers, similarity, tables, bundle, predictions. The report is `m3ray.reports`' work."""
    with running("reproduce", options) as job, connected() as on:
        done = compute_features(job, options, on)
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
        wanted = computed(options.tiers) or ["scene", "event"]
        done = compute_features(job, replace(options, tiers=tuple(wanted)), on)
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
            return print_plan(plan)
        progress = extraction.run(plan, configs, options.limits, options.compute, on)
        job.count(progress)
        finish(plan, catalogue)
        score_root(bundle, room, root)
    return None


def _similarity(root: Root, tiers: tuple[str, ...] | list[str], done: Extracted) -> None:
    if all(tier == "raw" for tier in tiers):
        say("similarity: skipped: it needs a tier that is a vector: scene, event or torchvision:NAME")
        return
    similarity_tier(root, done.catalogue, done.configs.similarity)


def _scored(catalogue: pa.Table) -> bool:
    return catalogue["score"].null_count < catalogue.num_rows


def _seeds(first: int, runs: int) -> tuple[int, ...]:
    if runs < 1:
        raise ConfigError(f"--runs {runs}: expected at least 1")
    return tuple(range(first, first + runs))


def _study(root: Root, options: StudyOptions, seed: int) -> Study:
    current = current_tiers(root)
    tiers = [*computed(current), *(["similarity"] if "similarity" in current else [])]
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
