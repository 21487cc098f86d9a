"""A study on disk: what each trial left, and the tables that are put together from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from safetensors.numpy import load, save

from m3ray.config import as_json
from m3ray.errors import StudyError
from m3ray.storage.root import Root
from m3ray.storage.tier_index import current_tiers
from m3ray.study.differences import with_differences
from m3ray.study.study import Study
from m3ray.study.trial import TrialResult
from m3ray.study.variants import Variant

_TEXT = ["variant", "tiers", "full", "status"]


def write_part(study: Study, variant: Variant, result: TrialResult) -> None:
    """The variant's tables; `trial.json` last, so that what has one is complete."""
    part = study.part(variant)
    study.root.write_table(pa.Table.from_pandas(result.runs, preserve_index=False), *part, "runs.parquet")
    study.root.write_table(pa.Table.from_pandas(result.predictions, preserve_index=False), *part, "predictions.parquet")
    model = result.trained.model
    tensors = {name: np.ascontiguousarray(value.detach().cpu().numpy()) for name, value in model.state_dict().items()}
    study.root.write_bytes(save({**tensors, "columns": result.columns}), *part, "model.safetensors")
    study.root.write_bytes(save({"val": np.ascontiguousarray(result.trained.val)}), *part, "val.safetensors")
    study.root.write_json(result.summary, *part, "trial.json")


def part_tensors(study: Study, variant: Variant) -> dict[str, np.ndarray]:
    """The trained runs of a variant, and the columns that they see."""
    return load(study.root.read_bytes(*study.part(variant), "model.safetensors"))


def collect(study: Study, variants: Sequence[Variant]) -> pd.DataFrame:
    """Puts what was trained together to the study's tables; a variant without a part failed.

    Returns:
        `trials.parquet`: a row a variant.
    """
    root, variants = study.root, list({variant.name: variant for variant in variants}.values())
    done = [v for v in variants if root.exists(*study.part(v), "trial.json")]
    if not done:
        raise StudyError("study: every trial failed; the lines above say why")
    runs = pd.concat([root.read_table(*study.part(v), "runs.parquet").to_pandas() for v in done], ignore_index=True)
    summaries = {v.name: root.read_json(*study.part(v), "trial.json") for v in done}
    rows = [summaries.get(v.name) or {"variant": v.name, "full": v.full, "status": "failed"} for v in variants]
    val = {v.name: load(root.read_bytes(*study.part(v), "val.safetensors"))["val"] for v in done}
    trials = with_differences(_trials_frame(rows), runs, val, study.data.scores[study.data.val])
    predictions = [
        root.read_table(*study.part(v), "predictions.parquet").to_pandas().assign(variant=v.name) for v in done
    ]
    root.write_table(pa.Table.from_pandas(runs, preserve_index=False), *study.folder, "runs.parquet")
    root.write_table(pa.Table.from_pandas(trials, preserve_index=False), *study.folder, "trials.parquet")
    together = pd.concat(predictions, ignore_index=True)
    root.write_table(pa.Table.from_pandas(together, preserve_index=False), *study.folder, "predictions.parquet")
    config = {"seeds": study.seeds, "key": study.loaded.key, "variants": [as_json(v) for v in variants]}
    root.write_json(config | {"tiers": _tier_facts(root, study)}, *study.folder, "config.json")
    return trials


def _trials_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows))
    for name in frame.columns.difference(_TEXT):
        frame[name] = pd.to_numeric(frame[name])  # a column of which no variant has a value would be one of objects
    for name in ("features", "parameters", "runs", "best_epoch"):
        frame[name] = frame[name].astype("Int64")
    return frame


def _tier_facts(root: Root, study: Study) -> dict[str, Any]:
    current = current_tiers(root)
    return {tier: current[tier] for tier in study.data.features.tiers if tier in current}
