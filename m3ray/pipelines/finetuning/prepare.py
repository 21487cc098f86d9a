"""Preparation of a finetuning: what its workers are given, and their streams of frames."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import ray.data

from m3ray.config import DecodeConfig, LimitsConfig, SimilarityConfig
from m3ray.config.finetuning import FinetuneConfig
from m3ray.config.serialization import from_json
from m3ray.pipelines.finetuning.streams import (
    make_frame_cache,
    make_streams,
    read_frame_settings,
    read_longest_clip,
    read_uris,
)
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.schema import SIMILARITY
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.tier_index import read_tier_index
from m3ray.study.finetuned_trial import NETWORKS
from m3ray.study.study import Study
from m3ray.study.trial import select_columns
from m3ray.study.variants import Variant
from m3ray.tiers.network import WeightSource
from m3ray.training.finetuning.memory import StepShape, fits_without_recomputation
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
        ConfigError: If a batch or a number of workers is below 1, or similarity cannot be fitted anew.
    """
    spec, decode = _make_spec(study, variant, head, sources, seed, resources)
    cache = make_frame_cache(spec, decode, study.root)
    logger.info(f"unfrozen: {variant.name}: {_describe_steps(spec)}")
    run = study.root.subroot(*study.folder, "unfrozen", name)
    return spec, make_streams(spec, read_uris(study), cache, limits, run)


def _describe_steps(spec: FinetuneSpec) -> str:
    layout, batch = spec.layout, spec.sampler.batch
    spare = f" with {layout.capacity - batch} of {layout.capacity} places empty" if layout.capacity > batch else ""
    return (
        f"{len(spec.train)} train clips, {spec.config.epochs} epochs of {spec.sampler.steps} steps; a step is "
        f"{layout.workers} workers x {layout.accumulation_steps} micro-batches x {layout.micro_batch} clips{spare}, "
        f"{spec.config.precision}, blocks {'recomputed' if spec.config.recomputes else 'kept'}"
    )


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
    batch = min(config.batch, len(data.train))
    layout = plan_step(batch, config.workers or max(1, min(resources.gpus, batch)), config.micro_batch)
    decode, event = read_frame_settings(study.root, variant.tiers)
    frames = min(config.frames, read_longest_clip(study.root, decode))
    shape = _make_shape(config, list(network_columns), event.network, layout.micro_batch, frames)
    config = resolve_checkpointing(config, shape, resources)
    spec = FinetuneSpec(
        training=variant.training,
        config=config,
        sources=dict(sources),
        network=event.network,
        head=head,
        hidden=variant.training.hidden,
        columns=network_columns,
        matrix=np.ascontiguousarray(data.scaled[:, columns]),
        scores=data.target.to_unit(data.scores),
        train=data.train,
        evaluated=np.concatenate([data.val, data.test]),
        val=len(data.val),
        sampler=ClipSampler(len(data.train), batch, seed, layout.capacity),
        layout=layout,
        refit=_make_refit_spec(study, position, list(network_columns)) if config.refit_similarity else None,
    )
    return spec, decode


def _make_shape(config: FinetuneConfig, networks: Sequence[str], variant: str, clips: int, frames: int) -> StepShape:
    """What of a step decides its memory: so many clips at once, of so many frames at most."""
    bfloat16, averaged = config.precision == "bfloat16", bool(config.ema)
    return StepShape(networks, variant, clips, frames, config.size, bfloat16, averaged)


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
        The settings with a precision that all devices compute in; one that was given stays.
    """
    if config.precision != "auto":
        return config
    return replace(config, precision="bfloat16" if resources.bfloat16 else "float32")


def resolve_checkpointing(config: FinetuneConfig, shape: StepShape, resources: Resources) -> FinetuneConfig:
    """Decide whether blocks are recomputed, where the settings leave it open: only where memory asks for it.

    Args:
        config: Settings of the finetuning.
        shape: What decides a step's memory.
        resources: CPUs and GPUs of the cluster, whose smallest memory counts.
    Returns:
        The settings with a decision; one that was given stays. Neither changes the outcome.
    """
    if config.checkpointing != "auto":
        return config
    return replace(config, checkpointing=not fits_without_recomputation(shape, resources.gpu_memory))
