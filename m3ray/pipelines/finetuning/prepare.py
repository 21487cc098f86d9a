"""Preparation of a finetuning: what its workers are given, and their streams of frames."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import ray.data
import torch

from m3ray.config import DecodeConfig, LimitsConfig, SimilarityConfig
from m3ray.config.finetuning import FinetuneConfig
from m3ray.config.serialization import from_json
from m3ray.pipelines.finetuning.streams import make_frame_cache, make_streams, read_frame_settings, read_uris
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.schema import SIMILARITY
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.tier_index import read_tier_index
from m3ray.study.finetuned_trial import NETWORKS
from m3ray.study.study import Study
from m3ray.study.trial import select_columns
from m3ray.study.variants import Variant
from m3ray.tiers.backbones.prepare import fastest_precision
from m3ray.tiers.network import WeightSource
from m3ray.training.finetuning.sampler import ClipSampler, plan_step
from m3ray.training.finetuning.similarity_refit import check_refittable
from m3ray.training.finetuning.spec import FinetuneSpec, RefitSpec

logger = logging.getLogger(__name__)


def prepare_finetuning(
    study: Study,
    variant: Variant,
    head: Mapping[str, np.ndarray],
    sources: Mapping[str, WeightSource],
    seed: int,
    resources: Resources,
    limits: LimitsConfig,
    name: str,
) -> tuple[FinetuneSpec, dict[str, Callable[[], ray.data.Dataset]]]:
    """Prepare one run of a finetuning.

    Args:
        study: Data of the study.
        variant: Variant whose networks are finetuned.
        head: State of the MLP that the run starts from.
        sources: Name of each network to where its weights are.
        seed: Seed of the run.
        resources: CPUs and GPUs of the cluster.
        limits: Per-clip resource limits.
        name: Name of the run's folder of checkpoints.
    Returns:
        What the workers are given, and their streams of frames.
    Raises:
        ConfigError: If there are more workers than clips, a batch cannot be shared evenly, or similarity cannot be
            fitted anew.
    """
    spec, decode = _make_spec(study, variant, head, sources, seed, resources)
    cache = make_frame_cache(spec, decode, study.root)
    logger.info(
        f"unfrozen: {variant.name}: {len(spec.train)} train clips, {spec.config.epochs} epochs of "
        f"{spec.sampler.steps} steps; a step is {spec.layout.workers} workers x {spec.layout.accumulation_steps} "
        f"micro-batches x {spec.layout.micro_batch} clips, {spec.config.precision}"
    )
    run = study.root.subroot(*study.folder, "unfrozen", name)
    return spec, make_streams(spec, read_uris(study), cache, limits, run)


def _make_spec(
    study: Study,
    variant: Variant,
    head: Mapping[str, np.ndarray],
    sources: Mapping[str, WeightSource],
    seed: int,
    resources: Resources,
) -> tuple[FinetuneSpec, DecodeConfig]:
    """Make what the workers of a run are given, and how the root's frames were sampled."""
    assert variant.finetuning is not None
    config, data = resolve_precision(variant.finetuning, resources), study.data
    columns = select_columns(data.features, variant)
    position = {column: k for k, column in enumerate(columns.tolist())}
    network_columns = {
        n: np.array([position[c] for c in data.features.columns_of(n).tolist()]) for n in NETWORKS if n in variant.tiers
    }
    workers = config.workers or max(1, resources.gpus)
    batch = min(config.batch, len(data.train) // workers * workers)
    layout = plan_step(batch, workers, config.micro_batch, len(data.train))
    decode, event = read_frame_settings(study.root, variant.tiers)
    spec = FinetuneSpec(
        training=variant.training,
        config=config,
        sources=dict(sources),
        network=event.network,
        head=head,
        hidden=variant.training.hidden,
        columns=network_columns,
        matrix=np.ascontiguousarray(data.scaled[:, columns]),
        scores=data.scores,
        train=data.train,
        evaluated=np.concatenate([data.val, data.test]),
        val=len(data.val),
        sampler=ClipSampler(len(data.train), batch, seed),
        layout=layout,
        refit=_make_refit_spec(study, position, list(network_columns)) if config.refit_similarity else None,
    )
    return spec, decode


def _make_refit_spec(study: Study, position: Mapping[int, int], networks: Sequence[str]) -> RefitSpec:
    """What workers need to fit similarity anew; raise ConfigError where its width may change with each fit."""
    data = study.data
    columns = np.array([position[c] for c in data.features.columns_of(SIMILARITY).tolist() if c in position], np.int64)
    entry = read_tier_index(study.root).get(SIMILARITY)
    similarity = from_json(SimilarityConfig, entry.config if entry else {})
    check_refittable(similarity, len(columns), networks)
    of_clips = read_catalogue(study.root).select(["clip_id", "labels"]).to_pandas().set_index("clip_id")["labels"]
    labels = [list(of_clips.loc[data.features.clip_ids[row]]) for row in data.train]
    return RefitSpec(similarity, columns, labels)


def resolve_precision(config: FinetuneConfig, resources: Resources) -> FinetuneConfig:
    """Decide an `auto` precision for the devices that train.

    Args:
        config: Settings of the finetuning.
        resources: CPUs and GPUs of the cluster.
    Returns:
        The settings with `float32` or `bfloat16`.
    """
    if config.precision != "auto":
        return config
    native = fastest_precision(torch.device("cuda" if resources.gpus and torch.cuda.is_available() else "cpu"))
    # A driver without a GPU of its own cannot ask; those that train in clusters today have bfloat16 units.
    bfloat16 = bool(resources.gpus) if not torch.cuda.is_available() and resources.gpus else native is torch.bfloat16
    return replace(config, precision="bfloat16" if bfloat16 else "float32")
