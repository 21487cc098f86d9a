"""Roots of made-up features, for studies without videos."""

import numpy as np
import pyarrow as pa

from m3ray.datasets.catalogue import write_catalogue
from m3ray.schema import RAW, Clip, catalogue_table, vector_schema
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, update_tier_index


def made_root(folder, rows=300, seed=0, lacking=0):
    """A root with a raw and a scene tier of made-up numbers; the score depends on brightness and one scene column."""
    root = Root(str(folder))
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal((rows, 15)).astype(np.float32)
    scene = rng.standard_normal((rows, 40)).astype(np.float32)
    scores = 1 / (1 + np.exp(-(raw[:, 0] + scene[:, 0] + 0.5 * rng.standard_normal(rows))))
    ids = [f"c{k:04d}" for k in range(rows)]
    clips = [
        Clip(name, f"{name}.mp4", split="train" if k % 4 else "val", score=float(s))
        for k, (name, s) in enumerate(zip(ids, scores, strict=True))
    ]
    write_catalogue(root, catalogue_table(clips), 0)
    columns = {name: list(raw[:, 5:]) if name == "hog" else raw[:, min(k, 4)] for k, name in enumerate(RAW.names[1:])}
    write(root, "raw", pa.table({"clip_id": ids, **columns}, schema=RAW))
    kept = ids[: rows - lacking]
    write(
        root, "scene", pa.table({"clip_id": kept, "scene": list(scene[: len(kept)])}, schema=vector_schema("scene", 40))
    )
    return root


def write(root, tier, table):
    root.write_shard(table, ("features", f"{tier}-made"), {})
    update_tier_index(root, {tier: TierEntry(f"{tier}-made", untrained=True, identity={})})
