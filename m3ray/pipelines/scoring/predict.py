"""New videos scored with a bundle, step by step: catalogue, features, scores over time, scores, maps."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from m3ray.config import TierConfigs
from m3ray.config.options import PredictOptions
from m3ray.features.captions import store_captions
from m3ray.pipelines.extraction import planning
from m3ray.pipelines.extraction.missing_features import check_reject_share, compute_missing
from m3ray.pipelines.extraction.preflight import check_decoders, check_devices, check_storage, check_weights
from m3ray.pipelines.extraction.run import print_plan
from m3ray.pipelines.extraction.version_checks import check_versions
from m3ray.pipelines.runtime.cluster import Resources, connect_cluster
from m3ray.pipelines.runtime.job import Job, run_job
from m3ray.pipelines.scoring.explain import MapRequest, check_maps, describe_plan, drop_other_maps, explain, find_maps
from m3ray.pipelines.scoring.new_clips import find_workspace, write_new_catalogue
from m3ray.pipelines.scoring.over_time import compute_windows, make_curves
from m3ray.pipelines.scoring.shots import compute_shots, export_shots, make_shot_curves, make_shots, write_shots
from m3ray.request.checks import Request, check_request
from m3ray.scoring.bundle_tiers import load_captions, make_bundle_tiers
from m3ray.scoring.open_bundle import AnyBundle, describe, open_bundle
from m3ray.scoring.reference.neighbours import check_reference
from m3ray.scoring.score_root import check_user_tiers, choose_path, describe_origin, score_clips, score_root
from m3ray.storage.beside_predictions import EXPORTED, SHOTS, place_beside, remove_beside
from m3ray.storage.root import Root
from m3ray.tiers import Tier
from m3ray.tiers.user import store_user_tier

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """What the steps of a prediction share.

    Args:
        job: The running job.
        request: The checked request.
        bundle: The bundle that scores the clips.
        configs: Settings of the tiers that the bundle sees.
        tiers: Those of its tiers that are computed; empty where users provide them all.
        resources: CPUs and GPUs of the cluster.
        workspace: Folder of the clips' catalogue and features.
    """

    job: Job
    request: Request[PredictOptions]
    bundle: AnyBundle
    configs: TierConfigs
    tiers: list[Tier]
    resources: Resources
    workspace: Root

    @property
    def options(self) -> PredictOptions:
        """Options of the job."""
        return self.request.options

    @property
    def root(self) -> Root:
        """Root that the predictions go to."""
        return self.job.root


def predict(options: PredictOptions | Request[PredictOptions]) -> None:
    """Score new videos with a bundle, through its own tiers.

    Args:
        options: options of the job, or the request that was made of them.
    """
    request = check_request(options)
    settings = request.options
    uri = settings.bundle or Root(settings.out).display("models", "m3s")
    bundle = open_bundle(uri, allow_other_weights=settings.allow_other_weights)
    configs, tiers = make_bundle_tiers(bundle)
    check_user_tiers(bundle, request.user_tiers)
    if settings.explain:
        check_maps(bundle, tiers, settings.explanations)
    with (
        run_job("predict", settings) as job,
        connect_cluster(settings.compute, job.meter, dry=settings.dry_run) as resources,
    ):
        job.workspace = find_workspace(job.root, request)
        prediction = Prediction(job, request, bundle, configs, tiers, resources, job.workspace)
        catalogue = _begin(prediction)
        if not tiers:
            if not settings.dry_run:
                _finish(prediction, _score(prediction))
            return
        plan = _plan_features(prediction, catalogue)
        if settings.dry_run:
            _print_plan(prediction, plan, catalogue.num_rows)
            return
        catalogue = compute_missing(plan, catalogue, configs, settings, resources, job=job)
        by_shots = settings.over_time and settings.sliding_windows.by == "shots"
        found = _compute_shots(prediction) if by_shots else None
        shots = None if found is None else make_shots(found, score_clips(bundle, found))
        over_time = _score_over_time(prediction) if shots is None else make_shot_curves(shots)
        scores = _score(prediction, over_time)
        if found is not None and shots is not None:
            _write_shots(prediction, shots, found, catalogue)
        _finish(prediction, scores, has_shots=found is not None)
        # The others' scores are worth having in any case.
        check_reject_share(prediction.workspace, catalogue["clip_id"], settings)


def _begin(prediction: Prediction) -> pa.Table:
    """Check what can be checked before work is spent, and write the catalogue of the clips to score; return it."""
    options, workspace = prediction.options, prediction.workspace
    logger.info(f"predict: {describe(prediction.bundle)}")
    check_devices(prediction.resources, options.compute)
    check_storage(workspace)
    # A file of somebody else's is told now, not when the scores are there.
    choose_path(prediction.bundle, workspace, prediction.root)
    check_reference(prediction.bundle)  # as is a damaged one
    catalogue = write_new_catalogue(workspace, prediction.request)
    ids = catalogue["clip_id"].to_pylist() if prediction.request.user_tiers else []
    for tier in prediction.request.user_tiers:
        logger.info(store_user_tier(workspace, tier, ids, allow_missing=options.allow_missing))
    if (captions := load_captions(prediction.bundle)) is not None:
        logger.info(store_captions(workspace, catalogue, captions))
    return catalogue


def _plan_features(prediction: Prediction, catalogue: pa.Table) -> planning.Plan:
    """Find which clips lack which tiers."""
    options, configs = prediction.options, prediction.configs
    check_decoders(configs.decode, options.limits)
    check_weights(prediction.tiers)
    return planning.plan(prediction.workspace, catalogue, prediction.tiers, configs, retry=options.retry_rejects)


def _print_plan(prediction: Prediction, plan: planning.Plan, clips: int) -> None:
    """Say what would be done."""
    options = prediction.options
    check_versions(plan, options.compute, prediction.resources, mix=options.mix_versions)
    print_plan(plan)
    if options.explain:
        logger.info(describe_plan(options, clips))


def _score_over_time(prediction: Prediction) -> pd.DataFrame | None:
    """The scores of every clip's sliding windows: a row a clip; None where nobody asks for them."""
    if not prediction.options.over_time:
        return None
    options, configs, workspace = prediction.options, prediction.configs, prediction.workspace
    windows = compute_windows(
        workspace, prediction.tiers, configs, options, options.sliding_windows, prediction.resources
    )
    return make_curves(windows, configs.decode.fps, score_clips(prediction.bundle, windows))


