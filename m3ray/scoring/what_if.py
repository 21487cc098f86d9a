"""What if a raw feature were another number: curves of a study's full model, or of the bundle that was made of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from m3ray.features.matrix import Block
from m3ray.model import StackedMLP
from m3ray.scoring.build import select_blocks
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.diverged import drop_runs, find_finite_runs
from m3ray.storage.parquet_tables import METADATA_KEY
from m3ray.storage.root import Root
from m3ray.study.partial_dependence import NumberedFeatures, Predict, trace_features
from m3ray.study.store import is_trained, read_trial_tensors
from m3ray.study.study import Study
from m3ray.study.trial import select_columns
from m3ray.study.variants import Variant
from m3ray.training.stacked import predict

WHAT_IF_FILE = "what_if.parquet"
_RAW = "raw"


def save_what_if(study: Study, variant: Variant, bundle: Bundle | None = None) -> pd.DataFrame | None:
    """Compute the curves of the raw features over the train clips, and write them to the study's folder.

    Args:
        study: Study with the variant's trained runs.
        variant: Its full model.
        bundle: The bundle that was made of the variant, which is then what the curves are of; None: the study's runs.
    Returns:
        The curves, as `m3ray.study.partial_dependence.trace_features` gives them; None where the model sees no raw
        feature, or has no run.
    """
    columns = select_columns(study.data.features, variant)
    blocks = bundle.blocks if bundle is not None else select_blocks(study.data.features, columns)
    named = list(_iterate_raw(blocks))
    scaling, train = study.data.scaling, study.data.train
    scaled = np.ascontiguousarray(study.data.scaled[np.ix_(train, columns)])
    model = _predict_runs(study, variant, scaled) if bundle is None else bundle.predict_runs
    if not named or model is None:
        return None
    names, positions = zip(*named, strict=True)
    features = NumberedFeatures(names, positions, scaling.mean[columns], scaling.deviation[columns])
    frame, level = trace_features(model, scaled, features)
    made = {
        "model": variant.name if bundle is None else f"bundle {bundle.name}",
        "target": study.data.target.name,
        "clips": len(train),
        "level": level,
    }
    table = pa.Table.from_pandas(frame, preserve_index=False)
    study.root.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(made)}), *study.folder, WHAT_IF_FILE)
    return frame


def read_what_if(root: Root, folder: Sequence[str]) -> tuple[pd.DataFrame, dict[str, Any]] | None:
    """Read the curves of a study.

    Args:
        root: Root that holds the study.
        folder: The study's folder below the root.
    Returns:
        The curves; and of what they are: `model`, `target`, `clips`, and `level`, the features that do not vary. None
        where they were not computed.
    """
    if not root.exists(*folder, WHAT_IF_FILE):
        return None
    return root.read_table(*folder, WHAT_IF_FILE).to_pandas(), root.read_metadata(*folder, WHAT_IF_FILE)


def _iterate_raw(blocks: Sequence[Block]) -> Iterator[tuple[str, int]]:
    """Name and position of each raw feature that a model sees."""
    start = 0
    for block in blocks:
        if block.tier == _RAW:
            yield from ((name, start + k) for k, name in enumerate(block.names))
        start += len(block.names)


def _predict_runs(study: Study, variant: Variant, scaled: np.ndarray) -> Predict | None:
    """The study's runs that did not diverge; None where none was trained, or all diverged."""
    if not is_trained(study, variant):
        return None
    tensors = {name: torch.from_numpy(value.copy()) for name, value in read_trial_tensors(study, variant).items()}
    model = StackedMLP.from_state(tensors)
    kept = find_finite_runs(model, scaled)
    if not kept.any():
        return None
    finite, target = drop_runs(model, kept, variant.name), study.data.target
    return lambda rows: target.from_unit(predict(finite, torch.from_numpy(rows)))
