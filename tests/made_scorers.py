"""Tiers of pretrained scorers of made-up outputs, on roots of made-up features."""

import numpy as np
import pyarrow as pa
from made_roots import write

from m3ray.schema import vector
from m3ray.storage.catalogue_file import read_catalogue


def write_scorer(root, name="resmem", noise=0.03, seed=9, rows=slice(None)):
    """A scorer's tier as extraction leaves it: its output is 0.2 + 0.2 score with noise; returns that, a clip each."""
    clips = read_catalogue(root).to_pandas().iloc[rows]
    rng = np.random.default_rng(seed)
    values = 0.2 + 0.2 * clips["score"].to_numpy(float) + noise * rng.standard_normal(len(clips))
    table = pa.table(
        {
            "clip_id": clips["clip_id"].tolist(),
            name: pa.array(values, pa.float32()),
            f"{name}_spread": pa.array(rng.random(len(clips)), pa.float32()),
            f"{name}_hidden": pa.array(list(rng.standard_normal((len(clips), 4)).astype(np.float32)), vector(4)),
        }
    )
    write(root, name, table)
    return dict(zip(clips["clip_id"], values, strict=True))