def _compute_shots(prediction: Prediction) -> Root:
    """Find every clip's shots, and compute their features; the folder that holds them."""
    options = prediction.options
    return compute_shots(
        prediction.workspace,
        prediction.tiers,
        prediction.configs,
        options,
        options.sliding_windows,
        prediction.resources,
    )


def _write_shots(prediction: Prediction, shots: pd.DataFrame, found: Root, catalogue: pa.Table) -> None:
    """Write the table of shots beside the predictions, and the best ones as files where that is asked for."""
    bundle, workspace, root = prediction.bundle, prediction.workspace, prediction.root
    predictions = choose_path(bundle, workspace, root)
    origin = describe_origin(bundle, workspace, root, prediction.job.name)
    write_shots(root, place_beside(predictions, SHOTS), shots, origin)
    if prediction.options.export_shots is not None:
        with prediction.job.stage("export"):
            folder = root.subroot(*place_beside(predictions, EXPORTED))
            export_shots(folder, prediction.configs.decode, prediction.options, shots, found, catalogue)


def _score(prediction: Prediction, over_time: pd.DataFrame | None = None) -> pd.DataFrame:
    """Score the clips from their features, and write the predictions; return them."""
    options, job = prediction.options, prediction.job
    delay = None if options.delay is None else (options.delay, options.delay_base)
    with job.stage("predict"):
        return score_root(
            prediction.bundle,
            prediction.workspace,
            job.root,
            job=job.name,
            delay=delay,
            over_time=over_time,
            asked=options.explain_clips,
        )


def _finish(prediction: Prediction, scores: pd.DataFrame, *, has_shots: bool = False) -> None:
    """Map the clips that are asked for; what stands beside the scores and is of earlier ones goes in any case."""
    bundle, workspace, root = prediction.bundle, prediction.workspace, prediction.root
    predictions = choose_path(bundle, workspace, root)
    if not has_shots:
        remove_beside(root, predictions, SHOTS)
    folder = find_maps(root, predictions)
    origin = describe_origin(bundle, workspace, root, prediction.job.name)
    request = MapRequest(bundle, workspace, folder, origin, prediction.options)
    drop_other_maps(request)
    if prediction.options.explain:
        with prediction.job.stage("explain"):
            explain(request, scores, prediction.resources)
