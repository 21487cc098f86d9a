"""From a study and a variant to the work of an unfrozen training and its streams of frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import ray.data
import torch

from m3ray.config import LimitsConfig, SimilarityConfig
from m3ray.config.finetuning import UnfrozenConfig
from m3ray.config.serialization import from_json
from m3ray.console import say
from m3ray.datasets.catalogue import read_catalogue
from m3ray.pipelines.finetuning.streams import frame_settings, frame_store, streams, uris_of
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.schema import SIMILARITY
from m3ray.storage.tier_index import current_tiers
from m3ray.study.finetuned_trial import NETWORKS
from m3ray.study.study import Study
from m3ray.study.trial import columns_of
from m3ray.study.variants import Variant
from m3ray.tiers.backbones.prepare import auto_precision
from m3ray.tiers.network import WeightSource
from m3ray.training.finetuning.sampler import Order, lay_out
from m3ray.training.finetuning.similarity_refit import check_refittable
from m3ray.training.finetuning.spec import Work


def prepared_work(
    study: Study,
    variant: Variant,
    head: Mapping[str, np.ndarray],
    sources: Mapping[str, WeightSource],
    seed: int,
    on: Resources,
    limits: LimitsConfig,
    name: str,
) -> tuple[Work, dict[str, Callable[[], ray.data.Dataset]]]:
    """What the workers get, and the streams of frames that they read."""
    assert variant.unfrozen is not None
    config, data = resolved(variant.unfrozen, on), study.data
    columns = columns_of(data.features, variant)
    place = {column: k for k, column in enumerate(columns.tolist())}
    owned = {
        n: np.array([place[c] for c in data.features.columns_of(n).tolist()]) for n in NETWORKS if n in variant.tiers
    }
    workers = config.workers or max(1, on.gpus)
    batch = min(config.batch, len(data.train) // workers * workers)
    layout = lay_out(batch, workers, config.micro_batch, len(data.train))
    decode, event = frame_settings(study.root, variant.tiers)
    work = Work(
        training=variant.training,
        config=config,
        sources=dict(sources),
        network=event.network,
        head=head,
        hidden=variant.training.hidden,
        columns=owned,
        matrix=np.ascontiguousarray(data.scaled[:, columns]),
        scores=data.scores,
        train=data.train,
        judged=np.concatenate([data.val, data.test]),
        val=len(data.val),
        order=Order(len(data.train), batch, seed),
        layout=layout,
        **_refitting(study, variant, config, place, list(owned)),
    )
    store = frame_store(work, decode, study.root)
    say(
        f"unfrozen: {variant.name}: {len(data.train)} train clips, {config.epochs} epochs of {work.order.steps} steps; "
        f"a step is {layout.workers} workers x {layout.rounds} rounds x {layout.micro} clips, {config.precision}"
    )
    return work, streams(work, uris_of(study), store, limits, study.root.display(*study.folder, "unfrozen", name))


def _refitting(
    study: Study, variant: Variant, config: UnfrozenConfig, place: Mapping[int, int], networks: Sequence[str]
) -> dict[str, Any]:
    """What workers need to fit similarity anew; nothing where it stays.

    Raises:
        ConfigError: the measure's width may change with each fit, or it compares what is not trained.
    """
    if not config.refit_similarity:
        return {}
    data = study.data
    columns = np.array([place[c] for c in data.features.columns_of(SIMILARITY).tolist() if c in place], np.int64)
    entry = current_tiers(study.root).get(SIMILARITY, {"identity": {"config": {}}})
    similarity = from_json(SimilarityConfig, entry["identity"]["config"])
    check_refittable(similarity, len(columns), networks)
    frame = read_catalogue(study.root).select(["clip_id", "labels"]).to_pandas().set_index("clip_id")["labels"]
    labels = [list(frame.loc[data.features.clip_ids[row]]) for row in data.train]
    return {"similarity": similarity, "similarity_columns": columns, "labels": labels}


def resolved(config: UnfrozenConfig, on: Resources) -> UnfrozenConfig:
    """`auto` precision decided for the devices that train."""
    if config.precision != "auto":
        return config
    native = auto_precision(torch.device("cuda" if on.gpus and torch.cuda.is_available() else "cpu"))
    # A driver without a GPU of its own cannot ask; those that train in clusters today have bfloat16 units.
    bfloat16 = bool(on.gpus) if not torch.cuda.is_available() and on.gpus else native is torch.bfloat16
    return replace(config, precision="bfloat16" if bfloat16 else "float32")
